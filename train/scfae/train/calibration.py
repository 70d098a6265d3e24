"""Whether probabilities mean what they say, and one temperature, fitted on validation.

The expected calibration error (Guo et al., ICML 2017) has equal bins of the largest probability:
the mean over samples of |accuracy - confidence| of their bin. The temperature divides the logits;
it changes no answer, and is found by the least negative log-likelihood of the *validation* split.

Shapes: N samples, C classes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .tasks import Scored

NUM_BINS = 15
TEMPERATURES = (0.05, 20.0)

_LEAST = 1e-12


def expected_calibration_error(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, *, bins: int = NUM_BINS
) -> float:
    """Return the expected calibration error; NaN without samples.

    Args:
        labels: Integers `[N]`.
        probabilities: `[N, C]`.
        bins: Equal bins of the largest probability, (0, 1/bins], ….
    """
    table = reliability(labels, probabilities, bins=bins)
    total = sum(row["n"] for row in table)
    if not total:
        return float("nan")
    return float(sum(row["n"] * abs(row["accuracy"] - row["confidence"]) for row in table) / total)


def reliability(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, *, bins: int = NUM_BINS
) -> list[dict[str, float]]:
    """Return `n`, mean `confidence` and `accuracy` of every bin that holds samples."""
    truth, scores = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if not len(truth):
        return []
    confidence = scores.max(axis=1)
    right = scores.argmax(axis=1) == truth
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        {
            "n": int((bin_of == b).sum()),
            "confidence": float(confidence[bin_of == b].mean()),
            "accuracy": float(right[bin_of == b].mean()),
        }
        for b in range(bins)
        if (bin_of == b).any()
    ]


def tempered(probabilities: npt.ArrayLike, temperature: float) -> npt.NDArray[np.float64]:
    """Return the probabilities `[..., C]` whose logits are divided by a temperature."""
    logits = np.log(np.clip(np.asarray(probabilities, dtype=np.float64), _LEAST, 1.0)) / temperature
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scaled: npt.NDArray[np.float64] = raised / raised.sum(axis=-1, keepdims=True)
    return scaled


def negative_log_likelihood(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Return the mean of -log p of the true class; NaN without samples."""
    truth, scores = np.asarray(labels, dtype=np.int64), np.asarray(probabilities, dtype=np.float64)
    if not len(truth):
        return float("nan")
    return float(-np.log(np.clip(scores[np.arange(len(truth)), truth], _LEAST, 1.0)).mean())


def fit_temperature(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Return the temperature of the least negative log-likelihood, within `TEMPERATURES`."""
    from scipy.optimize import minimize_scalar

    bounds = tuple(float(np.log(t)) for t in TEMPERATURES)
    found = minimize_scalar(
        lambda x: negative_log_likelihood(labels, tempered(probabilities, float(np.exp(x)))),
        bounds=bounds,
        method="bounded",
    )
    return float(np.exp(found.x))


def calibration(validation: Scored, conditions: Mapping[str, Scored]) -> dict[str, Any] | None:
    """Return how calibrated a run is as it is and with the temperature of its validation split.

    Args:
        validation: What the model says of the validation split with all it has.
        conditions: Of the evaluated split, by condition; the full one last.
    """
    seen = validation.seen
    if not seen.any():
        return None
    temperature = fit_temperature(validation.targets[seen], validation.scores[seen])
    rows, bins = {}, []
    for name, one in conditions.items():
        truth, scores = one.targets[one.seen], one.scores[one.seen]
        if not len(truth):
            continue
        scaled = tempered(scores, temperature)
        rows[name] = {
            "ece": expected_calibration_error(truth, scores),
            "ece_scaled": expected_calibration_error(truth, scaled),
            "nll": negative_log_likelihood(truth, scores),
            "nll_scaled": negative_log_likelihood(truth, scaled),
        }
        bins = reliability(truth, scores)
    return {
        "temperature": temperature,
        "fitted_on": "val",
        "bins": NUM_BINS,
        "conditions": rows,
        "reliability": bins,
    }
