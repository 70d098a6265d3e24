"""A reader sees each shard as it first saw it, or an error: while another process replaces them."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from scfae.store import Column, ColumnInfo, ColumnWriter, FeatureStore, SampleRow, ShardSample
from scfae.store.errors import CorruptShard, SchemaMismatch
from scfae.store.files import FilePool
from scfae.store.receipt import receipt_file

DIM = 8
LASTS_S = 1.5
AT_MOST_S = 60.0
WRITER = """
import sys
from itertools import count
from tests.unit.store.test_snapshot import commit, describe
from scfae.store import FeatureStore

store = FeatureStore.open(sys.argv[1])
for generation in count(1):
    weights = generation if sys.argv[2] == "replaced" else 0
    with store.add_column(describe(weights), replace=True) as writer:
        for shard in range(store.samples.num_shards):
            commit(writer, store, shard, generation)
"""


def describe(weights: int) -> ColumnInfo:
    return ColumnInfo.create("c", "video", encoder="constant", dim=DIM, weights=f"random:{weights}")


def commit(writer: ColumnWriter, store: FeatureStore, shard: int, generation: int) -> None:
    """Write rows and times that all are the generation; its length changes every third time."""
    T = 2 + generation // 3 % 2
    rows, times = np.full((T, DIM), generation), np.full((T, 2), generation)
    writer.commit(shard, [ShardSample(rows, times) for _ in store.samples.rows_of(shard)])


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    made = FeatureStore.create(
        tmp_path / "store", [SampleRow(f"s{i}") for i in range(8)], shard_size=2
    )
    with made.add_column(describe(0)) as writer:
        for shard in range(4):
            commit(writer, made, shard, 0)
    return made


def opened(store: FeatureStore) -> Column:
    """Return the column with a pool so small that every shard is opened again and again."""
    column = FeatureStore.open(store.path).column("c")
    return Column(column.folder, column.info, samples=store.samples, pool=FilePool(capacity=1))


@contextmanager
def writing(store: FeatureStore, how: str) -> Iterator[None]:
    command = [sys.executable, "-c", WRITER, str(store.path), how]
    with subprocess.Popen(command, cwd=Path(__file__).parents[3]) as process:
        try:
            before = (store.path / "columns/c" / receipt_file(3)).stat().st_mtime_ns
            deadline_s = time.monotonic() + 60
            while time.monotonic() < deadline_s:
                try:
                    if (store.path / "columns/c" / receipt_file(3)).stat().st_mtime_ns != before:
                        break
                except FileNotFoundError:
                    pass
                time.sleep(0.01)
            yield
            assert process.poll() is None
        finally:
            process.kill()


@pytest.mark.parametrize("how", ["rewritten", "replaced"])
def test_rows_never_mix_while_another_process_replaces_them(store: FeatureStore, how: str) -> None:
    random = np.random.default_rng(0)
    num_read = num_refused = 0
    with writing(store, how):
        begin_s = time.monotonic()
        # On a busy machine either may take long to happen once: the two processes take turns.
        while (lasted_s := time.monotonic() - begin_s) < LASTS_S or not (num_read and num_refused):
            assert lasted_s < AT_MOST_S, f"{num_read} samples read, {num_refused} refused"
            try:
                column = opened(store)
                lengths = column.lengths
                told: dict[int, float] = {}
                for index in random.integers(0, 8, size=24).tolist():
                    if index // 2 in column.missing_shards:
                        with pytest.raises((SchemaMismatch, CorruptShard)):
                            column.rows(index)
                        continue
                    rows, times = column.rows(index), column.times(index)
                    assert len(rows) == len(times) == lengths[index]
                    generation = told.setdefault(index // 2, float(rows[0, 0]))
                    assert (rows == generation).all()
                    assert (times == generation).all()
                    if how == "replaced":
                        assert column.info.weights == f"random:{generation:.0f}"
                    num_read += 1
            except CorruptShard as error:
                assert "column 'c', shard" in str(error)  # noqa: PT017
                num_refused += 1


def test_a_shard_of_the_same_size_that_took_its_place_is_refused(store: FeatureStore) -> None:
    column = opened(store)
    assert column.rows(0)[0, 0] == 0
    with store.add_column(describe(0)) as writer:
        commit(writer, store, 0, 1)
    assert column.rows(0)[0, 0] == 0, "the open file is the old one"
    column.rows(3)  # the pool has room for one
    replaced = "column 'c', shard 0: .* has been replaced since it was first looked at"
    with pytest.raises(CorruptShard, match=replaced):
        column.rows(0)
    assert opened(store).rows(0)[0, 0] == 1


def test_lengths_and_rows_are_of_one_moment(store: FeatureStore) -> None:
    column = opened(store)
    assert column.lengths.tolist() == [2] * 8
    with store.add_column(describe(0)) as writer:
        commit(writer, store, 1, 3)
    with pytest.raises(CorruptShard, match="replaced since it was first looked at"):
        column.rows(2)
    assert column.rows(0).shape == (2, DIM)


def test_a_shard_written_since_stays_unwritten_for_a_reader(store: FeatureStore) -> None:
    (store.path / "columns/c" / receipt_file(2)).unlink()
    column = opened(store)
    assert column.missing_shards == [2]
    with store.add_column(describe(0)) as writer:
        commit(writer, store, 2, 1)
    with pytest.raises(SchemaMismatch, match="shard 2 is not extracted yet"):
        column.rows(4)
    assert opened(store).rows(4)[0, 0] == 1
