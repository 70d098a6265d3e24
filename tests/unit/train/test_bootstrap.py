import time
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from scfae.train.bootstrap import bootstrap_intervals, resampled_intervals, value_intervals
from scfae.train.metrics import (
    METRICS,
    REGRESSION_METRICS,
    SENTIMENT_METRICS,
    Floats,
    Metrics,
    classification_metrics,
    regression_figures,
    regression_metrics,
    sentiment_figures,
    sentiment_metrics,
)


def binary_case(seed: int, num: int, signal: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(2, size=num)
    score = 1 / (1 + np.exp(-generator.normal(signal * (2 * labels - 1), 1.0)))
    return labels, np.stack([1 - score, score], axis=1)


def test_agrees_with_resampling_one_by_one() -> None:
    labels, scores = binary_case(0, 150)
    generator = np.random.default_rng(1)
    guess = scores.argmax(axis=1)
    drawn: dict[str, list[float]] = {"balanced_accuracy": [], "macro_f1": [], "roc_auc": []}
    for _ in range(1000):
        pick = generator.integers(150, size=150)
        drawn["balanced_accuracy"].append(balanced_accuracy_score(labels[pick], guess[pick]))
        drawn["macro_f1"].append(f1_score(labels[pick], guess[pick], average="macro"))
        drawn["roc_auc"].append(roc_auc_score(labels[pick], scores[pick, 1]))
    intervals = bootstrap_intervals(labels, scores, resamples=4000)
    for name, values in drawn.items():
        expected = np.quantile(values, [0.025, 0.975])
        assert intervals[name] == pytest.approx(expected, abs=0.015), name


@pytest.mark.parametrize(
    ("figures", "metrics", "names"),
    [
        (regression_figures, regression_metrics, REGRESSION_METRICS),
        (sentiment_figures, sentiment_metrics, SENTIMENT_METRICS),
    ],
)
@pytest.mark.parametrize("num", [1, 2, 7, 151])
def test_values_are_resampled_as_one_by_one(
    figures: Callable[[Floats, Floats], dict[str, Floats]],
    metrics: Callable[[Floats, Floats], Metrics],
    names: tuple[str, ...],
    num: int,
) -> None:
    generator = np.random.default_rng(7)
    labels = generator.integers(-3, 4, size=num).astype(np.float64)
    guess = labels + generator.normal(size=num)
    one_by_one = resampled_intervals(
        lambda rows: metrics(labels[rows], guess[rows]), num, names, resamples=1000
    )
    assert value_intervals(figures, labels, guess[:, None], names) == one_by_one
    assert value_intervals(figures, labels, guess, names, resamples=0) == dict.fromkeys(names)


def test_covers_the_truth_about_as_often_as_it_says() -> None:
    true_accuracy = 0.8413  # of a unit-variance score at signal 1
    covered = 0
    for seed in range(200):
        interval = bootstrap_intervals(*binary_case(seed, 120), resamples=200)["accuracy"]
        assert interval is not None
        covered += interval[0] <= true_accuracy <= interval[1]
    # The percentile interval of 120 samples is a little too narrow; 0.95 +- 4 standard errors.
    assert 0.88 <= covered / 200 <= 1.0


@pytest.mark.parametrize("num_classes", [2, 10])
def test_contains_the_point_estimate(num_classes: int) -> None:
    generator = np.random.default_rng(2)
    labels = generator.integers(num_classes, size=300)
    scores = generator.random((300, num_classes)) + np.eye(num_classes)[labels] * 0.5
    scores /= scores.sum(axis=1, keepdims=True)
    values = classification_metrics(labels, scores)
    intervals = bootstrap_intervals(labels, scores)
    for name in METRICS:
        value, interval = values[name], intervals[name]
        assert value is not None
        assert interval is not None
        assert interval[0] < value < interval[1], name


def test_is_seeded() -> None:
    case = binary_case(3, 60)
    assert bootstrap_intervals(*case, seed=5) == bootstrap_intervals(*case, seed=5)
    assert bootstrap_intervals(*case, seed=5) != bootstrap_intervals(*case, seed=6)


def test_one_class_has_no_auc_and_no_warning() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    intervals = bootstrap_intervals([0, 0, 0], scores)
    assert intervals["roc_auc"] is None
    assert intervals["accuracy"] is not None


def test_a_rare_class_may_miss_from_resamples() -> None:
    scores = np.linspace(0.1, 0.9, 20)
    labels = [0] * 19 + [1]
    interval = bootstrap_intervals(labels, np.stack([1 - scores, scores], axis=1))["roc_auc"]
    assert interval == (1.0, 1.0)


def test_nothing_to_draw() -> None:
    assert bootstrap_intervals([], np.zeros((0, 2))) == dict.fromkeys(METRICS)
    assert bootstrap_intervals([0], np.ones((1, 2)), resamples=0) == dict.fromkeys(METRICS)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="resamples"):
        bootstrap_intervals([0], np.ones((1, 2)), resamples=-1)


def test_many_classes_stay_small_and_fast() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(200, size=1000)
    scores = np.eye(200)[generator.integers(200, size=1000)]
    started = time.process_time()
    intervals = bootstrap_intervals(labels, scores, resamples=50)
    assert time.process_time() - started < 20
    assert intervals["macro_f1"] is not None
