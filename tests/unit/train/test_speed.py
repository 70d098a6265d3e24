"""The clock of an epoch tells waiting from working."""

import time
from collections.abc import Iterator

from scfae.train.speed import Speed


def slow(count: int, wait_s: float) -> Iterator[int]:
    for number in range(count):
        time.sleep(wait_s)
        yield number


def test_waiting_for_data_is_told_from_work() -> None:
    speed = Speed()
    seen = []
    for number in speed.timed(slow(3, 0.02)):
        seen.append(number)
        time.sleep(0.01)
    found = speed.take()
    assert seen == [0, 1, 2]
    assert found["steps"] == 3
    assert found["waiting_s"] >= 0.06
    assert found["seconds"] - found["waiting_s"] >= 0.03


def test_what_was_taken_is_not_told_again() -> None:
    speed = Speed()
    assert list(speed.timed([1, 2])) == [1, 2]
    assert speed.take()["steps"] == 2
    assert speed.take() == {"steps": 0, "seconds": 0.0, "waiting_s": 0.0}


def test_a_step_that_is_left_is_no_step() -> None:
    speed = Speed()
    steps = speed.timed([1, 2])
    assert next(iter(steps)) == 1
    del steps
    assert speed.take()["steps"] == 0
