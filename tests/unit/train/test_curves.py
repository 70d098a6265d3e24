"""Charts of a run's events; where it was resumed shows."""

import re
from pathlib import Path

import pytest

from scfae.store import FeatureStore
from scfae.train.curves import charts, training_sentence
from scfae.train.loop import train
from scfae.train.plots import Series, interval_scale, line_chart, number, ticks
from scfae.train.runs import RunFolder

from .small_runs import failing_at, make_config


def test_every_figure_of_an_epoch_has_a_chart(finished: RunFolder) -> None:
    found = charts(finished)
    assert [chart["keys"] for chart in found] == [
        ["train", "validation"],
        ["accuracy", "balanced accuracy", "macro F1"],
        ["task", "recon"],
        ["gradient"],
        ["learning rate"],
    ]
    assert all("<polyline" in chart["plot"] for chart in found)
    assert "best epoch" in training_sentence(finished, finished.state())
    assert "resumed" not in training_sentence(finished, finished.state())


def test_a_resume_is_marked_where_it_was(store: FeatureStore, tmp_path: Path) -> None:
    config = make_config(store.path, tmp_path / "run", checkpoint_every_steps=2)

    with pytest.raises(KeyboardInterrupt):
        train(config, progress=failing_at(7, KeyboardInterrupt()))
    run = train(config)
    assert all(chart["plot"].count("<title>resumed here</title>") == 1 for chart in charts(run))
    assert training_sentence(run, run.state()).endswith("; resumed once (dashed lines)")


def test_a_run_without_epochs_has_no_charts(store: FeatureStore, tmp_path: Path) -> None:
    def stop(done: int, total: int, text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(make_config(store.path, tmp_path / "run"), progress=stop)
    assert charts(RunFolder(tmp_path / "run")) == []


@pytest.mark.parametrize(
    "y",
    [
        [1.0],
        [2.0, 2.0, 2.0],
        [None, 1.0, float("nan"), 3.0],
        [1e-9, 1e9],
        [9.574335039668224e15],  # where 0.5 more is the same number
        [-3e20, -3e20],
        [1e16, 1e16 + 2],
        [1e300],
    ],
)
def test_odd_series_are_drawn_inside_the_chart(y: list[float | None]) -> None:
    drawn = line_chart([Series("a", range(len(y)), y)], "title", x_label="epoch")
    points = re.findall(r'points="([^"]*)"', drawn)
    for place in (pair for line in points for pair in line.split()):
        x, top = map(float, place.split(","))
        assert 46 <= x <= 350
        assert 10 <= top <= 180
    assert 'cx="nan' not in drawn
    assert ">epoch</text>" in drawn


def test_nothing_to_draw_is_said() -> None:
    assert "no points yet" in line_chart([Series("a", [], [])], "title", x_label="epoch")


def test_ticks_are_round_and_cover() -> None:
    assert ticks(0.0, 1.0, 4) == pytest.approx([0.0, 0.5, 1.0])
    assert ticks(1, 8, 5) == pytest.approx([0.0, 2.0, 4.0, 6.0, 8.0])
    assert ticks(3.0, 3.0, 4) == [3.0]
    values = (0, 0.25, 5e-4, 1.5e-4, 123456.0)
    assert [number(value) for value in values] == ["0", "0.25", "5e-4", "1.5e-4", "1.2e5"]


def test_the_scale_of_intervals_is_wide_unless_all_are_high() -> None:
    assert interval_scale([0.4, 0.9]) == (0.0, 1.0)
    assert interval_scale([0.93, None, 0.99]) == (0.9, 1.0)
    assert interval_scale([None]) == (0.0, 1.0)
    low, high = interval_scale([-0.12, 0.4, 1.31])
    assert low <= -0.12
    assert high >= 1.31
