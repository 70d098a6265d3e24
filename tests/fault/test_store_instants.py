"""A process really killed before every line of every write leaves the old store or the new one."""

import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from scfae.store import (
    ColumnInfo,
    FeatureStore,
    SampleRow,
    ShardSample,
    atomic,
    collect_garbage,
    verify,
)
from scfae.store.errors import StoreNotFound

ATOMIC = atomic.__file__
STEPS = {"create", "_rewrite", "_finish_renaming", "commit", "_begin", "_drop_all"}
STEPS |= {"rename_column", "drop_column", "_copy", "_link", "_drop"}
SAMPLES = [SampleRow(f"s{i}", labels={"y": i}) for i in range(4)]

pytestmark = pytest.mark.fault


def commit(store: FeatureStore, column: str, value: float, shards: list[int]) -> None:
    info = ColumnInfo.create(column, "video", encoder="constant", dim=2, weights=f"random:{value}")
    with store.add_column(info, replace=True) as writer:
        for shard in shards:
            here = store.samples.rows_of(shard)
            writer.commit(shard, [ShardSample(np.full((1, 2), value)) for _ in here])


def create(path: Path) -> None:
    FeatureStore.create(path, SAMPLES, shard_size=2)


def append(path: Path) -> None:
    FeatureStore.open(path).append_samples([SampleRow("new"), *SAMPLES])


def relabel(path: Path) -> None:
    FeatureStore.open(path).update_labels([SampleRow("s1", labels={"y": 7})])


def begin(path: Path) -> None:
    commit(FeatureStore.open(path), "begun", 1.0, [0])


def repeat(path: Path) -> None:
    commit(FeatureStore.open(path), "other", 2.0, [0])


def replace(path: Path) -> None:
    commit(FeatureStore.open(path), "other", 3.0, [0, 1])


def rename(path: Path) -> None:
    FeatureStore.open(path).rename_column("other", "renamed")


def drop(path: Path) -> None:
    FeatureStore.open(path).drop_column("other")


def killed_before_each_line(write: Callable[[], None]) -> Iterator[int]:
    """Yield after each killed attempt; end when an attempt ran to its end."""
    instant, status = 0, 1
    while status != 0:
        instant += 1
        child = os.fork()
        if child == 0:
            run_until(instant, write)
        _, status = os.waitpid(child, 0)
        assert status in (0, signal.SIGKILL)
        yield instant


def run_until(instant: int, write: Callable[[], None]) -> None:
    """Write, but die before the line number `instant` of the functions that write files."""
    left = instant

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        code = frame.f_code
        is_step = code.co_name in STEPS and code.co_filename.startswith(os.path.dirname(ATOMIC))
        if code.co_filename != ATOMIC and not is_step:
            return None
        left -= event == "line"
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    status = 1
    try:
        sys.settrace(trace)
        write()
        status = 0
    finally:
        os._exit(status)


def digests(store: Path) -> dict[str, str]:
    return {
        str(p.relative_to(store)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in store.rglob("*")
        if p.is_file()
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "store"
    create(path)
    for name, value in (("kept", 1.0), ("other", 2.0)):
        commit(FeatureStore.open(path), name, value, [0, 1])
    return path


@pytest.mark.parametrize("write", [append, relabel, begin, repeat, replace])
def test_a_store_killed_before_any_line_of_a_write_is_whole(
    base: Path, tmp_path: Path, write: Callable[[Path], None]
) -> None:
    new = tmp_path / "new"
    shutil.copytree(base, new)
    write(new)
    tables = {table(base), table(new)}
    kept = {name: sha for name, sha in digests(base).items() if "/kept/" in name}
    path = tmp_path / "store"
    shutil.copytree(base, path)
    for instant in killed_before_each_line(lambda: write(path)):
        assert verify(path) == [], instant
        assert table(path) in tables, instant
        there = digests(path)
        assert {name: there.get(name) for name in kept} == kept, instant
        assert_column_is_of_one_write(path)
        if instant % 4 == 0:  # every instant would take too long
            write(path)
            assert digests(path) == digests(new), instant
        shutil.rmtree(path)
        shutil.copytree(base, path)


def test_a_creation_killed_before_any_line_is_whole_or_not_there(tmp_path: Path) -> None:
    path, new = tmp_path / "store", tmp_path / "new"
    create(new)
    num_absent = num_whole = 0
    for instant in killed_before_each_line(lambda: create(path)):
        try:
            FeatureStore.open(path)
        except StoreNotFound:
            num_absent += 1
            create(path)
        else:
            num_whole += 1
        assert verify(path) == [], instant
        assert {k: v for k, v in digests(path).items() if k != ".lock"} == digests(new), instant
        shutil.rmtree(path)
    assert num_absent > 20
    assert num_whole > 3


@pytest.mark.parametrize("change", [rename, drop])
def test_a_column_killed_before_any_line_of_a_change_is_whole_or_gone(
    base: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path, new = tmp_path / "store", tmp_path / "new"
    shutil.copytree(base, new)
    change(new)
    shutil.copytree(base, path)
    rows = FeatureStore.open(base).column("other").content_sha256
    seen = set()
    for instant in killed_before_each_line(lambda: change(path)):
        assert verify(path) == [], instant
        store = FeatureStore.open(path)
        seen.add(tuple(store.columns))
        for name in store.columns.keys() & {"other", "renamed"}:
            assert store.column(name).is_complete, instant
            assert store.column(name).content_sha256 == rows, instant
        if "other" in store.columns:
            change(path)
        collect_garbage(store, grace_s=0, is_deleting=True)
        assert digests(path) == digests(new), instant
        shutil.rmtree(path)
        shutil.copytree(base, path)
    both = {("kept", "other", "renamed"), ("kept", "renamed")} if change is rename else {("kept",)}
    assert seen == {("kept", "other")} | both


def table(path: Path) -> str:
    return repr(FeatureStore.open(path).samples.rows())


def assert_column_is_of_one_write(path: Path) -> None:
    """Check that every row of `other` is what its description says, whichever that is."""
    column = FeatureStore.open(path).column("other")
    value = float(column.info.weights.removeprefix("random:"))
    for i in np.flatnonzero(column.lengths):
        assert column.rows(int(i)).tolist() == [[value, value]]
