"""Figures of evaluations as a page shows them: numbers with intervals, dots with bars."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from .metrics import METRICS
from .plots import Interval, interval_plot, interval_scale

METRIC_TITLES: Final = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "roc_auc": "ROC-AUC",
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


def plain_figures(metrics: Mapping[str, float | None]) -> list[Figure]:
    """Return every metric without an interval."""
    return [figure(metrics[name]) for name in METRICS]


def condition_figure(condition: Mapping[str, Any], metric: str) -> Figure:
    """Return one metric of one condition with its interval."""
    return figure(condition[metric], condition[f"{metric}_ci95"])


def scale_of(evaluations: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return the common scale of the accuracies of several evaluations."""
    values: list[float | None] = [one["majority"]["accuracy"] for one in evaluations]
    for one in evaluations:
        for condition in one["conditions"].values():
            low = (condition["accuracy_ci95"] or [condition["accuracy"]])[0]
            values.append(low)
    return interval_scale(values)


def interval_of(condition: Mapping[str, Any], name: str, colour: int = 0) -> Interval:
    """Return the accuracy of a condition as one row of an interval plot."""
    low, high = condition["accuracy_ci95"] or (None, None)
    return Interval(name, condition["accuracy"], low, high, colour)


def condition_rows(
    evaluation: Mapping[str, Any], scale: tuple[float, float]
) -> list[dict[str, Any]]:
    """Return a row of plot and figures for each condition."""
    majority = evaluation["majority"]["accuracy"]
    return [
        {
            "name": name,
            "plot": interval_plot([interval_of(condition, name)], scale, reference=majority),
            "figures": [condition_figure(condition, metric) for metric in METRICS],
            "n": condition["n"],
            "excluded": condition["excluded"],
        }
        for name, condition in evaluation["conditions"].items()
    ]
