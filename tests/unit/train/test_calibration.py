"""Calibration against torchmetrics, and a temperature that validation gives and test does not."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from scfae.train.calibrated import run_temperature
from scfae.train.calibration import (
    calibration,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    tempered,
)
from scfae.train.runs import RunFolder
from scfae.train.tasks import Scored


def case(sharpness: float, num: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Return labels drawn from probabilities, and those probabilities made sharper."""
    random = np.random.default_rng(0)
    honest = random.dirichlet(np.ones(3), size=num)
    labels = (honest.cumsum(axis=1) < random.uniform(size=num)[:, None]).sum(axis=1)
    return labels, tempered(honest, 1 / sharpness)


def test_the_error_is_torchmetrics() -> None:
    labels, scores = case(2.0)
    expected = multiclass_calibration_error(
        torch.tensor(scores), torch.tensor(labels), num_classes=3, n_bins=15, norm="l1"
    )
    assert expected_calibration_error(labels, scores) == pytest.approx(expected.item(), abs=1e-6)


def test_the_error_by_hand() -> None:
    # Said 0.8 and right in one of two; said 0.6 and right.
    scores = np.array([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6]])
    assert expected_calibration_error([0, 1, 1], scores) == pytest.approx((2 * 0.3 + 0.4) / 3)
    assert np.isnan(expected_calibration_error([], np.zeros((0, 2))))


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_made_probabilities_sharper(sharpness: float) -> None:
    labels, scores = case(sharpness)
    found = fit_temperature(labels, scores)
    assert found == pytest.approx(sharpness, rel=0.1)
    assert expected_calibration_error(labels, tempered(scores, found)) < 0.03
    best = negative_log_likelihood(labels, tempered(scores, found))
    for other in (found * 0.9, found * 1.1):
        assert negative_log_likelihood(labels, tempered(scores, other)) > best


def test_a_temperature_changes_no_answer() -> None:
    _, scores = case(1.0)
    for temperature in (0.2, 5.0):
        scaled = tempered(scores, temperature)
        assert (scaled.argmax(axis=1) == scores.argmax(axis=1)).all()
        np.testing.assert_allclose(scaled.sum(axis=1), 1.0)
    np.testing.assert_allclose(tempered(scores, 1.0), scores, atol=1e-9)


def test_the_evaluated_split_does_not_move_the_temperature() -> None:
    labels, scores = case(3.0)
    seen = np.ones(len(labels), dtype=bool)
    validation = Scored(labels, scores, seen)
    turned = Scored((labels + 1) % 3, scores, seen)
    mine = calibration(validation, {"a": validation})
    other = calibration(validation, {"a": turned})
    assert mine is not None
    assert other is not None
    assert mine["temperature"] == other["temperature"]
    assert mine["conditions"]["a"]["ece_scaled"] < mine["conditions"]["a"]["ece"]
    assert calibration(Scored(labels, scores, ~seen), {}) is None


def test_an_evaluation_keeps_it_and_predictions_use_it(finished: RunFolder) -> None:
    document = finished.read("evaluation.json")
    kept = document["calibration"]
    assert list(kept["conditions"]) == ["video", "audio", "video+audio"]
    assert sum(row["n"] for row in kept["reliability"]) == document["n"]
    assert run_temperature(finished) == kept["temperature"]
