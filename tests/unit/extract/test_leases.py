"""Leases: one holder at a time, taken over from the dead and from nobody else."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scfae.extract import leases as module
from scfae.extract.leases import Leases, refuse_claimed
from scfae.store import FeatureStore, SampleRow, verify
from scfae.store.errors import StoreLocked


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore.create(tmp_path / "store", [SampleRow(id=str(i)) for i in range(4)])


def lease(store: FeatureStore, shard: int = 0) -> Path:
    return store.path / "claims" / f"shard-{shard:05d}.json"


def elsewhere(store: FeatureStore, shard: int = 0, **words: object) -> None:
    """Let a lease be one of another machine."""
    body = json.loads(lease(store, shard).read_bytes()) | {"host": "far", **words}
    lease(store, shard).write_text(json.dumps(body))


def test_a_shard_has_one_holder_and_nothing_is_left_at_the_end(store: FeatureStore) -> None:
    with Leases(store, ["a"]) as one, Leases(store, ["a"]) as other:
        assert one.take(0)
        assert not other.take(0)
        assert other.take(1)
        assert (one.holds(0), one.holds(1), other.holds(1)) == (True, False, True)
        assert verify(store) == []
        one.release(0)
        assert other.take(0)
    assert not (store.path / "claims").exists()


def test_a_holder_elsewhere_is_left_alone_while_it_beats(store: FeatureStore) -> None:
    with Leases(store, ["a"]) as one, Leases(store, ["a"], lease_s=0.3) as other:
        assert one.take(0)
        end_s = time.monotonic() + 0.8
        beat = 0
        while time.monotonic() < end_s:
            beat += 1
            elsewhere(store, lease_s=0.3, beat=beat)
            assert not other.take(0)
            time.sleep(0.05)


def test_a_silent_holder_elsewhere_is_taken_over_and_finds_out(store: FeatureStore) -> None:
    with Leases(store, ["a"]) as one, Leases(store, ["a"], lease_s=0.3) as other:
        assert one.take(0)
        elsewhere(store, lease_s=0.3)
        begun_s = time.monotonic()
        while not other.take(0):
            assert time.monotonic() - begun_s < 20
            time.sleep(0.02)
        assert time.monotonic() - begun_s >= 0.3
        assert not one.holds(0)
        one.release(0)  # no longer its own to give back
        assert other.holds(0)


def test_a_living_holder_beats(store: FeatureStore) -> None:
    with Leases(store, ["a"], lease_s=0.2) as one:
        assert one.take(0)
        first = lease(store).read_bytes()
        end_s = time.monotonic() + 20
        while lease(store).read_bytes() == first:
            assert time.monotonic() < end_s
            time.sleep(0.02)
        assert one.holds(0)


def test_a_dead_process_of_this_machine_is_taken_over_at_once(store: FeatureStore) -> None:
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process,
        Leases(store, ["a"]) as one,
        Leases(store, ["a"]) as other,
    ):
        assert one.take(0)
        body = json.loads(lease(store).read_bytes())
        body |= {"pid": process.pid, "started": module._started(process.pid)}
        lease(store).write_text(json.dumps(body))
        assert not other.take(0)
        process.kill()
        process.wait()
        assert other.take(0)


def test_an_extraction_of_its_own_is_told_who_has_leases(store: FeatureStore) -> None:
    with Leases(store, ["a", "b"]) as one:
        assert one.take(0)
        with pytest.raises(
            StoreLocked, match=f"locked by process {os.getpid()} on .* leases on shards.*--claim"
        ):
            refuse_claimed(store, ["b"], is_sharing=False)
        refuse_claimed(store, ["c"], is_sharing=False)


def test_what_the_dead_have_left_is_removed(store: FeatureStore) -> None:
    with Leases(store, ["a"]) as one:
        assert one.take(0)
        assert one.take(1)
        elsewhere(store, lease_s=0.3)
        elsewhere(store, 1, host=json.loads(lease(store, 1).read_bytes())["host"], started="1")
        refuse_claimed(store, ["a"], is_sharing=False)
        assert not (store.path / "claims").exists()


def test_a_damaged_lease_expires_like_any_other(store: FeatureStore) -> None:
    lease(store).parent.mkdir()
    lease(store).write_bytes(b"\xff{")
    with Leases(store, ["a"], lease_s=0.1) as one:
        assert not one.take(0)
        time.sleep(0.15)
        assert one.take(0)
