"""What each metric means, in the words of a report; only those that a page shows are explained."""

from collections.abc import Iterable
from typing import Final

from .figures import title
from .tasks import LOWER_IS_BETTER

MEANINGS: Final = {
    "balanced_accuracy": "Balanced accuracy: the share that is right of each class, averaged over "
    "classes.",
    "macro_f1": "F1: harmonic mean of precision and recall, averaged over classes (macro) or "
    "samples (weighted).",
    "micro_f1": "Micro F1: over all labels as if they were one.",
    "roc_auc": "ROC-AUC: the chance that a sample of a class scores higher on it than one of "
    "another.",
    "average_precision": "Average precision: the area under the curve of precision over recall.",
    "mean_average_precision": "Mean average precision: the area under the curve of precision over "
    "recall, averaged over labels.",
    "equal_error_rate": "Equal error rate: where as many real ones are called fake as fakes real.",
    "subset_accuracy": "Subset accuracy: samples of which every label is right.",
    "hamming_accuracy": "Hamming accuracy: labels that are right.",
    "acc2_nonzero": "ACC2: the sign is right, of samples whose truth is not zero, or with zero "
    "counted among the positive (non-negative).",
    "acc7": "ACC7: right when rounded to one of -3 to 3.",
    "mae": "MAE: mean absolute error.",
    "corr": "Corr: Pearson's correlation.",
}
RETRIEVAL: Final = (
    "mAP@K: mean over queries of the precision at each hit among the first K; R@K: queries with a "
    "hit among the first K."
)


def explain(metrics: Iterable[str]) -> str:
    """Return sentences on the metrics of a page, and which of them are better when lower."""
    names = list(metrics)
    found = [MEANINGS[name] for name in names if name in MEANINGS]
    if any("@" in name for name in names):
        found.append(RETRIEVAL)
    lower = [title(name) for name in names if name in LOWER_IS_BETTER]
    if lower:
        found.append(f"Lower is better: {', '.join(lower)}.")
    return " ".join(found)
