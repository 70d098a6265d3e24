"""Stages share a run's epochs in the recipe's proportion, each with a schedule of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfae.store.errors import ConfigError
from scfae.train.stages import Stages


@given(st.lists(st.integers(1, 90), min_size=1, max_size=4), st.integers(0, 60), st.integers(1, 9))
def test_every_stage_has_whole_epochs_and_the_last_ends_with_the_run(
    stage_epochs: list[int], more: int, steps_per_epoch: int
) -> None:
    epochs = len(stage_epochs) + more
    stages = Stages.plan(
        stage_epochs, epochs=epochs, steps_per_epoch=steps_per_epoch, fusion="some"
    )
    lengths = [stages.steps(stage) for stage in range(len(stage_epochs))]
    assert min(lengths) >= steps_per_epoch
    assert all(length % steps_per_epoch == 0 for length in lengths)
    assert sum(lengths) == stages.ends[-1] == epochs * steps_per_epoch
    at = [stages.at(step) for step in range(stages.ends[-1] + 1)]
    assert at[:-1] == [stage for stage, length in enumerate(lengths) for _ in range(length)]
    assert at[-1] == len(lengths) - 1


def test_epochs_are_dealt_in_proportion() -> None:
    assert Stages.plan((20, 80), epochs=10, steps_per_epoch=3, fusion="mmin").ends == (6, 30)


def test_fewer_epochs_than_stages_are_refused() -> None:
    with pytest.raises(ConfigError, match="epochs = 1: mmin trains in 2 stages, so at least 2"):
        Stages.plan((20, 80), epochs=1, steps_per_epoch=3, fusion="mmin")
