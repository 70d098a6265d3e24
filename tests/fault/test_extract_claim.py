"""`--claim` with real processes, one of them killed: they end in the bytes of a single one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scfae.demo.clips import make_media
from scfae.store import verify

from .test_extract_kill import command, digests

SHARDS = 9
WORKER = Path(__file__).with_name("extract_worker.py")

pytestmark = [pytest.mark.fault, pytest.mark.slow]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    return make_media(folder, {"train": 2 * SHARDS}, fake_ratio=0.0, seed=6)


@pytest.fixture(scope="module")
def whole(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    store = tmp_path_factory.mktemp("whole") / "store"
    subprocess.run(command(manifest, store), check=True, capture_output=True)
    return digests(store)


def claimer(manifest: Path, store: Path, log: Path) -> "subprocess.Popen[str]":
    words = command(manifest, store, "--claim", "--workers", "1", "--lease", "20")[1:]
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(log), *words], stderr=subprocess.PIPE, text=True
    )


def events(log: Path, what: str) -> list[tuple[int, int]]:
    """Return (shard, process) of each event so far."""
    lines = log.read_text().splitlines() if log.exists() else []
    split = [line.split() for line in lines]
    return [(int(shard), int(pid)) for event, shard, pid in split if event == what]


@pytest.mark.timeout(600)
def test_three_processes_share_one_extraction(
    manifest: Path, tmp_path: Path, whole: dict[str, str]
) -> None:
    store, log = tmp_path / "store", tmp_path / "log"
    processes = [claimer(manifest, store, log) for _ in range(3)]
    for process in processes:
        _, stderr = process.communicate(timeout=500)
        assert process.returncode == 0, stderr
    assert digests(store) == whole
    # No shard was made twice, and at least two processes made some.
    assert sorted(shard for shard, _ in events(log, "commit")) == list(range(SHARDS))
    assert len({pid for _, pid in events(log, "commit")}) >= 2


@pytest.mark.timeout(600)
def test_the_shards_of_a_killed_process_are_taken_over(
    manifest: Path, tmp_path: Path, whole: dict[str, str]
) -> None:
    store, log = tmp_path / "store", tmp_path / "log"
    processes = [claimer(manifest, store, log) for _ in range(3)]
    victim = None
    end_s = time.monotonic() + 300
    while victim is None and time.monotonic() < end_s:
        time.sleep(0.02)
        begun, done = events(log, "begin"), events(log, "commit")
        # In the middle of a shard, with a commit of its own behind it.
        victim = next(
            (p for p in processes if any(pid == p.pid for _, pid in done)
             and any(pid == p.pid and (shard, pid) not in done for shard, pid in begun)),
            None,
        )  # fmt: skip
    assert victim is not None
    os.kill(victim.pid, signal.SIGKILL)
    for process in processes:
        _, stderr = process.communicate(timeout=500)
        assert process.returncode == (-signal.SIGKILL if process is victim else 0), stderr
    assert verify(store) == []
    assert digests(store) == whole
    shards = [shard for shard, _ in events(log, "begin")]
    assert len(shards) - len(set(shards)) <= 1  # the one it was at
