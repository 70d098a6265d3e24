"""Batches of one shard: one fixed shape, composed by order alone, rows back to their samples."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from scfae.extract import Encoder, EncoderSpec, MediaKind, Recipe, Window, batching
from scfae.extract.batching import ShardBatcher
from scfae.extract.forward import Forward

R = 4  # rows of a window


class Counting(Encoder):
    """Rows that name their window and place, and a record of every batch."""

    def __init__(self) -> None:
        spec = EncoderSpec("counting", "audio", ("audio",), 2, None, {}, "none", "here")
        super().__init__(spec, nn.Identity(), torch.device("cpu"))
        self.batches: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(x.clone())
        assert torch.is_inference_mode_enabled()
        places = torch.arange(R).expand(len(x), R)
        return torch.stack([x[:, :1].expand(len(x), R), places], dim=2)

    def pool(self, tokens: Tensor) -> Tensor:
        return tokens.mean(dim=1)

    def encode(self, windows: Tensor) -> Tensor:
        return self.forward(windows)

    def recipe(self, kind: MediaKind) -> Recipe:
        raise NotImplementedError


def window(value: float, *, width: int = 3, rows: int = R, skip: int = 0) -> Window:
    times = np.arange(2 * rows, dtype=np.float64).reshape(rows, 2) + value
    return Window(np.full(width, value, dtype=np.float32), times, skip)


def batcher(encoder: Encoder, batch_size: int = 3) -> ShardBatcher:
    return ShardBatcher(Forward(encoder), batch_size=batch_size, threads=torch.get_num_threads())


def test_every_batch_has_the_same_shape_and_the_last_is_padded_with_zeros() -> None:
    encoder = Counting()
    shard = batcher(encoder)
    shard.add("a", [window(1), window(2)])
    shard.add("b", [window(3), window(4)])
    assert len(encoder.batches) == 1  # encoded as soon as it is full
    shard.finish()
    assert [batch.shape for batch in encoder.batches] == [(3, 3), (3, 3)]
    assert [batch[:, 0].tolist() for batch in encoder.batches] == [[1, 2, 3], [4, 0, 0]]
    shard.finish()
    assert len(encoder.batches) == 2


def test_windows_of_their_own_lengths_are_not_padded_with_others() -> None:
    encoder = Counting()
    encoder.pads_batches = False
    shard = batcher(encoder)
    shard.add("a", [window(1, width=5), window(2, width=4), window(3, width=4)])
    shard.finish()
    assert [batch[:, 0].tolist() for batch in encoder.batches] == [[1], [2, 3]]


def test_rows_and_times_go_back_to_their_samples() -> None:
    shard = batcher(Counting())
    shard.add("a", [window(1), window(2, rows=2, skip=1)])
    shard.add("b", [])
    shard.add("c", [window(3, rows=1, skip=3)])
    shard.finish()
    found = shard.rows("a")
    assert found is not None
    rows, times = found
    assert rows.tolist() == [[1, 0], [1, 1], [1, 2], [1, 3], [2, 1], [2, 2]]
    assert rows.dtype == np.float32
    assert times.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [2, 3], [4, 5]]
    assert shard.rows("a") is None  # forgotten
    assert shard.rows("b") is None
    last = shard.rows("c")
    assert last is not None
    assert last[0].tolist() == [[3, 3]]


@given(
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    batch_size=st.integers(1, 5),
    data=st.data(),
)
def test_how_windows_arrive_does_not_matter(
    counts: list[int], batch_size: int, data: st.DataObject
) -> None:
    def run(is_split: bool) -> tuple[list[Any], list[Any]]:
        encoder = Counting()
        shard = batcher(encoder, batch_size)
        for name, count in enumerate(counts):
            windows = [window(10 * name + i) for i in range(count)]
            cut = data.draw(st.integers(0, count)) if is_split else count
            shard.add(str(name), windows[:cut])
            shard.add(str(name), windows[cut:])
        shard.finish()
        rows = [shard.rows(str(name)) for name in range(len(counts))]
        return [None if r is None else (r[0].tolist(), r[1].tolist()) for r in rows], [
            batch.tolist() for batch in encoder.batches
        ]

    whole, split = run(False), run(True)
    assert whole == split
    assert [0 if r is None else len(r[0]) // R for r in whole[0]] == counts


def test_another_shape_begins_another_batch() -> None:
    encoder = Counting()
    shard = batcher(encoder)
    shard.add("a", [window(1), window(2, width=5), window(3, width=5)])
    shard.finish()
    assert [batch.shape for batch in encoder.batches] == [(3, 3), (3, 5)]
    found = shard.rows("a")
    assert found is not None
    assert found[0][:, 0].tolist() == [1] * R + [2] * R + [3] * R


def test_windows_of_mixed_shapes_wait_for_their_like_across_samples() -> None:
    encoder = Counting()
    shard = batcher(encoder)
    for name in range(6):
        shard.add(str(name), [window(10 * name, width=3 + name % 2), window(10 * name + 1)])
    shard.finish()
    assert [batch.shape for batch in encoder.batches] == [(3, 3), (3, 3), (3, 4), (3, 3)]
    for name in range(6):
        found = shard.rows(str(name))
        assert found is not None
        assert found[0][:, 0].tolist() == [10 * name] * R + [10 * name + 1] * R
        assert found[1][::R, 0].tolist() == [10 * name, 10 * name + 1]


def test_no_more_waits_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_MOST_WAITING_BYTES", 60)
    encoder = Counting()
    encoder.pads_batches = False
    shard = batcher(encoder)
    shard.add("a", [window(value, width=value) for value in (3, 4, 5, 4, 6)])
    assert [batch[:, 0].tolist() for batch in encoder.batches] == [[3], [4, 4]]
    shard.finish()
    assert [batch[:, 0].tolist() for batch in encoder.batches] == [[3], [4, 4], [5], [6]]


def test_an_encoder_that_gives_too_few_rows_is_named() -> None:
    shard = batcher(Counting())
    shard.add("a", [window(1, rows=3, skip=2)])
    with pytest.raises(ValueError, match="counting: a window of 3 rows after 2 gave 4"):
        shard.finish()


def test_the_number_of_threads_is_the_columns() -> None:
    before = torch.get_num_threads()
    try:
        shard = ShardBatcher(Forward(Counting()), batch_size=1, threads=before + 1)
        shard.add("a", [window(1)])
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
