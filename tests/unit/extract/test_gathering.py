"""Rows of a shard in one array: copied in, and back to their samples in order."""

import numpy as np

from scfae.extract.gathering import GatheredRows


def test_rows_come_back_in_the_order_of_their_windows() -> None:
    gathered = GatheredRows()
    rows = np.arange(600, dtype=np.float32).reshape(200, 3)
    times = np.arange(400, dtype=np.float64).reshape(200, 2)
    gathered.add("a", 1, rows[100:], times[100:])
    gathered.add("b", 0, rows[:1], times[:1])
    gathered.add("a", 0, rows[:100], times[:100])
    found = gathered.take("a")
    assert found is not None
    np.testing.assert_array_equal(found[0], rows)
    np.testing.assert_array_equal(found[1], times)
    assert gathered.take("a") is None
    last = gathered.take("b")
    assert last is not None
    assert last[0].tolist() == [[0, 1, 2]]


def test_rows_that_lie_in_order_are_not_copied_and_hold_nothing_of_their_windows() -> None:
    gathered = GatheredRows()
    window = np.ones((2, 3), dtype=np.float32)
    for number in range(100):
        gathered.add("a", number, window, np.zeros((2, 2)))
    window[:] = 7
    found = gathered.take("a")
    assert found is not None
    assert found[0].shape == (200, 3)
    assert found[0].base is not None
    assert (found[0] == 1).all()
