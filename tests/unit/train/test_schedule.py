"""The learning rate of each step, against values computed by hand."""

import math

import pytest

from scfae.train.schedule import Schedule


def test_values_of_the_papers_schedule() -> None:
    schedule = Schedule(lr=5e-4, lr_start=2.5e-5, lr_end=0.0, warmup=0.2, total_steps=100)
    assert schedule(0) == 2.5e-5
    assert schedule(10) == pytest.approx((2.5e-5 + 5e-4) / 2)
    assert schedule(20) == 5e-4
    assert schedule(60) == pytest.approx(2.5e-4)
    assert schedule(40) == pytest.approx(5e-4 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert 0 < schedule(99) < 5e-7
    assert schedule(100) == 0.0


def test_rises_then_falls() -> None:
    schedule = Schedule(lr=1.0, lr_start=0.1, lr_end=0.05, warmup=0.3, total_steps=50)
    rates = [schedule(step) for step in range(50)]
    assert rates[:16] == sorted(rates[:16])
    assert rates[15:] == sorted(rates[15:], reverse=True)
    assert min(rates[15:]) >= 0.05


@pytest.mark.parametrize("total_steps", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0.0, 0.2, 1.0])
def test_short_runs_have_rates(warmup: float, total_steps: int) -> None:
    schedule = Schedule(lr=1.0, lr_start=0.1, lr_end=0.0, warmup=warmup, total_steps=total_steps)
    assert all(0.1 <= schedule(step) <= 1.0 for step in range(total_steps))
