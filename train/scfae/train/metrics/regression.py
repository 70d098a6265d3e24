"""Metrics of one continuous value, and those of sentiment from -3 to 3 by the field's conventions.

The field has two accuracies of the sign, which differ by several points: `nonzero` leaves out the
samples labelled exactly 0 and asks positive against negative (GCNet, MoMKE, MCULoRA, IMDer);
`nonnegative` keeps all and asks at least 0 against below 0 (MISA, Self-MM: "Has0"). F1 is weighted
by the classes' samples. `acc7` rounds label and prediction, clipped to [-3, 3], to the nearest of
seven integers (halves to even, as numpy does and their code). MAE and Corr read all samples.

Shapes: N samples.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from .classification import Floats, Metrics, confusion_matrix, count_metrics, none_if_nan

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
    truth, guess = _check(labels, values)
    if len(truth) == 0:
        return dict.fromkeys(REGRESSION_METRICS)
    error = guess - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "corr": none_if_nan(correlation(truth, guess)),
        "r2": 1 - float((error**2).sum()) / spread if spread > 0 and len(truth) > 1 else None,
    }


def sentiment_metrics(labels: npt.ArrayLike, values: npt.ArrayLike) -> Metrics:
    """Return accuracy and weighted F1 of the sign in both conventions, ACC7, MAE and Corr.

    Args:
        labels: Float `[N]`, from -3 to 3.
        values: Float `[N]` or `[N, 1]`, the predictions.

    Raises:
        ValueError: If shapes do not agree or a value is not finite.
    """
    truth, guess = _check(labels, values)
    if len(truth) == 0:
        return dict.fromkeys(SENTIMENT_METRICS)
    signed = truth != 0
    nonzero = _sign_metrics(truth[signed] > 0, guess[signed] > 0)
    nonnegative = _sign_metrics(truth >= 0, guess >= 0)
    seven = np.round(np.clip(truth, -3, 3)) == np.round(np.clip(guess, -3, 3))
    return {
        "acc2_nonzero": nonzero[0],
        "f1_nonzero": nonzero[1],
        "acc2_nonnegative": nonnegative[0],
        "f1_nonnegative": nonnegative[1],
        "acc7": float(seven.mean()),
        "mae": float(np.abs(guess - truth).mean()),
        "corr": none_if_nan(correlation(truth, guess)),
    }


def correlation(truth: Floats, guess: Floats) -> float:
    """Return Pearson's correlation; NaN where one of both does not vary."""
    a, b = truth - truth.mean(), guess - guess.mean()
    length = np.sqrt((a**2).sum() * (b**2).sum())
    # A constant's mean is not always the constant to the last bit.
    varies = np.ptp(truth) > 0 and np.ptp(guess) > 0
    return float((a * b).sum() / length) if varies and length > 0 else float("nan")


def _sign_metrics(
    truth: npt.NDArray[np.bool_], guess: npt.NDArray[np.bool_]
) -> tuple[float | None, float | None]:
    matrix = confusion_matrix(truth, guess, 2)
    found = count_metrics(np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0))
    return none_if_nan(float(found["accuracy"])), none_if_nan(float(found["weighted_f1"]))


def _check(labels: npt.ArrayLike, values: npt.ArrayLike) -> tuple[Floats, Floats]:
    truth = np.asarray(labels, dtype=np.float64)
    guess = np.asarray(values, dtype=np.float64)
    if guess.ndim == 2 and guess.shape[1] == 1:
        guess = guess[:, 0]
    if truth.ndim != 1 or truth.shape != guess.shape:
        raise ValueError(f"labels {truth.shape} and values {guess.shape} must both be [N]")
    if not (np.isfinite(truth).all() and np.isfinite(guess).all()):
        raise ValueError("values must be finite: the model's outputs are NaN or infinite")
    return truth, guess
