"""Metrics of two classes, of which one is looked for: beside accuracy what imbalance cannot fake.

Where 98 % of samples are fake, `always fake` scores 98 %: balanced accuracy, ROC-AUC, average
precision and the equal error rate tell more. Average precision is scikit-learn's (a step function,
no interpolation); the equal error rate is read off the ROC curve, drawn with straight lines, where
it crosses `false negatives = false positives`.

Shapes: N samples.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from .classification import METRICS, Metrics, check_inputs, classification_metrics

BINARY_METRICS: Final = (*METRICS, "f1", "average_precision", "equal_error_rate")


def binary_metrics(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> Metrics:
    """Return the metrics of `classification_metrics` and those of the class that is looked for.

    `f1` is that of class 1. What needs both classes is None where one is absent.

    Args:
        labels: Integers `[N]`, 0 or 1.
        probabilities: `[N, 2]`.

    Raises:
        ValueError: If shapes do not agree, a label is out of range or a probability not finite.
    """
    from sklearn.metrics import average_precision_score

    truth, scores = check_inputs(labels, probabilities)
    if scores.shape[1] != 2:
        raise ValueError(f"probabilities must be [N, 2], not {list(scores.shape)}")
    metrics = classification_metrics(truth, scores)
    found = scores.argmax(axis=1) == 1
    hits, either = int((found & (truth == 1)).sum()), int(found.sum() + (truth == 1).sum())
    has_both = len(np.unique(truth)) == 2
    positive = scores[:, 1]
    return metrics | {
        "f1": 2 * hits / either if either else None,
        "average_precision": float(average_precision_score(truth, positive)) if has_both else None,
        "equal_error_rate": equal_error_rate(truth, positive) if has_both else None,
    }


def equal_error_rate(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the error rate at the threshold where both kinds of error are equally frequent.

    Args:
        labels: Integers `[N]`, 0 or 1, both of them there.
        scores: `[N]`, higher for class 1.
    """
    from sklearn.metrics import roc_curve

    false_alarms, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
    gap = (1 - hits) - false_alarms  # falls from 1 to -1 along the curve
    after = int(np.argmax(gap <= 0))
    if gap[after] == 0:
        return float(false_alarms[after])
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(false_alarms[after - 1] + share * (false_alarms[after] - false_alarms[after - 1]))
