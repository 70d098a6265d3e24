"""`kill -9` at random points of a training and of a sweep: what goes on ends in the same bytes.

Each point is drawn from the time between the folder's first file and the end of an uninterrupted
command, measured on this machine. The same command again must then give the same weights,
optimizer, generators, curves and test metrics, bit for bit.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from scfae.store.testing import make_store
from scfae.train.runs import RunFolder

from ..unit.train.small_runs import assert_equal, assert_same_run, epochs

SCFAE = Path(sys.executable).parent / "scfae"
GRID = ("lr=1e-2,1e-3",)
SEEDS = ("1", "2")
FEW, MANY = 2, 20

pytestmark = pytest.mark.fault


def train_command(store: Path, run: Path) -> list[str]:
    words = [str(SCFAE), "train", "--store", str(store), "--run", str(run), "--label", "digit"]
    words += ["--columns", "video=video", "audio=audio", "--masking", "bernoulli:0.3"]
    words += ["--epochs", "8", "--batch-size", "16", "--seed", "7", "--device", "cpu"]
    # Checkpoints inside epochs, so that a resume has to find its place in the stream.
    return [*words, "--checkpoint-every-steps", "3"]


def sweep_command(store: Path, folder: Path, *more: str) -> list[str]:
    words = train_command(store, folder)
    words[1] = "sweep"
    place = words.index("--seed")
    del words[place : place + 2]
    words[words.index("--epochs") + 1] = "3"
    return [*words, "--seeds", *SEEDS, "--grid", *GRID, "--bootstrap", "20", *more]


def search_command(store: Path, folder: Path) -> list[str]:
    words = sweep_command(store, folder)
    place = words.index("--grid")
    words[place : place + 2] = ["--search", "lr=log:1e-4:1e-2", "--trials", "2"]
    return words


def start(command: Sequence[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def wait_for(path: Path, process: "subprocess.Popen[bytes]") -> float:
    """Return when the file was there."""
    while not path.exists():
        assert process.poll() in (None, 0)
        time.sleep(0.001)
    return time.monotonic()


def timed(command: Sequence[str], first_file: Path) -> float:
    """Run a command to its end; return the seconds from its first file on."""
    process = start(command)
    begun_s = wait_for(first_file, process)
    assert process.wait() == 0
    return time.monotonic() - begun_s


def killed(command: Sequence[str], first_file: Path, after_s: float) -> bool:
    """Kill a command so long after its first file; return whether it was still at work."""
    process = start(command)
    time.sleep(max(0.0, wait_for(first_file, process) + after_s - time.monotonic()))
    was_at_work = process.poll() is None
    if was_at_work:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return was_at_work


class Points:
    """Random times, so many that `count` of them found the command at work.

    Args:
        count: How many kills there are to be.
        duration_s: Of the uninterrupted command; other work on the machine makes it shift.
    """

    def __init__(self, count: int, duration_s: float) -> None:
        self._count, self._duration_s = count, duration_s
        self._at_work: list[tuple[float, Any]] = []

    def __iter__(self) -> Iterator[float]:
        generator = random.Random(5)
        for tried in range(4 * self._count):
            if len(self._at_work) == self._count:
                print(f"{tried} points, {self._count} at work (seconds, epochs): {self._at_work}")
                return
            before = len(self._at_work)
            after_s = generator.uniform(0, self._duration_s)
            yield after_s
            if len(self._at_work) == before:  # it took less than when it was measured
                self._duration_s = (self._duration_s + after_s) / 2
        pytest.fail(f"only {len(self._at_work)} of {4 * self._count} points found it at work")

    def found(self, after_s: float, epochs_done: Any) -> None:
        self._at_work.append((round(after_s, 2), epochs_done))


def epochs_of(path: Path) -> int:
    return len(epochs(RunFolder(path))) if RunFolder.exists(path) else 0


def assert_same_sweep(mine: Path, theirs: Path) -> None:
    """Compare every run, and what was found, the folders' names aside."""
    results = [
        json.loads((folder / "results.json").read_text().replace(str(folder), "SWEEP"))
        for folder in (mine, theirs)
    ]
    assert_equal(results[0], results[1])
    assert len(results[0]["runs"]) == 4
    for name in results[0]["runs"]:
        assert_same_run(RunFolder(mine / name), RunFolder(theirs / name))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "store"
    return make_store(folder, num_samples=900, missing=0.2, dims={"video": 64, "audio": 48}).path


@pytest.fixture(scope="module")
def whole_run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run that nothing stopped, and how long it took."""
    run = tmp_path_factory.mktemp("whole") / "run"
    return run, timed(train_command(store, run), run / "config.yaml")


@pytest.fixture(scope="module")
def whole_sweep(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A sweep that nothing stopped, and how long it took."""
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    return folder, timed(sweep_command(store, folder), folder / "sweep.yaml")


def kill_trainings(store: Path, whole: tuple[Path, float], folder: Path, count: int) -> None:
    points = Points(count, whole[1])
    for number, after_s in enumerate(points):
        run = folder / f"run-{number}"
        command = train_command(store, run)
        if killed(command, run / "config.yaml", after_s):
            points.found(after_s, epochs_of(run))
        subprocess.run(command, check=True, capture_output=True)
        assert_same_run(RunFolder(run), RunFolder(whole[0]))


def kill_sweeps(
    store: Path,
    whole: tuple[Path, float],
    folder: Path,
    count: int,
    command_of: Callable[[Path, Path], list[str]] = sweep_command,
) -> None:
    points = Points(count, whole[1])
    for number, after_s in enumerate(points):
        sweep = folder / f"sweep-{number}"
        command = command_of(store, sweep)
        if killed(command, sweep / "sweep.yaml", after_s):
            points.found(after_s, [epochs_of(path) for path in sorted(sweep.glob("lr=*"))])
        subprocess.run(command, check=True, capture_output=True)
        assert_same_sweep(sweep, whole[0])


@pytest.mark.slow  # `test_train_kill` kills one in the quick suite
@pytest.mark.timeout(600)
def test_trainings_killed_at_a_few_points(
    store: Path, whole_run: tuple[Path, float], tmp_path: Path
) -> None:
    kill_trainings(store, whole_run, tmp_path, FEW)


@pytest.mark.timeout(600)
def test_sweeps_killed_at_a_few_points(
    store: Path, whole_sweep: tuple[Path, float], tmp_path: Path
) -> None:
    kill_sweeps(store, whole_sweep, tmp_path, FEW)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_trainings_killed_at_many_points(
    store: Path, whole_run: tuple[Path, float], tmp_path: Path
) -> None:
    kill_trainings(store, whole_run, tmp_path, MANY)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sweeps_killed_at_many_points(
    store: Path, whole_sweep: tuple[Path, float], tmp_path: Path
) -> None:
    kill_sweeps(store, whole_sweep, tmp_path, MANY)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_searches_killed_at_some_points(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "whole"
    whole = folder, timed(search_command(store, folder), folder / "sweep.yaml")
    kill_sweeps(store, whole, tmp_path, 5, search_command)


def locked_runs(folder: Path) -> list[Path]:
    runs = [path for path in folder.glob("lr=*") if RunFolder.exists(path)]
    return [path for path in runs if RunFolder(path).is_locked()]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("signum", "status"),
    [
        (signal.SIGKILL, -9),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_runs_side_by_side_stop_with_their_sweep(
    store: Path, whole_sweep: tuple[Path, float], tmp_path: Path, signum: int, status: int
) -> None:
    folder = tmp_path / "sweep"
    command = sweep_command(store, folder, "--jobs", "2")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while len(locked_runs(folder)) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signum)  # to the sweep alone, as a terminal does: runs are groups apart
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == status, stderr.decode()
    if signum == signal.SIGKILL:
        until_s = time.monotonic() + 60
        while locked_runs(folder) and time.monotonic() < until_s:
            time.sleep(0.05)
    else:
        assert f"go on with: scfae sweep --resume {folder}" in stderr.decode()
    assert not locked_runs(folder)
    states: list[Any] = [RunFolder(path).state()["state"] for path in folder.glob("lr=*")]
    assert "interrupted" in states
    subprocess.run(command, check=True, capture_output=True)
    assert_same_sweep(folder, whole_sweep[0])
