"""A column's index says what its receipts say, whatever has become of its cache."""

import errno
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from scfae.store import ColumnInfo, FeatureStore, SampleRow, ShardSample, verify
from scfae.store import index as index_module
from scfae.store.errors import CorruptShard
from scfae.store.index import INDEX_FILE, ColumnIndex, read_index
from scfae.store.receipt import Receipt, read_receipt, receipt_file
from scfae.store.testing import make_store, ragged_samples
from scfae.store.verification import requeue

YOUNG_NS = 20_000_000
SHARD_SIZE = 2


@contextmanager
def eager() -> Iterator[pytest.MonkeyPatch]:
    """Cache the index of any column, of receipts that are 20 ms old."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "MIN_CACHED", 1)
        patch.setattr(index_module, "_YOUNG_NS", YOUNG_NS)
        yield patch


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    made = make_store(tmp_path / "store", num_samples=10, shard_size=SHARD_SIZE, missing=0.4)
    time.sleep(2 * YOUNG_NS / 1e9)
    return made


def read(store: FeatureStore, name: str = "video") -> ColumnIndex:
    column = store.column(name)
    return read_index(column.folder, column.info, store.samples)


def facts(index: ColumnIndex) -> list[Any]:
    arrays = (index.lengths, index.codes, index.state, index.num_bytes)
    lists = [index.files, index.sha256, index.ids_sha256, index.why()]
    return [*(array.tolist() for array in arrays), *lists]


def from_receipts(store: FeatureStore, name: str = "video") -> list[Any]:
    """Return what is read where there is no cache."""
    cache = store.column(name).folder / INDEX_FILE
    aside = cache.with_name(".tmp-aside")
    is_there = cache.exists()
    if is_there:
        cache.rename(aside)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "MIN_CACHED", 10**9)
        found = facts(read(store, name))
    if is_there:
        aside.rename(cache)
    return found


def no_receipt(folder: Path, shard: int) -> None:
    raise AssertionError(f"receipt {shard} was read")


def watched(patch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that fills with the shards whose receipts are read from now on."""
    seen: list[int] = []

    def read_and_tell(folder: Path, shard: int) -> Receipt | None:
        seen.append(shard)
        return read_receipt(folder, shard)

    patch.setattr(index_module, "read_receipt", read_and_tell)
    return seen


def test_a_few_receipts_leave_no_cache(store: FeatureStore) -> None:
    read(store)
    assert not (store.path / "columns/video" / INDEX_FILE).exists()


def test_the_cache_stands_for_receipts_that_have_not_changed(store: FeatureStore) -> None:
    expected = from_receipts(store)
    with eager() as patch:
        assert facts(read(store)) == expected
        patch.setattr(index_module, "read_receipt", no_receipt)
        assert facts(read(store)) == expected
        assert store.column("video").reasons == expected[-1] != {}
    assert verify(store) == []


def test_a_writer_of_many_shards_leaves_the_cache_for_readers(store: FeatureStore) -> None:
    info = store.column("video").info
    with eager() as patch:
        patch.setattr("scfae.store.writer.MIN_CACHED", 3)
        for num_commits, is_there in ((2, False), (3, True)):
            with store.add_column(info) as writer:
                for shard in range(num_commits):
                    writer.commit(shard, [ShardSample(status="failed", reason="x")] * SHARD_SIZE)
                time.sleep(2 * YOUNG_NS / 1e9)
            assert (writer.folder / INDEX_FILE).exists() == is_there
        expected = from_receipts(store)
        patch.setattr(index_module, "read_receipt", no_receipt)
        assert facts(read(store)) == expected


def test_only_what_changed_is_read_again(store: FeatureStore) -> None:
    column = store.column("video")
    with eager() as patch:
        read(store)
        with store.add_column(column.info) as writer:
            writer.commit(1, [ShardSample(status="failed", reason="new")] * SHARD_SIZE)
        (column.folder / receipt_file(3)).unlink()
        expected = from_receipts(store)
        seen = watched(patch)
        index = read(store)
    assert facts(index) == expected
    assert seen == [1]
    assert index.is_committed.tolist() == [True, True, True, False, True]


def test_a_receipt_that_is_too_young_is_read_again(store: FeatureStore) -> None:
    column = store.column("video")
    with eager() as patch:
        with store.add_column(column.info) as writer:
            writer.commit(1, [ShardSample(status="failed", reason="new")] * SHARD_SIZE)
        patch.setattr(index_module, "_YOUNG_NS", 10**18)
        read(store)
        assert not (column.folder / INDEX_FILE).exists()
        # All but the one just written are older than half the time since.
        receipt = column.folder / receipt_file(1)
        age_ns = time.time_ns() - receipt.stat().st_ctime_ns
        patch.setattr(index_module, "_YOUNG_NS", age_ns + 10_000_000)
        read(store)
        seen = watched(patch)
        read(store)
    assert 1 in seen


@given(data=st.data())
@settings(max_examples=30)
def test_a_damaged_cache_is_as_good_as_none(
    cached: tuple[FeatureStore, list[Any], bytes], data: st.DataObject
) -> None:
    store, expected, intact = cached
    cache = store.path / "columns/video" / INDEX_FILE
    place = data.draw(st.integers(0, len(intact) - 1))
    if data.draw(st.booleans()):
        cache.write_bytes(intact[:place])
    else:
        altered = bytearray(intact)
        altered[place] ^= data.draw(st.integers(1, 255))
        cache.write_bytes(altered)
    assert facts(read(store)) == expected
    assert verify(store) == []


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, list[Any], bytes]:
    folder = tmp_path_factory.mktemp("cached") / "store"
    store = make_store(folder, num_samples=10, shard_size=SHARD_SIZE, missing=0.4)
    time.sleep(2 * YOUNG_NS / 1e9)
    with eager():
        read(store)
    return store, from_receipts(store), (folder / "columns/video" / INDEX_FILE).read_bytes()


def test_the_cache_of_another_column_or_store_is_not_believed(
    store: FeatureStore, tmp_path: Path
) -> None:
    expected = from_receipts(store, "audio")
    other = make_store(tmp_path / "other", num_samples=10, shard_size=SHARD_SIZE, seed=5)
    theirs = from_receipts(other)
    time.sleep(2 * YOUNG_NS / 1e9)
    with eager():
        read(store)
        cache = store.path / "columns/video" / INDEX_FILE
        shutil.copy2(cache, store.path / "columns/audio")
        shutil.copy2(cache, other.path / "columns/video")
        assert facts(read(store, "audio")) == expected
        assert facts(read(other)) == theirs


def test_a_cache_that_cannot_be_written_is_not_missed(store: FeatureStore) -> None:
    expected = from_receipts(store)

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "no space left", str(path))

    with eager() as patch:
        patch.setattr(index_module, "atomic_file", full)
        assert facts(read(store)) == expected


def test_verify_finds_a_cache_that_lies(store: FeatureStore) -> None:
    with eager() as patch:
        index = read(store)
        index.lengths[3] += 1
        patch.setattr(index_module, "_start", lambda *_, **__: (index, index.is_committed))
        (damage,) = [one for one in verify(store) if one.column == "video"]
    assert (damage.shard, damage.file) == (None, f"columns/video/{INDEX_FILE}")
    assert requeue(store, [damage]) == ([], [])
    assert not (store.path / damage.file).exists()
    assert facts(read(store)) == from_receipts(store)


def test_a_damaged_receipt_is_an_error_beside_a_good_cache(store: FeatureStore) -> None:
    receipt = store.path / "columns/video" / receipt_file(2)
    with eager():
        read(store)
        receipt.write_bytes(receipt.read_bytes()[:-1])
        with pytest.raises(CorruptShard, match="shard 2"):
            read(store)


def test_readers_beside_a_writer_see_a_shard_as_it_was_or_as_it_is(store: FeatureStore) -> None:
    column = store.column("video")
    seen: list[set[tuple[int, ...]]] = [set() for _ in range(store.samples.num_shards)]
    errors: list[BaseException] = []
    done = threading.Event()

    def look() -> None:
        try:
            while not done.is_set():
                index = read(store)
                for shard, lengths in enumerate(index.lengths.reshape(-1, SHARD_SIZE).tolist()):
                    if index.is_committed[shard]:
                        seen[shard].add(tuple(lengths))
        except BaseException as error:
            errors.append(error)

    with eager() as patch:
        patch.setattr(index_module, "_YOUNG_NS", 5_000_000)
        readers = [threading.Thread(target=look) for _ in range(3)]
        for thread in readers:
            thread.start()
        written = [{tuple(column.lengths[2 * k : 2 * k + 2].tolist())} for k in range(5)]
        with store.add_column(column.info) as writer:
            for turn in range(1, 7):
                for shard in range(5):
                    sample = ShardSample(np.zeros((turn, column.info.dim), np.float32))
                    writer.commit(shard, [sample] * SHARD_SIZE)
                    written[shard].add((turn, turn))
        done.set()
        for thread in readers:
            thread.join()
        assert facts(read(store)) == from_receipts(store)
    assert errors == []
    assert all(some <= known for some, known in zip(seen, written, strict=True))


class IndexMachine(RuleBasedStateMachine):
    """Shards come, go and are replaced, samples are appended; the index is always right."""

    @initialize()
    def begin(self) -> None:
        import tempfile

        self.scope = eager()
        self.scope.__enter__()
        self.folder = tempfile.TemporaryDirectory()
        rows = [SampleRow(f"s{i}") for i in range(6)]
        self.store = FeatureStore.create(f"{self.folder.name}/s", rows, shard_size=SHARD_SIZE)
        self.generation = 0
        self.write(0, [ShardSample(np.ones((1, 3), np.float32))])

    def write(self, shard: int, samples: list[ShardSample]) -> None:
        info = ColumnInfo.create("c", "c", encoder=f"e{self.generation}", dim=3)
        here = len(self.store.samples.rows_of(shard))
        with self.store.add_column(info, replace=True) as writer:
            writer.commit(shard, (samples * here)[:here])

    @rule(shard=st.integers(0, 30), samples=ragged_samples(3))
    def commit(self, shard: int, samples: list[ShardSample]) -> None:
        self.write(shard % self.store.samples.num_shards, samples)

    @rule(shard=st.integers(0, 30))
    def withdraw(self, shard: int) -> None:
        name = receipt_file(shard % self.store.samples.num_shards)
        (self.store.path / "columns/c" / name).unlink(missing_ok=True)

    @rule()
    def replace(self) -> None:
        self.generation += 1
        self.write(0, [ShardSample(status="missing", reason="replaced")])

    @rule(count=st.integers(1, 3))
    def append(self, count: int) -> None:
        first = len(self.store.samples)
        self.store.append_samples([SampleRow(f"t{first + i}") for i in range(count)])

    @rule()
    def wait(self) -> None:
        time.sleep(2 * YOUNG_NS / 1e9)

    @invariant()
    def the_index_is_what_the_receipts_say(self) -> None:
        if hasattr(self, "store"):
            assert facts(read(self.store, "c")) == from_receipts(self.store, "c")
            assert verify(self.store) == []

    def teardown(self) -> None:
        if hasattr(self, "scope"):
            self.scope.__exit__(None, None, None)
            self.folder.cleanup()


IndexMachine.TestCase.settings = settings(max_examples=6, stateful_step_count=12, deadline=None)
TestIndexMachine = IndexMachine.TestCase
