"""Metrics of one continuous value, and those of sentiment from -3 to 3 by the field's conventions.

The field has two accuracies of the sign, which differ by several points: `nonzero` leaves out the
samples labelled exactly 0 and asks positive against negative (GCNet, MoMKE, MCULoRA, IMDer);
`nonnegative` keeps all and asks at least 0 against below 0 (MISA, Self-MM: "Has0"). F1 is weighted
by the classes' samples. `acc7` rounds label and prediction, clipped to [-3, 3], to the nearest of
seven integers (halves to even, as numpy does and their code). MAE and Corr read all samples.

The formulas take any leading dimensions, so that the bootstrap measures many resamples at once.

Shapes: N samples, `...` resamples.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from .classification import Floats, Integers, Metrics, count_metrics, none_if_nan, ratio

Flags = npt.NDArray[np.bool_]

REGRESSION_METRICS: Final = ("mae", "rmse", "corr", "r2")
SENTIMENT_METRICS: Final = (
    "acc2_nonzero",
    "f1_nonzero",
    "acc2_nonnegative",
    "f1_nonnegative",
    "acc7",
    "mae",
    "corr",
)


def regression_metrics(labels: npt.ArrayLike, values: npt.ArrayLike) -> Metrics:
    """Return mean absolute and root mean squared error, Pearson's correlation and R².

    Args:
        labels: Float `[N]`.
        values: Float `[N]` or `[N, 1]`, the predictions.

    Raises:
        ValueError: If shapes do not agree or a value is not finite.
    """
    return _point(regression_figures, REGRESSION_METRICS, labels, values)


def sentiment_metrics(labels: npt.ArrayLike, values: npt.ArrayLike) -> Metrics:
    """Return accuracy and weighted F1 of the sign in both conventions, ACC7, MAE and Corr.

    Args:
        labels: Float `[N]`, from -3 to 3.
        values: Float `[N]` or `[N, 1]`, the predictions.

    Raises:
        ValueError: If shapes do not agree or a value is not finite.
    """
    return _point(sentiment_figures, SENTIMENT_METRICS, labels, values)


def regression_figures(truth: Floats, guess: Floats) -> dict[str, Floats]:
    """Return the metrics `[...]` of labels and predictions `[..., N]`, N > 0; NaN if undefined."""
    squared = (guess - truth) ** 2
    spread = ((truth - truth.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    if truth.shape[-1] < 2:
        spread = np.zeros_like(spread)
    return {
        "mae": np.abs(guess - truth).mean(axis=-1),
        "rmse": np.sqrt(squared.mean(axis=-1)),
        "corr": correlation(truth, guess),
        "r2": 1 - ratio(squared.sum(axis=-1), spread),
    }


def sentiment_figures(truth: Floats, guess: Floats) -> dict[str, Floats]:
    """Return the metrics `[...]` of labels and predictions `[..., N]`, N > 0; NaN if undefined."""
    nonzero = _sign_metrics(truth > 0, guess > 0, truth != 0)
    nonnegative = _sign_metrics(truth >= 0, guess >= 0, np.ones(truth.shape, dtype=bool))
    seven = np.round(np.clip(truth, -3, 3)) == np.round(np.clip(guess, -3, 3))
    return {
        "acc2_nonzero": nonzero["accuracy"],
        "f1_nonzero": nonzero["weighted_f1"],
        "acc2_nonnegative": nonnegative["accuracy"],
        "f1_nonnegative": nonnegative["weighted_f1"],
        "acc7": seven.mean(axis=-1),
        "mae": np.abs(guess - truth).mean(axis=-1),
        "corr": correlation(truth, guess),
    }


def correlation(truth: Floats, guess: Floats) -> Floats:
    """Return Pearson's correlation `[...]` of `[..., N]`; NaN where one of both does not vary."""
    a, b = (x - x.mean(axis=-1, keepdims=True) for x in (truth, guess))
    length = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    # A constant's mean is not always the constant to the last bit.
    varies = (np.ptp(truth, axis=-1) > 0) & (np.ptp(guess, axis=-1) > 0)
    return ratio((a * b).sum(axis=-1), np.where(varies, length, 0.0))


def _sign_metrics(truth: Flags, guess: Flags, asked: Flags) -> dict[str, Floats]:
    """Return the metrics of counts of two classes, over the samples that are asked."""

    def counts(one: Flags, among: Flags) -> Integers:
        return np.stack([(~one & among).sum(axis=-1), (one & among).sum(axis=-1)], axis=-1)

    right = asked & (truth == guess)
    return count_metrics(counts(truth, right), counts(truth, asked), counts(guess, asked))


def _point(
    figures: Callable[[Floats, Floats], dict[str, Floats]],
    names: Sequence[str],
    labels: npt.ArrayLike,
    values: npt.ArrayLike,
) -> Metrics:
    truth, guess = checked_values(labels, values)
    if len(truth) == 0:
        return dict.fromkeys(names)
    return {name: none_if_nan(float(value)) for name, value in figures(truth, guess).items()}


def checked_values(labels: npt.ArrayLike, values: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return labels and predictions as float64 `[N]`.

    Raises:
        ValueError: If shapes do not agree or a value is not finite.
    """
    truth = np.asarray(labels, dtype=np.float64)
    guess = np.asarray(values, dtype=np.float64)
    if guess.ndim == 2 and guess.shape[1] == 1:
        guess = guess[:, 0]
    if truth.ndim != 1 or truth.shape != guess.shape:
        raise ValueError(f"labels {truth.shape} and values {guess.shape} must both be [N]")
    if not (np.isfinite(truth).all() and np.isfinite(guess).all()):
        raise ValueError("values must be finite: the model's outputs are NaN or infinite")
    return truth, guess
