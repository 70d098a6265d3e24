"""Figures of evaluations as a page shows them: numbers with intervals, dots with bars."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from .plots import Interval, interval_plot, interval_scale

METRIC_TITLES: Final = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "roc_auc": "ROC-AUC",
    "f1": "F1 of the positive",
    "micro_f1": "micro F1",
    "average_precision": "average precision",
    "mean_average_precision": "mean average precision",
    "equal_error_rate": "equal error rate",
    "subset_accuracy": "subset accuracy",
    "hamming_accuracy": "Hamming accuracy",
    "acc2_nonzero": "ACC2, non-zero",
    "f1_nonzero": "F1, non-zero",
    "acc2_nonnegative": "ACC2, non-negative",
    "f1_nonnegative": "F1, non-negative",
    "acc7": "ACC7",
    "mae": "MAE",
    "rmse": "RMSE",
    "corr": "Corr",
    "r2": "R²",
}
DASH: Final = "\N{EN DASH}"
Figure = dict[str, str]


def figure(value: float | int | None, interval: Sequence[float] | None = None) -> Figure:
    """Return a number and its interval as text; a dash where there is none."""
    if value is None:
        return {"text": DASH, "interval": ""}
    text = str(value) if isinstance(value, int) else f"{value:.3f}"
    shown = "" if interval is None else f"{interval[0]:.3f} {DASH} {interval[1]:.3f}"
    return {"text": text, "interval": shown}


def title(metric: str) -> str:
    """Return a metric's name as people write it: `map@10` is mAP@10, `r@1` is R@1."""
    if metric in METRIC_TITLES:
        return METRIC_TITLES[metric]
    return metric.replace("map", "mAP").replace("r@", "R@") if "@" in metric else metric


def plain_figures(metrics: Mapping[str, Any], names: Sequence[str]) -> list[Figure]:
    """Return these metrics without intervals."""
    return [figure(metrics.get(name)) for name in names]


def condition_figure(condition: Mapping[str, Any], metric: str) -> Figure:
    """Return one metric of one condition with its interval."""
    return figure(condition.get(metric), condition.get(f"{metric}_ci95"))


def scale_of(evaluations: Sequence[Mapping[str, Any]], metric: str) -> tuple[float, float]:
    """Return the common scale of one metric of several evaluations."""
    values: list[float | None] = [one["majority"].get(metric) for one in evaluations]
    for one in evaluations:
        for condition in one["conditions"].values():
            low = (condition.get(f"{metric}_ci95") or [condition.get(metric)])[0]
            values.append(low)
    return interval_scale(values)


def interval_of(condition: Mapping[str, Any], name: str, metric: str, colour: int = 0) -> Interval:
    """Return one metric of a condition as one row of an interval plot."""
    low, high = condition.get(f"{metric}_ci95") or (None, None)
    return Interval(name, condition.get(metric), low, high, colour)


def condition_rows(
    evaluation: Mapping[str, Any], scale: tuple[float, float]
) -> list[dict[str, Any]]:
    """Return a row of plot and figures for each condition, its own baseline dashed."""
    metric = evaluation["headline_metric"]
    baselines = evaluation["majority_of_conditions"]
    return [
        {
            "name": name,
            "plot": interval_plot(
                [interval_of(condition, name, metric)],
                scale,
                reference=baselines[name].get(metric),
            ),
            "figures": [condition_figure(condition, one) for one in evaluation["metrics"]],
            "n": condition["n"],
            "excluded": condition["excluded"],
        }
        for name, condition in evaluation["conditions"].items()
    ]
