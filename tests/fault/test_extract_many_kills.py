"""`kill -9` at 30 random moments of runs of three encoders: the same bytes, little done twice."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scfae.store import verify

from ..unit.extract import media_kit as kit
from .test_extract_claim import events
from .test_extract_kill import digests

ENCODERS = ("efficientnet-lite0", "ge2e", "resnetse34l@random:0")
FORKS = Path(__file__).with_name("extract_forks.py")
SHARDS = 10
KILLS = 30

pytestmark = [pytest.mark.fault, pytest.mark.slow]


class Forks:
    """Starts extractions, one at a time, and kills them."""

    def __init__(self, media: Path) -> None:
        self._media = media
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        self._process = subprocess.Popen(
            [sys.executable, str(FORKS), *ENCODERS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
        )
        assert self._line() == "ready"

    def run(self, store: Path, log: Path, *, workers: int, kill_after_s: float | None) -> int:
        """Return the exit status of an extraction, negative if it was killed."""
        words = [str(self._media), str(store), "--shard-size", "1", "--batch-size", "1"]
        words += ["--workers", str(workers)]
        words += [word for encoder in ENCODERS for word in ("-e", encoder)]
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([str(log), *words]) + "\n")
        self._process.stdin.flush()
        pid = int(self._line())
        killer = None
        if kill_after_s is not None:
            killer = threading.Timer(kill_after_s, os.kill, (pid, signal.SIGKILL))
            killer.start()
        status = int(self._line())
        if killer is not None:
            killer.cancel()
        return status

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture
def forks(tmp_path: Path) -> Iterator[Forks]:
    folder = tmp_path / "media"
    folder.mkdir()
    for i in range(SHARDS):
        kit.write_clip(folder / f"{i}.mp4", frames=10, sound_s=0.4)
    forks = Forks(folder)
    yield forks
    forks.close()


@pytest.mark.timeout(3600)
def test_thirty_kills_change_nothing_and_cost_a_shard_each(tmp_path: Path, forks: Forks) -> None:
    wholes = []
    begun_s = time.monotonic()
    for workers in (1, 2, 4):
        whole = tmp_path / f"whole-{workers}"
        log = tmp_path / f"log-whole-{workers}"
        assert forks.run(whole, log, workers=workers, kill_after_s=None) == 0
        wholes.append(digests(whole))
    assert wholes[0] == wholes[1] == wholes[2]
    assert sum(name.endswith(".zarr.zip") for name in wholes[0]) == 3 * SHARDS
    run_s = (time.monotonic() - begun_s) / 3

    instants, kills, number = random.Random(0), 0, 0
    while kills < KILLS:
        store, log = tmp_path / f"store-{number}", tmp_path / f"log-{number}"
        number += 1
        kills_here = 0
        while True:
            after_s = None if kills == KILLS else instants.uniform(0, run_s)
            begun_s = time.monotonic()
            status = forks.run(store, log, workers=(1, 2, 4)[kills % 3], kill_after_s=after_s)
            if status == 0:
                run_s = min(run_s, time.monotonic() - begun_s)  # the machine has become quicker
                break
            assert status == -signal.SIGKILL
            kills += 1
            kills_here += 1
            if (store / "store.json").exists():
                assert verify(store) == []
        assert digests(store) == wholes[0]
        begun = [shard for shard, _ in events(log, "begin")]
        assert set(begun) == set(range(SHARDS))
        assert len(begun) - SHARDS <= kills_here
        print(f"store {number}: {kills_here} kills, {len(begun) - SHARDS} shards begun again")
