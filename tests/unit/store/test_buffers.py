"""A buffer is used again when the last view of its tensor is gone, and not before."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scfae.store.buffers import BufferRing

FLOAT = np.dtype(np.float32)


def take(ring: BufferRing, rows: int = 4, dtype: Any = FLOAT) -> torch.Tensor:
    return ring.take((rows, 3), np.dtype(dtype))[0]


def test_the_array_and_the_tensor_are_the_same_memory() -> None:
    tensor, array = BufferRing(1).take((2, 3), np.dtype(np.float16))
    array[:] = 7
    assert tensor.dtype == torch.float16
    assert tensor.shape == (2, 3)
    assert (tensor == 7).all()


def test_a_buffer_that_nobody_holds_is_used_again() -> None:
    ring = BufferRing(2)
    first = take(ring)
    address = first.data_ptr()
    del first
    assert take(ring).data_ptr() == address


@pytest.mark.parametrize(
    "part",
    [
        lambda tensor: tensor[1],
        lambda tensor: tensor[:0],
        lambda tensor: tensor.view(-1)[2:],
        lambda tensor: tensor.numpy(),
        lambda tensor: {"kept": [tensor.t()]},
        lambda tensor: tensor.detach().requires_grad_(),
        lambda tensor: torch.from_numpy(tensor.numpy()[1:]),
    ],
)
def test_any_part_of_a_batch_keeps_its_buffer(part: Any) -> None:
    ring = BufferRing(3)
    tensor = take(ring)
    address = tensor.data_ptr()
    kept = part(tensor)
    del tensor
    others = [take(ring) for _ in range(5)]
    assert address not in [other.data_ptr() for other in others]
    del kept


def test_more_batches_than_buffers_may_be_held() -> None:
    ring = BufferRing(2)
    held = [take(ring).fill_(i) for i in range(6)]
    assert [int(tensor[0, 0]) for tensor in held] == list(range(6))


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.sampled_from("ef")), max_size=30))
def test_what_is_held_never_changes(steps: list[tuple[int, bool, str]]) -> None:
    ring = BufferRing(3)
    held: list[tuple[int, torch.Tensor]] = []
    for number, (rows, drops, dtype) in enumerate(steps):
        held.append((number, take(ring, rows, dtype).fill_(number)))
        if drops:
            held.pop(number * 7 % len(held))
        assert all((tensor == value).all() for value, tensor in held)
