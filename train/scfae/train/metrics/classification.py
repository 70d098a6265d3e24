"""Classification metrics from counts and ranks, the same formula for one sample or many resamples.

Everything but the AUC depends on three counts a class: true positives, support (samples of the
class) and predicted (samples given the class). The functions take those with any leading
dimensions, so that the bootstrap computes a thousand resamples at once, by the very formula of the
point estimate. Definitions are scikit-learn's (`balanced_accuracy_score`, `f1_score`,
`roc_auc_score`), without their warnings: what is undefined is NaN inside and None outside.

Shapes: N sample, C class, `...` resamples.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Metrics = dict[str, float | None]

METRICS: Final = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "roc_auc")


def classification_metrics(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> Metrics:
    """Return accuracy, balanced accuracy, macro and weighted F1 and ROC-AUC, as fractions.

    The AUC is that of class 1 for two classes, else the mean of one-versus-rest over the classes
    present. A metric that is undefined (no samples; one class only, for the AUC) is None.

    Args:
        labels: Integers `[N]` in 0 .. C-1.
        probabilities: `[N, C]`; the prediction is the largest, the first of equals.

    Raises:
        ValueError: If shapes do not agree, a label is out of range or a probability not finite.
    """
    truth, scores = check_inputs(labels, probabilities)
    num_classes = scores.shape[1]
    matrix = confusion_matrix(truth, scores.argmax(axis=1), num_classes)
    values = {
        name: float(value)
        for name, value in count_metrics(
            np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
        ).items()
    }
    values["roc_auc"] = roc_auc(truth, scores)
    return {name: none_if_nan(values[name]) for name in METRICS}


def majority_class(train_labels: npt.ArrayLike, num_classes: int) -> int:
    """Return the most frequent class of the training labels, the first of equals.

    Raises:
        ValueError: If there are no labels.
    """
    labels = np.asarray(train_labels, dtype=np.int64)
    if len(labels) == 0:
        raise ValueError("there are no training labels to take the majority class of")
    return int(np.bincount(labels, minlength=num_classes).argmax())


def majority_metrics(
    train_labels: npt.ArrayLike, test_labels: npt.ArrayLike, num_classes: int
) -> Metrics:
    """Return the metrics of always answering the majority class of the *training* labels."""
    test = np.asarray(test_labels, dtype=np.int64)
    constant = np.zeros((len(test), num_classes))
    constant[:, majority_class(train_labels, num_classes)] = 1.0
    return classification_metrics(test, constant)


def confusion_matrix(
    labels: npt.ArrayLike, predictions: npt.ArrayLike, num_classes: int
) -> Integers:
    """Return counts `[C, C]`: rows are true classes, columns predicted ones."""
    truth = np.asarray(labels, dtype=np.int64)
    guess = np.asarray(predictions, dtype=np.int64)
    cells = np.bincount(truth * num_classes + guess, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes).astype(np.int64)


def count_metrics(
    hits: npt.NDArray[np.integer],
    support: npt.NDArray[np.integer],
    predicted: npt.NDArray[np.integer],
) -> dict[str, Floats]:
    """Return every metric that depends on counts alone; NaN where undefined.

    Args:
        hits: True positives a class, `[..., C]`.
        support: Samples of each class, `[..., C]`.
        predicted: Samples given each class, `[..., C]`.

    Returns:
        Arrays `[...]` by name: accuracy, balanced_accuracy (mean recall of the classes present),
        macro_f1 (mean over the classes present or predicted), weighted_f1 (by support).
    """
    total = support.sum(axis=-1)
    recall = ratio(hits, support)
    either = support + predicted
    f1 = ratio(2 * hits, either)
    return {
        "accuracy": ratio(hits.sum(axis=-1), total),
        "balanced_accuracy": ratio(np.nan_to_num(recall).sum(axis=-1), (support > 0).sum(axis=-1)),
        "macro_f1": ratio(np.nan_to_num(f1).sum(axis=-1), (either > 0).sum(axis=-1)),
        "weighted_f1": ratio((np.nan_to_num(f1) * support).sum(axis=-1), total),
    }


def roc_auc(labels: Integers, scores: Floats) -> float:
    """Return the ROC-AUC of `scores [N, C]`: of class 1 if C = 2, else one-versus-rest macro.

    Equal to the chance that a positive outranks a negative, ties counting one half
    (Mann-Whitney). NaN where no class has both a positive and a negative.
    """
    weights = np.ones((1, len(labels)))
    return float(weighted_roc_auc(labels, scores, weights)[0])


def weighted_roc_auc(labels: Integers, scores: Floats, weights: Floats) -> Floats:
    """Return the ROC-AUC `[R]` with each sample counted `weights [R, N]` times."""
    num_classes = scores.shape[1]
    classes = [1] if num_classes == 2 else [int(c) for c in np.unique(labels)]
    total = np.zeros(len(weights))
    defined = np.zeros(len(weights))
    if len(labels) == 0 or num_classes < 2:
        return np.full(len(weights), np.nan)
    for index in classes:
        value = _binary_auc(labels == index, scores[:, index], weights)
        total += np.nan_to_num(value)
        defined += ~np.isnan(value)
    return ratio(total, defined)


def _binary_auc(positive: npt.NDArray[np.bool_], score: Floats, weights: Floats) -> Floats:
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])  # of each run of equal scores
    ordered = weights[:, order]
    is_positive = positive[order]
    ups = np.add.reduceat(ordered * is_positive, starts, axis=1)
    downs = np.add.reduceat(ordered * ~is_positive, starts, axis=1)
    below = np.cumsum(downs, axis=1) - downs
    wins = (ups * (below + 0.5 * downs)).sum(axis=1)
    return ratio(wins, ups.sum(axis=1) * downs.sum(axis=1))


def check_inputs(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> tuple[Integers, Floats]:
    """Return labels and probabilities as int64 `[N]` and float64 `[N, C]`.

    Raises:
        ValueError: If shapes do not agree, a label is out of range or a probability not finite.
    """
    truth = np.asarray(labels)
    scores = np.asarray(probabilities, dtype=np.float64)
    if scores.ndim != 2 or truth.shape != scores.shape[:1] or scores.shape[1] == 0:
        raise ValueError(
            f"labels {truth.shape} and probabilities {scores.shape} must be [N] and [N, C]"
        )
    truth = truth.astype(np.int64)
    if len(truth) and (truth.min() < 0 or truth.max() >= scores.shape[1]):
        raise ValueError(
            f"labels must be in 0 .. {scores.shape[1] - 1}, got {truth.min()} .. {truth.max()}"
        )
    if not np.isfinite(scores).all():
        raise ValueError("probabilities must be finite: the model's outputs are NaN or infinite")
    return truth, scores


def none_if_nan(value: float) -> float | None:
    """Return the value, or None if it is NaN: JSON knows no NaN."""
    return None if np.isnan(value) else value


def ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Floats:
    """Return numerator / denominator, NaN where the denominator is 0, without a warning."""
    top = np.asarray(numerator, dtype=np.float64)
    bottom = np.asarray(denominator, dtype=np.float64)
    result = np.full(np.broadcast_shapes(top.shape, bottom.shape), np.nan)
    np.divide(top, bottom, out=result, where=bottom > 0)
    return result
