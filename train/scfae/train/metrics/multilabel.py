"""Metrics of several labels a sample, each its own yes or no; unknown ones do not count.

Definitions are scikit-learn's over the known cells. A label that the split has in one value only
has no AUC and no average precision, and is left out of their means.

Shapes: N samples, C labels.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from .classification import Floats, Metrics, none_if_nan, roc_auc

MULTILABEL_METRICS: Final = (
    "macro_f1",
    "micro_f1",
    "mean_average_precision",
    "roc_auc",
    "subset_accuracy",
    "hamming_accuracy",
)


def multilabel_metrics(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, *, threshold: float = 0.5
) -> Metrics:
    """Return F1 (macro, micro), means of average precision and AUC, and two accuracies.

    `subset_accuracy`: all known labels of a sample are right; `hamming_accuracy`: the share of
    known cells that are. F1 of a label that is neither there nor predicted is 0, as scikit-learn's
    `zero_division=0` has it.

    Args:
        labels: Float `[N, C]`: 1, 0, or NaN for unknown.
        probabilities: `[N, C]`.
        threshold: From which on a label is predicted.

    Raises:
        ValueError: If shapes do not agree or a probability is not finite.
    """
    truth = np.asarray(labels, dtype=np.float64)
    scores = np.asarray(probabilities, dtype=np.float64)
    if truth.ndim != 2 or truth.shape != scores.shape:
        raise ValueError(f"labels {truth.shape} and probabilities {scores.shape} must be [N, C]")
    if not np.isfinite(scores).all():
        raise ValueError("probabilities must be finite: the model's outputs are NaN or infinite")
    known = ~np.isnan(truth)
    if not known.any():
        return dict.fromkeys(MULTILABEL_METRICS)
    is_true, is_found = (truth == 1) & known, (scores >= threshold) & known
    hits = (is_true & is_found).sum(axis=0)
    either = is_true.sum(axis=0) + is_found.sum(axis=0)
    right = (is_true == is_found) | ~known
    rated = known.any(axis=1)
    precisions, areas = _ranked(truth, scores, known)
    return {
        "macro_f1": float(np.mean(2 * hits / np.maximum(either, 1))),
        "micro_f1": float(2 * hits.sum() / either.sum()) if either.sum() else 0.0,
        "mean_average_precision": none_if_nan(precisions),
        "roc_auc": none_if_nan(areas),
        "subset_accuracy": float(right[rated].all(axis=1).mean()),
        "hamming_accuracy": float(right[known].mean()),
    }


def _ranked(truth: Floats, scores: Floats, known: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return the means of average precision and AUC over the labels that have both values."""
    from sklearn.metrics import average_precision_score

    precisions, areas = [], []
    for label in range(truth.shape[1]):
        rows = known[:, label]
        mine = truth[rows, label].astype(np.int64)
        if len(np.unique(mine)) < 2:
            continue
        score = scores[rows, label]
        precisions.append(float(average_precision_score(mine, score)))
        areas.append(roc_auc(mine, np.stack([1 - score, score], axis=1)))
    if not precisions:
        return float("nan"), float("nan")
    return float(np.mean(precisions)), float(np.mean(areas))
