"""`kill -9` in training, then the same command again: the final weights are equal bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from scfae.store.testing import make_store

SCFAE = Path(sys.executable).parent / "scfae"
MAX_KILLS = 3

pytestmark = pytest.mark.fault


def command(store: Path, run: Path) -> list[str]:
    words: list[str] = [str(SCFAE), "train", "--store", str(store), "--run", str(run)]
    words += ["--columns", "video=video", "audio=audio", "--label", "digit"]
    words += ["--masking", "bernoulli:0.3", "--epochs", "12", "--batch-size", "16", "--seed", "7"]
    # Checkpoints inside epochs, so that a resume has to find its place in the stream.
    return [*words, "--checkpoint-every-steps", "3"]


def weights(run: Path, name: str) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / "checkpoints" / name, weights_only=True)
    return state


def events(run: Path) -> list[dict[str, Any]]:
    text = (run / "events.jsonl").read_text() if (run / "events.jsonl").exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("}\n")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "store"
    return make_store(folder, num_samples=900, missing=0.2, dims={"video": 64, "audio": 48}).path


@pytest.mark.timeout(600)
def test_killed_trainings_end_in_the_same_weights(store: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    subprocess.run(command(store, whole), check=True, capture_output=True)

    run = tmp_path / "killed"
    kills = 0
    while True:
        process = subprocess.Popen(command(store, run), stderr=subprocess.PIPE)
        before = (run / "checkpoints" / "last.pt").stat().st_mtime_ns if kills else 0
        changes = 0
        while process.poll() is None:
            path = run / "checkpoints" / "last.pt"
            now = path.stat().st_mtime_ns if path.exists() else 0
            if now != before:
                before, changes = now, changes + 1
            if kills < MAX_KILLS and changes > 2 + kills:
                time.sleep(0.011 * kills)
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.001)
        _, stderr = process.communicate()  # closes the pipe too
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, stderr
    assert kills >= 2
    for name in ("last.pt", "best.pt"):
        expected, got = weights(whole, name), weights(run, name)
        assert expected["step"] == got["step"]
        assert list(expected["model"]) == list(got["model"])
        for key, value in expected["model"].items():
            assert torch.equal(value, got["model"][key]), (name, key)
    resumed = [event for event in events(run) if event["type"] == "resumed"]
    assert len(resumed) == kills
    ends = [
        {e["epoch"]: e["val"] for e in events(folder) if e["type"] == "epoch"}
        for folder in (whole, run)
    ]
    assert ends[0] == ends[1]


def test_sigterm_leaves_a_checkpoint_and_says_how_to_resume(store: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(command(store, run), stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (run / "checkpoints" / "last.pt").exists():
        time.sleep(0.005)
    process.terminate()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr
    assert f"scfae train --resume {run}" in stderr
    resumed = subprocess.run(
        [SCFAE, "train", "--resume", run], capture_output=True, text=True, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    assert "finished" in resumed.stderr
