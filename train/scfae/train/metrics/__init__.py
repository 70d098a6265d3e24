"""Figures of predictions, as fractions; what is undefined is None. One module a kind of task."""

from .binary import BINARY_METRICS, binary_metrics, equal_error_rate
from .classification import (
    METRICS,
    Floats,
    Integers,
    Metrics,
    check_inputs,
    classification_metrics,
    confusion_matrix,
    count_metrics,
    majority_class,
    majority_metrics,
    none_if_nan,
    roc_auc,
    weighted_roc_auc,
)
from .multilabel import MULTILABEL_METRICS, multilabel_metrics
from .regression import (
    REGRESSION_METRICS,
    SENTIMENT_METRICS,
    checked_values,
    regression_figures,
    regression_metrics,
    sentiment_figures,
    sentiment_metrics,
)
from .retrieval import AP_NORMS, Ranking, average_precision_at, rank_exactly, retrieval_metrics

__all__ = [
    "AP_NORMS",
    "BINARY_METRICS",
    "METRICS",
    "MULTILABEL_METRICS",
    "REGRESSION_METRICS",
    "SENTIMENT_METRICS",
    "Floats",
    "Integers",
    "Metrics",
    "Ranking",
    "average_precision_at",
    "binary_metrics",
    "check_inputs",
    "checked_values",
    "classification_metrics",
    "confusion_matrix",
    "count_metrics",
    "equal_error_rate",
    "majority_class",
    "majority_metrics",
    "multilabel_metrics",
    "none_if_nan",
    "rank_exactly",
    "regression_figures",
    "regression_metrics",
    "retrieval_metrics",
    "roc_auc",
    "sentiment_figures",
    "sentiment_metrics",
    "weighted_roc_auc",
]
