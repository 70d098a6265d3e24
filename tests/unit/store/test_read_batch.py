"""Many samples at once: the same rows as one by one, in the place that was asked for."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfae.store import Column, ColumnInfo, FeatureStore, SampleRow, ShardSample
from scfae.store.errors import CorruptShard, SchemaMismatch
from scfae.store.receipt import shard_file
from scfae.store.testing import make_store

GUARD = -1.0


@pytest.fixture(scope="module", params=["small shards in memory", "sample by sample"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FeatureStore]:
    folder = tmp_path_factory.mktemp("batches")
    made = make_store(folder / "store", num_samples=30, shard_size=7, missing=0.3, max_rows=6)
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "sample by sample":
            patch.setattr("scfae.store.reader.MAX_SHARD_BYTES", 0)
        yield made


@given(data=st.data(), is_packed=st.booleans())
def test_a_batch_holds_the_rows_of_its_samples_and_nothing_else_is_written(
    store: FeatureStore, data: st.DataObject, is_packed: bool
) -> None:
    column = store.column("video")
    indices = np.array(data.draw(st.lists(st.integers(0, 29), max_size=12)), dtype=np.int64)
    lengths = column.lengths[indices]
    first = np.array([data.draw(st.integers(0, int(n))) for n in lengths], dtype=np.int64)
    counts = np.array(
        [data.draw(st.integers(0, int(n - f))) for n, f in zip(lengths, first, strict=True)],
        dtype=np.int64,
    )
    width = int(counts.max(initial=0)) + 1
    at = np.cumsum(counts) - counts if is_packed else np.arange(len(indices)) * width
    out = np.full((len(indices) * width, column.info.dim), GUARD, dtype=np.float32)
    expected = out.copy()
    for k, index in enumerate(indices.tolist()):
        rows = column.rows(index)[first[k] : first[k] + counts[k]]
        expected[at[k] : at[k] + counts[k]] = rows
    column.read_batch(indices, out, at=at, counts=counts, first=first)
    np.testing.assert_array_equal(out, expected)


def test_more_samples_than_one_call_takes_are_read(tmp_path: Path) -> None:
    store = FeatureStore.create(
        tmp_path / "store", [SampleRow(f"{i:05d}") for i in range(2100)], shard_size=2100
    )
    info = ColumnInfo.create("c", "c", encoder="n", dim=1)
    values = np.arange(2100, dtype=np.float32)[:, None, None]
    with store.add_column(info) as writer:
        writer.commit(0, [ShardSample(one) for one in values])
    out = np.zeros((4200, 1), np.float32)
    everyone = np.arange(2100)
    store.column("c").read_batch(everyone, out, at=everyone * 2, counts=np.ones(2100, np.int64))
    np.testing.assert_array_equal(out[::2, 0], np.arange(2100))
    assert (out[1::2] == 0).all()


def test_a_read_that_is_cut_short_goes_on(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    column = store.column("video")
    everyone = np.arange(30)
    counts = column.lengths
    whole = np.zeros((int(counts.sum()), column.info.dim), np.float32)
    at = np.cumsum(counts) - counts
    column.read_batch(everyone, whole, at=at, counts=counts)
    real = os.preadv

    def short(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        return real(descriptor, [buffers[0][: max(1, len(buffers[0]) // 3)]], offset)

    monkeypatch.setattr(os, "preadv", short)
    spread, width = np.zeros((30 * 7, column.info.dim), np.float32), 7
    column.read_batch(everyone, spread, at=everyone * width, counts=counts)
    kept = np.concatenate([spread[i * width : i * width + n] for i, n in enumerate(counts)])
    np.testing.assert_array_equal(kept, whole)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"counts": [99]}, ValueError, "more rows|rows from"),
        ({"counts": [-1]}, ValueError, "less than none"),
        ({"at": [-1]}, ValueError, "rows from -1"),
        ({"at": [9]}, ValueError, "rows from 9 to 10 of 9"),
        ({"first": [-1]}, ValueError, "more rows"),
        ({"first": [99]}, ValueError, "more rows"),
        ({"indices": [-1]}, IndexError, "of 30"),
        ({"indices": [30]}, IndexError, "of 30"),
        ({"out": np.zeros((9, 3), np.float32)}, ValueError, r"rows are float32 \[R, 12\]"),
        ({"out": np.zeros((9, 12), np.float16)}, ValueError, "out is float16"),
        ({"out": np.zeros((9, 24), np.float32)[:, ::2]}, ValueError, "contiguous"),
    ],
)
def test_what_does_not_fit_is_refused(
    store: FeatureStore,
    changes: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    column = store.column("video")
    index = int(np.flatnonzero(column.lengths)[0])
    given_: dict[str, object] = {
        "indices": [index],
        "out": np.zeros((9, 12), np.float32),
        "at": [0],
        "counts": [1],
        "first": [0],
    } | changes
    out = given_.pop("out")
    arrays = {key: np.array(value, dtype=np.int64) for key, value in given_.items()}
    assert isinstance(out, np.ndarray)
    with pytest.raises(error, match=message):
        column.read_batch(
            arrays["indices"], out, at=arrays["at"], counts=arrays["counts"], first=arrays["first"]
        )


def everything(column: Column) -> None:
    counts = column.lengths
    out = np.zeros((int(counts.sum()), column.info.dim), np.float32)
    at = np.cumsum(counts) - counts
    column.read_batch(np.arange(len(counts)), out, at=at, counts=counts)


@pytest.mark.parametrize("num_bytes", [0, 1 << 16])
def test_a_file_cut_off_under_the_reader_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_bytes: int
) -> None:
    monkeypatch.setattr("scfae.store.reader.MAX_SHARD_BYTES", num_bytes)
    store = make_store(tmp_path / "store", num_samples=20, shard_size=7)
    column = store.column("video")
    for index in range(20):
        column.rows(index)  # every file is open
    path = column.folder / shard_file(1)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(CorruptShard, match=r"shard 1: .* ends inside data"):
        everything(column)
    with pytest.raises(CorruptShard, match=r"shard 1: .* bytes where its receipt says"):
        everything(FeatureStore.open(store.path).column("video"))


def test_a_shard_that_is_not_extracted_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", num_samples=20, shard_size=7)
    column = store.column("video")
    lengths = column.lengths.copy()
    (column.folder / "shard-00002.json").unlink()
    late = store.column("video")
    out = np.zeros((9, 12), np.float32)
    counts = np.minimum(lengths[[19]], 1)
    with pytest.raises(ValueError, match="more rows"):
        late.read_batch(np.array([19]), out, at=np.array([0]), counts=counts)
    with pytest.raises(SchemaMismatch, match="not extracted"):
        late.rows(19)


def test_reading_ahead_changes_nothing(store: FeatureStore) -> None:
    view = store.view(video="video", audio="audio")
    view.will_need(np.arange(len(view)))
    assert view.ids_at(np.array([3, 0])) == [str(view.ids[3]), str(view.ids[0])]
