"""Means over samples, whatever the batches and wherever a checkpoint cuts."""

import pytest

from scfae.train.sums import Sums


def test_batches_count_by_their_samples() -> None:
    sums = Sums()
    sums.add({"loss": 1.0}, 3)
    sums.add({"loss": 5.0}, 1)
    assert sums.means() == {"loss": 2.0}


def test_a_checkpoint_goes_on_exactly() -> None:
    whole, first = Sums(), Sums()
    for step in range(5):
        whole.add({"loss": 0.1 * step, "task": 0.3}, step + 1)
    for step in range(3):
        first.add({"loss": 0.1 * step, "task": 0.3}, step + 1)
    second = Sums(first.state())
    for step in range(3, 5):
        second.add({"loss": 0.1 * step, "task": 0.3}, step + 1)
    assert second.means() == whole.means()
    assert first.means() != whole.means()  # the state is a copy


def test_a_figure_that_comes_later_still_divides_by_all() -> None:
    sums = Sums()
    sums.add({"a": 1.0}, 2)
    sums.add({"a": 1.0, "b": 4.0}, 2)
    assert sums.means() == pytest.approx({"a": 1.0, "b": 2.0})
