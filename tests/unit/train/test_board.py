"""TensorBoard reads the same figures that the event log holds."""

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import pytest

from scfae.store import FeatureStore
from scfae.train.board import Board
from scfae.train.loop import train
from scfae.train.runs import RunFolder

from .small_runs import epochs, failing_at, make_config


def scalars(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        found = EventAccumulator(str(folder))
        found.Reload()
    return found


def test_a_run_is_on_the_board(finished: RunFolder) -> None:
    found = scalars(finished.path / "tensorboard")
    assert {"train/loss", "train/recon", "val/accuracy", "lr", "grad_norm"} <= set(
        found.Tags()["scalars"]
    )
    points = {point.step: point.value for point in found.Scalars("val/accuracy")}
    assert points == {
        event["step"]: pytest.approx(event["val"]["accuracy"]) for event in epochs(finished)
    }


def test_a_resumed_run_has_each_step_once(store: FeatureStore, tmp_path: Path) -> None:
    config = make_config(store.path, tmp_path / "run", checkpoint_every_steps=3)

    with pytest.raises(KeyboardInterrupt):
        train(config, progress=failing_at(7, KeyboardInterrupt()))
    run = train(config)
    points = scalars(run.path / "tensorboard").Scalars("train/loss")
    assert [point.step for point in points] == [4, 8, 12]


def test_without_tensorboard_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    board = Board(tmp_path / "board", purge_step=1)
    board.write(1, {"loss": 1.0})
    board.close()
    assert not (tmp_path / "board").exists()
