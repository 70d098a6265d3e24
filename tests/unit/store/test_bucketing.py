"""Batches of like lengths pad little in every modality, not only in their sum."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfae.store.bucketing import alike


def padding(sizes: np.ndarray, order: np.ndarray, leaf: int) -> float:
    """Return the share of zeros in padded batches of `leaf` units."""
    batches = [sizes[order[start : start + leaf]] for start in range(0, len(order), leaf)]
    padded = sum(int(batch.max(axis=0).sum()) * len(batch) for batch in batches)
    return 1 - int(sizes.sum()) / padded


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=60), st.integers(1, 20))
def test_every_unit_is_there_once(sizes: list[tuple[int, int]], leaf: int) -> None:
    order = alike(np.array(sizes, dtype=np.int64).reshape(-1, 2), leaf)
    assert sorted(order.tolist()) == list(range(len(sizes)))


def test_one_modality_is_sorted_and_equals_stay_in_their_order() -> None:
    sizes = np.array([3, 1, 2, 1, 3, 0, 2, 1])[:, None]
    assert alike(sizes, 2).tolist() == np.argsort(sizes[:, 0], kind="stable").tolist()
    assert alike(np.full((7, 2), 4), 2).tolist() == list(range(7))


def test_lengths_that_have_nothing_to_do_with_each_other_both_pad_little() -> None:
    sizes = np.random.default_rng(0).integers(1, 100, size=(2000, 2))
    by_sum = np.argsort(sizes.sum(axis=1), kind="stable")
    assert padding(sizes, by_sum, 64) > 0.25
    assert padding(sizes, alike(sizes, 64), 64) < 0.17


def test_lengths_that_go_together_pad_as_little_as_sorted_ones() -> None:
    lengths = np.random.default_rng(1).integers(1, 100, size=2000)
    sizes = np.stack([lengths, 5 * lengths], axis=1)
    by_sum = np.argsort(lengths, kind="stable")
    assert padding(sizes, alike(sizes, 64), 64) == pytest.approx(
        padding(sizes, by_sum, 64), abs=0.01
    )
