"""How long a run has still to go, and its line; smoothing and CSV of its curves."""

from typing import Any

import pytest

from scfae.service.pace import pace
from scfae.service.series import as_csv, curves, smoothed


def _epoch(number: int, time_s: float, accuracy: float) -> dict[str, Any]:
    return {
        "type": "epoch",
        "step": 10 * number,
        "epoch": number,
        "time": time_s,
        "val": {"loss": 1.0, "accuracy": accuracy},
        "speed": {"steps": 10, "seconds": 4.0, "waiting_s": 1.0},
    }


PROGRESS = {"total_steps": 50, "best": {"metric": "accuracy"}}
STARTED = {"type": "started", "step": 0, "epoch": 0, "time": 100.0}


def test_the_time_left_is_that_of_the_steps_left_at_the_mean_rate_of_this_attempt() -> None:
    events = [STARTED, _epoch(1, 110.0, 0.5), _epoch(2, 130.0, 0.6)]
    found = pace(events, PROGRESS, now_s=133.0)
    assert found.steps_per_s == pytest.approx(20 / 30)
    assert found.left_s == pytest.approx(30 * 1.5 - 3)
    assert found.least_s == pytest.approx(30 * 1.0 - 3)
    assert found.most_s == pytest.approx(30 * 2.0 - 3)
    assert found.spark == (0.5, 0.6)
    assert found.waiting == 0.25


def test_time_between_two_attempts_is_no_time_of_the_run() -> None:
    resumed = {"type": "resumed", "step": 10, "epoch": 1, "time": 9000.0}
    events = [STARTED, _epoch(1, 110.0, 0.5), resumed, _epoch(2, 9010.0, 0.6)]
    assert pace(events, PROGRESS, now_s=9010.0).left_s == pytest.approx(30.0)


def test_before_the_first_epoch_nothing_is_known() -> None:
    assert pace([STARTED], PROGRESS).left_s is None
    assert pace([], {}).spark == ()


def test_a_running_mean_is_not_pulled_towards_nought_and_keeps_gaps() -> None:
    assert smoothed([2.0, 2.0, None, 2.0], 0.9) == [
        pytest.approx(2.0),
        pytest.approx(2.0),
        None,
        pytest.approx(2.0),
    ]
    first, second = smoothed([1.0, 3.0], 0.5)
    assert first == 1.0
    assert second == pytest.approx((0.5 * 0.5 + 0.5 * 3.0) / 0.75)


def test_smoothing_sees_points_that_are_not_drawn() -> None:
    events = [_epoch(n, 100.0 + n, 1.0 if n == 50 else 0.0) for n in range(1, 101)]
    whole = curves(events, ["val.accuracy"], 1000, smoothing=0.9).curves["val.accuracy"]
    few = curves(events, ["val.accuracy"], 8, smoothing=0.9).curves["val.accuracy"]
    assert [whole.smooth[step // 10 - 1] for step in few.step] == list(few.smooth)


def test_a_table_has_a_line_for_each_epoch() -> None:
    events = [_epoch(1, 110.0, 0.5), _epoch(2, 130.0, 0.6)]
    first, *lines = as_csv(curves(events, ["val.accuracy"], 10)).splitlines()
    assert first == "step,epoch,time_s,val.accuracy"
    assert lines == ["10,1,110.0,0.5", "20,2,130.0,0.6"]
