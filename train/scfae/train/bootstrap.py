"""95 % intervals by the percentile bootstrap over samples, vectorised and seeded.

Metrics of counts need no resampled samples: drawing N samples with replacement is drawing the
occupied cells of the confusion matrix from a multinomial. The AUC draws a count a sample and
reads the ranks with those weights. Both give what resampling one by one gives (Efron and
Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3), hundreds of times faster.

Samples are drawn one by one: where samples come in groups (several clips of one speaker) the
intervals are too narrow.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .metrics import (
    METRICS,
    Floats,
    Integers,
    Metrics,
    check_inputs,
    checked_values,
    count_metrics,
    weighted_roc_auc,
)

Interval = tuple[float, float]

CHUNK = 2**21  # weights in memory at once: 16 MiB, so that the cache still helps
VALUES_CHUNK = 2**16  # labels in memory at once: 512 KiB, of which there are several copies


def bootstrap_intervals(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval | None]:
    """Return the interval of every metric of `classification_metrics`.

    Args:
        labels: Integers `[N]`.
        probabilities: `[N, C]`.
        resamples: Draws; 0 gives None for every metric.
        seed: Of the draws. The order of the samples matters only to the AUC.
        level: Of confidence.

    Returns:
        (low, high) by metric; None where the metric is undefined. A resample in which a metric is
        undefined (the AUC, when it misses a class) is left out for that metric.

    Raises:
        ValueError: If inputs do not agree, or `resamples` or `level` is out of range.
    """
    truth, scores = check_inputs(labels, probabilities)
    if resamples < 0 or not 0.0 < level < 1.0:
        raise ValueError(f"need resamples >= 0 and 0 < level < 1, got {resamples} and {level}")
    if resamples == 0 or len(truth) == 0:
        return dict.fromkeys(METRICS)
    counts_seed, ranks_seed = np.random.SeedSequence(seed).spawn(2)
    draws = _resample_counts(truth, scores, resamples, np.random.default_rng(counts_seed))
    draws["roc_auc"] = _resample_ranks(truth, scores, resamples, np.random.default_rng(ranks_seed))
    return {name: _percentiles(draws[name], level) for name in METRICS}


def resampled_intervals(
    measure: Callable[[Integers], Metrics],
    num_samples: int,
    names: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval | None]:
    """Return the interval of any metrics, by measuring every resample.

    Args:
        measure: Metrics of the samples at some places, which may repeat.
        num_samples: N.
        names: The metrics wanted.
        resamples: Draws; 0 gives None for every metric.
        seed: Of the draws.
        level: Of confidence.
    """
    if resamples == 0 or num_samples == 0 or not names:
        return dict.fromkeys(names)
    generator = np.random.default_rng(seed)
    draws = np.full((resamples, len(names)), np.nan)
    for row in draws:
        found = measure(generator.integers(num_samples, size=num_samples))
        row[:] = [np.nan if found[name] is None else found[name] for name in names]
    return {name: _percentiles(draws[:, i], level) for i, name in enumerate(names)}


def value_intervals(
    figures: Callable[[Floats, Floats], Mapping[str, Floats]],
    labels: npt.ArrayLike,
    values: npt.ArrayLike,
    names: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval | None]:
    """Return the interval of metrics of continuous values, many resamples at once.

    The draws are those of `resampled_intervals`, to the last bit.

    Args:
        figures: Metrics `[R]` of labels and predictions `[R, N]`; NaN where undefined.
        labels: Float `[N]`.
        values: Float `[N]` or `[N, 1]`, the predictions.
        names: The metrics wanted.
        resamples: Draws; 0 gives None for every metric.
        seed: Of the draws.
        level: Of confidence.

    Raises:
        ValueError: If shapes do not agree or a value is not finite.
    """
    truth, guess = checked_values(labels, values)
    if resamples == 0 or len(truth) == 0:
        return dict.fromkeys(names)
    generator = np.random.default_rng(seed)
    rows = max(1, VALUES_CHUNK // len(truth))
    parts = []
    for start in range(0, resamples, rows):
        picked = generator.integers(len(truth), size=(min(rows, resamples - start), len(truth)))
        parts.append(figures(truth[picked], guess[picked]))
    return {
        name: _percentiles(np.concatenate([part[name] for part in parts]), level) for name in names
    }


def mean_intervals(
    figures: Mapping[str, Floats], *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval | None]:
    """Return the interval of the mean over samples (queries) of each figure `[N]`."""
    values = np.stack(list(figures.values()), axis=1)
    if resamples == 0 or len(values) == 0:
        return dict.fromkeys(figures)
    generator = np.random.default_rng(seed)
    draws = np.empty((resamples, values.shape[1]))
    for row in draws:
        row[:] = values[generator.integers(len(values), size=len(values))].mean(axis=0)
    return {name: _percentiles(draws[:, i], level) for i, name in enumerate(figures)}


def _resample_counts(
    truth: Integers, scores: Floats, resamples: int, generator: np.random.Generator
) -> dict[str, Floats]:
    """Return draws `[resamples]` of every metric of counts."""
    num_classes = scores.shape[1]
    cells, sizes = np.unique(truth * num_classes + scores.argmax(axis=1), return_counts=True)
    row, column = cells // num_classes, cells % num_classes
    drawn = generator.multinomial(len(truth), sizes / len(truth), size=resamples)
    hits = np.zeros((resamples, num_classes), dtype=np.int64)
    hits[:, row[row == column]] = drawn[:, row == column]
    return count_metrics(
        hits, _sum_cells(drawn, row, num_classes), _sum_cells(drawn, column, num_classes)
    )


def _sum_cells(drawn: Integers, index: Integers, num_classes: int) -> Integers:
    """Add up the columns of `drawn [R, cells]` that share an index, into `[R, C]`."""
    order = np.argsort(index, kind="stable")
    present, starts = np.unique(index[order], return_index=True)
    sums = np.zeros((len(drawn), num_classes), dtype=np.int64)
    sums[:, present] = np.add.reduceat(drawn[:, order], starts, axis=1)
    return sums


def _resample_ranks(
    truth: Integers, scores: Floats, resamples: int, generator: np.random.Generator
) -> Floats:
    """Return draws `[resamples]` of the AUC, a bounded number of rows at a time."""
    num_samples = len(truth)
    if scores.shape[1] < 2 or len(np.unique(truth)) < 2:
        return np.full(resamples, np.nan)
    rows = max(1, CHUNK // num_samples)
    draws = []
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        picked = generator.integers(num_samples, size=(count, num_samples))
        picked += num_samples * np.arange(count)[:, None]
        weights = np.bincount(picked.ravel(), minlength=count * num_samples)
        draws.append(weighted_roc_auc(truth, scores, weights.reshape(count, -1).astype(np.float64)))
    return np.concatenate(draws)


def _percentiles(draws: Floats, level: float) -> Interval | None:
    defined = draws[~np.isnan(draws)]
    if len(defined) == 0:
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
