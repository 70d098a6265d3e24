"""Small shards in memory give the rows that reading each sample gives, or step aside."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfae.store.small_shards import SmallShards
from scfae.store.testing import make_store

SHARDS, ROWS, DIM = 40, 6, 2


class Source:
    """Shards whose rows tell where they come from, and how often each was read."""

    def __init__(self) -> None:
        self.num_loads = 0

    def __call__(self, shard: int, out: npt.NDArray[np.float32]) -> None:
        self.num_loads += 1
        out[:] = value(np.full(ROWS, shard), np.arange(ROWS))


def value(shard: npt.NDArray[np.int64], row: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    return np.repeat((shard * 100 + row)[:, None], DIM, axis=1).astype(np.float32)


def make() -> SmallShards:
    return SmallShards(SHARDS, ROWS, dim=DIM, dtype=np.dtype(np.float32))


def take(
    small: SmallShards, source: Source, samples: list[tuple[int, int, int]]
) -> npt.NDArray[np.float32] | None:
    shards, rows, counts = (np.array(part, dtype=np.int64) for part in zip(*samples, strict=True))
    out = np.full((int(counts.sum()), DIM), -1, dtype=np.float32)
    at = np.cumsum(counts) - counts
    done = small.take(shards, source, rows_at=rows, counts=counts, out=out, at=at)
    if done:
        return out
    assert (out == -1).all()
    return None


samples_of_a_batch = st.lists(
    st.tuples(st.integers(0, SHARDS - 1), st.integers(0, ROWS - 1)).flatmap(
        lambda one: st.tuples(st.just(one[0]), st.just(one[1]), st.integers(1, ROWS - one[1]))
    ),
    min_size=1,
    max_size=30,
)


@given(batches=st.lists(samples_of_a_batch, min_size=1, max_size=12))
def test_rows_are_those_of_their_shards_whatever_made_room(
    batches: list[list[tuple[int, int, int]]],
) -> None:
    small, source = make(), Source()
    for samples in batches:
        found = take(small, source, samples)
        if found is not None:
            expected = [
                value(np.full(count, shard), row + np.arange(count))
                for shard, row, count in samples
            ]
            np.testing.assert_array_equal(found, np.concatenate(expected))


def test_a_shard_is_read_once_while_its_window_lasts() -> None:
    small, source = make(), Source()
    for row in range(ROWS):
        assert take(small, source, [(shard, row, 1) for shard in range(16)]) is not None
    assert source.num_loads == 16


def test_going_to_and_fro_between_too_many_shards_steps_aside() -> None:
    small, source = make(), Source()
    outcomes = [take(small, source, [(i % SHARDS, 0, 1)]) is not None for i in range(200)]
    assert outcomes[0]
    assert not outcomes[-1]
    assert source.num_loads < 100


def test_a_batch_of_more_shards_than_fit_steps_aside() -> None:
    assert take(make(), Source(), [(shard, 0, 1) for shard in range(SHARDS)]) is None


def test_a_load_that_fails_leaves_nothing_half_read() -> None:
    small, source = make(), Source()

    def fail(shard: int, out: npt.NDArray[np.float32]) -> None:
        out[:] = 7
        raise OSError("gone")

    one = np.array([3])
    out = np.zeros((1, DIM), np.float32)
    with pytest.raises(OSError, match="gone"):
        small.take(one, fail, rows_at=one * 0, counts=one // 3, out=out, at=one * 0)
    found = take(small, source, [(3, 1, 1)])
    assert found is not None
    assert found.tolist() == [[301.0] * DIM]


def test_a_column_reads_small_shards_whole_and_others_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path / "store", num_samples=20, shard_size=7, dims={"video": 3})
    column = store.column("video")
    loads: list[int] = []
    real = column._load

    def load(shard: int, out: npt.NDArray[np.float32]) -> None:
        loads.append(shard)
        real(shard, out)

    monkeypatch.setattr(column, "_load", load)
    counts = column.lengths
    at = np.cumsum(counts) - counts
    out = np.zeros((int(counts.sum()), 3), np.float32)
    column.read_batch(np.arange(20), out, at=at, counts=counts)
    assert loads == [0, 1, 2]
    monkeypatch.setattr("scfae.store.reader.MAX_SHARD_BYTES", 10)
    again = np.zeros_like(out)
    store.column("video").read_batch(np.arange(20), again, at=at, counts=counts)
    np.testing.assert_array_equal(out, again)
