"""Several runs in one picture: how each learned, its curves, its figures by modalities."""

from collections.abc import Mapping, Sequence
from typing import Any

from .curves import epochs_of
from .figures import condition_figure, figure, title
from .kept import SCORES_FILE, read_scores
from .plots import NUM_COLOURS, Series, line_chart
from .runs import RunFolder
from .tasks import load_task
from .thresholds import runs_over_each_other


def learning(names: Sequence[str], runs: Sequence[RunFolder], metric: str) -> list[dict[str, Any]]:
    """Return charts of what the runs have in common by epoch: losses, and the headline's figure.

    Args:
        names: What the page calls the runs.
        runs: The runs; the first six are drawn.
        metric: The headline's figure.
    """
    wanted = {
        "loss in training, weighted sum": ("train", "loss"),
        "loss in validation, weighted sum": ("val", "loss"),
        f"{title(metric)} in validation, nothing masked": ("val", metric),
    }
    events = [epochs_of(run) for run in runs[:NUM_COLOURS]]
    charts = []
    for caption, (group, key) in wanted.items():
        lines = [
            Series(name, [e["epoch"] for e in each], [e[group].get(key) for e in each])
            for name, each in zip(names, events, strict=False)
        ]
        if any(value is not None for line in lines for value in line.y):
            plot = line_chart(lines, caption, x_label="epoch")
            charts.append({"caption": caption, "keys": [line.name for line in lines], "plot": plot})
    return charts


def thresholds(names: Sequence[str], runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    """Return ROC and precision-recall of the runs with all modalities shown.

    None unless all answer one question of two classes, and have kept their scores.
    """
    first = list(zip(names, runs, strict=True))[:NUM_COLOURS]
    if not all((run.path / SCORES_FILE).is_file() for _, run in first):
        return []
    return runs_over_each_other(
        [name for name, _ in first],
        [load_task(run.read("task.json")) for _, run in first],
        [read_scores(run.path) for _, run in first],
    )


def matrix(
    names: Sequence[str],
    evaluations: Sequence[Mapping[str, Any]],
    conditions: Sequence[str],
    metric: str,
    scale: tuple[float, float],
) -> list[dict[str, Any]]:
    """Return a row of the headline's figure under every condition for each run.

    Args:
        names: What the page calls the runs.
        evaluations: Their evaluations.
        conditions: The columns.
        metric: The figure.
        scale: What is palest and what darkest.
    """
    rows = []
    for name, evaluation in zip(names, evaluations, strict=True):
        cells = []
        for condition in conditions:
            measured = evaluation["conditions"].get(condition)
            value = None if measured is None else measured.get(metric)
            shade = 0.0 if value is None else (value - scale[0]) / (scale[1] - scale[0])
            shown = figure(None) if measured is None else condition_figure(measured, metric)
            cells.append({**shown, "share": round(min(1.0, max(0.0, shade)), 3)})
        rows.append({"name": name, "cells": cells})
    return rows
