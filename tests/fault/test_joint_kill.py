"""`kill -9` while encoders are trained, then the same command again: equal weights, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ..unit.train.window_store import ENCODERS, window_store

SCFAE = Path(sys.executable).parent / "scfae"

pytestmark = pytest.mark.fault


def command(store: Path, run: Path) -> list[str]:
    own = {m: one | {"checkpointing": True, "chunk": 7} for m, one in ENCODERS.items()}
    words: list[str] = [str(SCFAE), "train", "--store", str(store), "--run", str(run)]
    words += ["--columns", "video=windows-of-video", "audio=windows-of-audio"]
    words += ["--encoders", *(f"{m}={json.dumps(one)}" for m, one in own.items())]
    words += ["--task", "deepfake", "--label", "fake"]
    words += ["--modality-labels", "video=fake_video", "audio=fake_audio"]
    words += ["--masking", "bernoulli:0.3", "--epochs", "4", "--batch-size", "10"]
    return [*words, "--checkpoint-every-steps", "1", "--trackers", "none", "--device", "cpu"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_joint_trainings_end_in_the_same_weights(tmp_path: Path) -> None:
    store = window_store(tmp_path / "store").path
    whole, run = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(store, whole), check=True, capture_output=True)
    last = run / "checkpoints" / "last.pt"
    kills = 0
    while True:
        process = subprocess.Popen(command(store, run), stderr=subprocess.PIPE)
        before, changes = last.stat().st_mtime_ns if kills else 0, 0
        while process.poll() is None:
            now = last.stat().st_mtime_ns if last.exists() else 0
            if now != before:
                before, changes = now, changes + 1
            if kills < 2 and changes > 1 + kills:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        _, stderr = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, stderr
    assert kills == 2
    for name in ("last.pt", "best.pt"):
        expected, got = (
            torch.load(one / "checkpoints" / name, weights_only=True)["model"]
            for one in (whole, run)
        )
        assert list(expected) == list(got)
        assert any(key.startswith("encoders.video.network.") for key in got)
        for key, value in expected.items():
            assert torch.equal(value, got[key]), (name, key)
