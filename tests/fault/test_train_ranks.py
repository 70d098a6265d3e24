"""Several processes under torchrun train as one does, and go on when one of them is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from scfae.store.testing import make_store

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]


# A machine whose own name does not resolve would wait for itself half an hour.
LAUNCH = ("--standalone", "--local-addr=127.0.0.1")


def command(store: Path, run: Path, processes: int, *more: str) -> list[str]:
    launch = ["-m", "torch.distributed.run", *LAUNCH, f"--nproc-per-node={processes}"]
    launch += ["--max-restarts=2", "-m", "--", "scfae.cli"]
    words = ["train", "--store", str(store), "--run", str(run), "--label", "digit", "--seed", "7"]
    words += ["--columns", "video=video", "audio=audio", "--masking", "bernoulli:0.3"]
    words += ["--epochs", "3", "--batch-size", "25", "--checkpoint-every-steps", "2", *more]
    return [sys.executable, *launch, *words]


def train(*words: Any) -> None:
    done = subprocess.run(command(*words), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@contextmanager
def begun(*words: Any) -> Iterator[subprocess.Popen[str]]:
    """Start torchrun; whatever happens, it is ended, and nobody waits for it for ever."""
    process = subprocess.Popen(command(*words), stderr=subprocess.PIPE, text=True)
    try:
        yield process
        process.wait(timeout=120)
    finally:
        process.terminate()  # it ends those that it started
        try:
            process.wait(timeout=60)
        finally:
            process.kill()
            assert process.stderr is not None
            process.stderr.close()


def epochs(run: Path) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return [event for event in events if event["type"] == "epoch"]


def last(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    return state


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "store"
    return make_store(folder, num_samples=300, missing=0.2, dims={"video": 24, "audio": 16}).path


@pytest.mark.parametrize(
    "words",
    [
        (),
        pytest.param(
            ("--fusion", "scfae+infonce", "--combiner", "min_norm"), marks=pytest.mark.slow
        ),
        pytest.param(("--combiner", "pcgrad"), marks=pytest.mark.slow),
        pytest.param(("--accumulate", "3"), marks=pytest.mark.slow),
    ],
)
def test_any_number_of_processes_sees_the_same_losses(
    store: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    for processes in (1, 2, 3):
        train(store, tmp_path / str(processes), processes, *words)
    alone = epochs(tmp_path / "1")
    for processes in (2, 3):
        together = epochs(tmp_path / str(processes))
        assert len(together) == len(alone) == 3
        for one, other in zip(alone, together, strict=True):
            assert other["train"] == pytest.approx(one["train"], rel=1e-5)
            assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)
            assert other["val"]["loss"] == pytest.approx(one["val"]["loss"], rel=1e-5)


def test_training_goes_on_when_a_process_is_killed(store: Path, tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "killed"
    train(store, whole, 2)
    with begun(store, run, 2) as torchrun:
        while not (run / "checkpoints" / "last.pt").exists():
            assert torchrun.poll() is None
            time.sleep(0.01)
        os.kill(worker(torchrun.pid), signal.SIGKILL)
        _, complaints = torchrun.communicate(timeout=300)
        assert torchrun.returncode == 0, complaints
    events = [json.loads(line)["type"] for line in (run / "events.jsonl").read_text().splitlines()]
    assert "resumed" in events
    killed, unharmed = last(run), last(whole)
    assert killed["step"] == unharmed["step"]
    for name, value in unharmed["model"].items():
        assert torch.equal(killed["model"][name], value), name


@pytest.mark.slow
def test_a_run_goes_on_in_another_number_of_processes(store: Path, tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "stopped"
    train(store, whole, 1)
    with begun(store, run, 2) as torchrun:
        while not (run / "checkpoints" / "last.pt").exists():
            assert torchrun.poll() is None
            time.sleep(0.01)
        torchrun.terminate()
    assert last(run)["step"] < last(whole)["step"]
    train(store, run, 1)
    assert epochs(run)[-1]["train"] == pytest.approx(epochs(whole)[-1]["train"], rel=1e-5)


def worker(torchrun: int) -> int:
    """Return the process of rank 1."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent == torchrun and b"RANK=1" in environment:
            return int(folder.name)
    raise AssertionError("there is no rank 1")
