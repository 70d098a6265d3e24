"""A column for reading: as its receipts say, or an error that names column, shard and file."""

import pickle
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from scfae.store import FeatureStore
from scfae.store.errors import CorruptShard, SchemaMismatch
from scfae.store.receipt import receipt_file, shard_file
from scfae.store.testing import make_store


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return make_store(tmp_path / "store", num_samples=20, shard_size=6, missing=0.4)


def test_rows_can_be_read_into_a_part_of_a_batch(store: FeatureStore) -> None:
    column = store.column("video")
    index = int(np.argmax(column.lengths))
    rows = column.rows(index)
    batch = np.full((2, len(rows) + 1, column.info.dim), -1, dtype=np.float32)
    column.read_rows(index, batch[1, : len(rows)])
    np.testing.assert_array_equal(batch[1, : len(rows)], rows)
    column.read_rows(index, batch[0, :1], first=len(rows) - 1)
    np.testing.assert_array_equal(batch[0, 0], rows[-1])
    assert (batch[0, 1:] == -1).all()
    for wrong, first in ((batch[0], 0), (batch[0, :1], len(rows)), (batch[0, :1, ::2], 0)):
        with pytest.raises(ValueError, match="rows"):
            column.read_rows(index, wrong, first=first)
    with pytest.raises(ValueError, match="float16"):
        column.read_rows(index, batch[0, :1].astype(np.float16))


def test_arrays_agree_with_receipts_and_rows(store: FeatureStore) -> None:
    column = store.column("video")
    receipts = [column.receipt(k) for k in range(column.num_shards)]
    assert column.num_shards == 4
    assert len(column) == 20
    assert column.is_complete
    assert column.missing_shards == []
    assert column.lengths.tolist() == [T for r in receipts if r for T in r.lengths]
    assert column.status.tolist() == [status for r in receipts if r for status in r.status]
    assert column.num_bytes == sum(p.stat().st_size for p in column.folder.glob("*.zip"))
    for i in range(20):
        assert column.rows(i).shape == (column.lengths[i], 12)
        assert column.times(i).shape == (column.lengths[i], 2)
        assert (i in column.reasons) == (column.status[i] != "ok") == (column.lengths[i] == 0)
    assert set(column.reasons.values()) == {"no video"}


def test_samples_beyond_the_last_are_refused(store: FeatureStore) -> None:
    for i in (-1, 20):
        with pytest.raises(IndexError, match=f"sample {i} of 20"):
            store.column("video").rows(i)


def test_what_is_not_extracted_is_missing_with_that_reason(store: FeatureStore) -> None:
    (store.path / "columns/video" / receipt_file(1)).unlink()
    column = store.column("video")
    assert column.missing_shards == [1]
    assert not column.is_complete
    assert column.status[6:12].tolist() == ["missing"] * 6
    assert [column.reasons[i] for i in range(6, 12)] == ["not extracted yet"] * 6
    with pytest.raises(SchemaMismatch, match="column 'video': shard 1 is not extracted yet"):
        column.rows(7)
    assert column.rows(0).shape == (column.lengths[0], 12)


def test_damage_is_named_when_it_is_read_and_other_shards_stay_readable(
    store: FeatureStore,
) -> None:
    path = store.path / "columns/video" / shard_file(2)
    path.write_bytes(path.read_bytes()[:-1])
    column = store.column("video")
    with pytest.raises(CorruptShard, match=f"column 'video', shard 2: {path}"):
        column.rows(13)
    assert column.rows(0).shape == (column.lengths[0], 12)


def test_a_receipt_of_other_samples_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    other = make_store(tmp_path / "other", num_samples=20, shard_size=6, missing=0.4, seed=1)
    for column in ("video", "audio"):
        shutil.rmtree(store.path / "columns" / column)
        shutil.copytree(other.path / "columns" / column, store.path / "columns" / column)
    with pytest.raises(CorruptShard, match=r"'video', shard 0: .* is the receipt of other samples"):
        _ = store.column("video").lengths


def test_content_digest_is_that_of_the_rows(store: FeatureStore, tmp_path: Path) -> None:
    same = make_store(tmp_path / "same", num_samples=20, shard_size=6, missing=0.4)
    other = make_store(tmp_path / "other", num_samples=20, shard_size=6, missing=0.3)
    digests = [one.column("video").content_sha256 for one in (store, same, other)]
    assert digests[0] == digests[1] != digests[2]


def test_threads_read_one_column_at_once(store: FeatureStore) -> None:
    wanted = [store.column("video").rows(i) for i in range(20)]
    column = FeatureStore.open(store.path).column("video")
    wrong: list[int] = []

    def read(start: int) -> None:
        for turn in range(80):
            i = (start * 7 + turn * 3) % 20
            if not np.array_equal(column.rows(i), wanted[i]):
                wrong.append(i)

    threads = [threading.Thread(target=read, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_view_travels_to_another_process(store: FeatureStore) -> None:
    view = store.view(video="video", audio="audio")
    wanted = view[3].features["video"]
    there = pickle.loads(pickle.dumps(view))
    assert np.array_equal(there[3].features["video"], wanted)
    assert there.fingerprint == view.fingerprint
