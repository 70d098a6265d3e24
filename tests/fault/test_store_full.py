"""A file system without space left: a clear error, a whole store, and going on once there is some.

The file system is a real one of two megabytes in memory, which needs the right to mount.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from scfae.store import ColumnInfo, FeatureStore, SampleRow, ShardSample, verify
from scfae.store.container import SUFFIXES, Format
from scfae.store.errors import StoreFull

pytestmark = pytest.mark.fault

SHARD_BYTES = 300_000
DIM = 500
PAGE_BYTES = 4096


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a file system of two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no `mount` here")
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def rows(shard: int) -> npt.NDArray[Any]:
    return np.random.default_rng(shard).normal(size=(SHARD_BYTES // DIM // 4, DIM)).astype("f4")


def commit(store: FeatureStore, form: Format, shards: list[int]) -> list[int]:
    """Commit shards of a column; return those that are there afterwards."""
    info = ColumnInfo.create("x", "video", encoder="noise", dim=DIM, format=form)
    done = []
    with store.add_column(info) as writer:
        for shard in shards:
            writer.commit(shard, [ShardSample(rows(shard))])
            done.append(shard)
    return done


def assert_whole(path: Path, shards: list[int]) -> None:
    """Check that these shards are there with their rows, and nothing else."""
    assert verify(path) == []
    store = FeatureStore.open(path)
    column = store.column("x")
    assert sorted(set(range(20)) - set(column.missing_shards)) == shards
    for shard in shards:
        index = store.samples.rows_of(shard).start
        np.testing.assert_array_equal(column.rows(index), rows(shard))


@pytest.mark.parametrize("form", SUFFIXES)
def test_a_full_file_system_is_said_and_the_store_goes_on_after_space_is_made(
    small: Path, form: Format
) -> None:
    ballast = small / "ballast"
    ballast.write_bytes(bytes(700_000))
    path = small / "store"
    store = FeatureStore.create(path, [SampleRow(f"s{i}") for i in range(20)], shard_size=1)
    with pytest.raises(StoreFull, match=r"shard-0000\d.*no space left.*make space"):
        commit(store, form, list(range(20)))
    there = len(store.column("x").missing_shards)
    assert 15 < there < 20
    assert_whole(path, list(range(20 - there)))
    assert not [one for one in path.rglob(".tmp-*") if one.is_file()]
    ballast.unlink()
    assert commit(store, form, [20 - there]) == [20 - there]
    assert_whole(path, list(range(21 - there)))


def append_with(path: Path, free_bytes: int) -> bool:
    """Append samples where so much space is free; return whether they were appended."""
    store = FeatureStore.create(path, [SampleRow(f"s{i}") for i in range(4)], shard_size=2)
    new = [SampleRow(f"new-{i}" * 200) for i in range(20)]
    with (path.parent / "ballast").open("wb", buffering=0) as ballast:
        with contextlib.suppress(OSError):
            while ballast.write(bytes(PAGE_BYTES)) == PAGE_BYTES:
                pass
        ballast.truncate(max(0, ballast.tell() - free_bytes))
    try:
        store.append_samples(new)
        is_appended = True
    except StoreFull:
        is_appended = False
    assert verify(path) == []
    assert len(FeatureStore.open(path).samples) == (24 if is_appended else 4)
    (path.parent / "ballast").unlink()
    assert len(FeatureStore.open(path).append_samples(new)) == (0 if is_appended else 20)
    assert verify(path) == []
    return is_appended


def test_samples_appended_to_a_full_file_system_are_all_there_or_none(small: Path) -> None:
    done = [append_with(small / f"{pages}", pages * PAGE_BYTES) for pages in range(16)]
    assert not done[0]
    assert done[-1]
