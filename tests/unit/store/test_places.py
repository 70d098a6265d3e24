"""Positions of rows in files: from lengths where samples follow each other, else as they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfae.store.places import Places
from scfae.store.receipt import Receipt

ROW_BYTES = 8


@given(
    shards=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), min_size=1, max_size=5),
    data=st.data(),
)
def test_positions_are_those_that_were_learnt(shards: list[list[int]], data: st.DataObject) -> None:
    lengths = np.array([n for shard in shards for n in shard], dtype=np.int32)
    bounds = np.cumsum([0, *map(len, shards)])
    places = Places(lengths, bounds, row_bytes=ROW_BYTES)
    assert places.rows_of_longest == max(map(sum, shards))
    expected = np.zeros(len(lengths), dtype=np.int64)
    gaps = []
    for k, shard in enumerate(shards):
        gap = data.draw(st.integers(0, 2)) * 512  # what a tar has between samples
        begin = data.draw(st.integers(0, 1 << 40))
        follows = np.cumsum(np.array(shard, dtype=np.int64)) - np.array(shard, dtype=np.int64)
        rows_at = begin + follows * ROW_BYTES + np.arange(len(shard)) * gap
        expected[bounds[k] : bounds[k + 1]] = rows_at
        gaps.append(gap if len(shard) > 1 else 0)
        assert not places.is_known[k]
        places.learn(k, rows_at)
        assert places.begin(k) == begin
    assert places.is_known.all()
    assert places.is_dense.tolist() == [gap == 0 for gap in gaps]
    shard_of = np.repeat(np.arange(len(shards)), list(map(len, shards)))
    some = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1))), dtype=np.int64)
    np.testing.assert_array_equal(places.starts(some, shard_of[some]), expected[some])


def test_no_position_a_sample_is_kept_of_shards_without_gaps() -> None:
    places = Places(np.ones(1000, np.int32), np.array([0, 400, 1000]), row_bytes=ROW_BYTES)
    places.learn(0, 64 + np.arange(400) * ROW_BYTES)
    assert places._spread is None
    places.learn(1, 64 + np.arange(600) * (ROW_BYTES + 512))
    assert places._spread is not None


@pytest.mark.parametrize("length", [-1, 1 << 31])
def test_a_receipt_with_a_length_that_no_index_holds_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="more rows than 32 bits count, or less than none"):
        Receipt(
            column="c",
            shard=0,
            fingerprint="f",
            file="shard-00000.zarr.zip",
            bytes=1,
            sha256="s",
            rows=length + 4,
            lengths=[length, 4],
            status=["ok", "ok"],
            reasons={},
            media=[None, None],
            ids_sha256="i",
        )
