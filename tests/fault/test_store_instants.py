"""A process really killed before every line of every write leaves the old store or the new one."""

import hashlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.fault import store_forks
from tests.fault.store_forks import append, begin, commit, create, drop, relabel, rename, repeat
from tests.fault.store_forks import replace as replace_column

from scfae.store import FeatureStore, collect_garbage, verify
from scfae.store.errors import StoreNotFound

pytestmark = pytest.mark.fault


def killed_before_each_line(
    write: Callable[[Path], None], path: Path, every: int = 1
) -> Iterator[int]:
    """Yield after each killed attempt; end when an attempt ran to its end."""
    with subprocess.Popen(
        [sys.executable, store_forks.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as forks:
        assert forks.stdin is not None
        assert forks.stdout is not None
        instant, status = 0, 1
        while status != 0:
            instant += every
            print(write.__name__, path, instant, sep="\t", file=forks.stdin, flush=True)
            status = int(forks.stdout.readline())
            assert status in (0, signal.SIGKILL)
            yield instant
        forks.stdin.close()


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


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("write", [append, relabel, begin, repeat, replace_column])
def test_a_store_killed_before_any_line_of_a_write_is_whole(
    base: Path, tmp_path: Path, write: Callable[[Path], None], every: int
) -> None:
    new = tmp_path / "new"
    shutil.copytree(base, new)
    write(new)
    tables = {table(base), table(new)}
    kept = {name: sha for name, sha in digests(base).items() if "/kept/" in name}
    path = tmp_path / "store"
    shutil.copytree(base, path)
    for instant in killed_before_each_line(write, path, every):
        assert verify(path) == [], instant
        assert table(path) in tables, instant
        there = digests(path)
        assert {name: there.get(name) for name in kept} == kept, instant
        assert_column_is_of_one_write(path)
        if instant % (4 * every) == 0:  # every instant would take too long
            write(path)
            assert digests(path) == digests(new), instant
        shutil.rmtree(path)
        shutil.copytree(base, path)


def test_a_creation_killed_before_any_line_is_whole_or_not_there(tmp_path: Path) -> None:
    path, new = tmp_path / "store", tmp_path / "new"
    create(new)
    num_absent = num_whole = 0
    for instant in killed_before_each_line(create, path):
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
    for instant in killed_before_each_line(change, path):
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
