"""What a page shows of every threshold and every value: ROC, precision-recall, scatter."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from .kept import KeptScores
from .operating_curves import Curve, conditions_drawn, curve, heads, mean_curve
from .square_plots import MAX_DOTS, Line, histogram, scatter, unit_square
from .tasks import Deepfake, Regression, Task

ROC: Final = "ROC: hits over false alarms; dashed: chance"
PRECISION: Final = "precision over recall; dashed: chance, the share of positives"
_MOST_CLASSES: Final = 20
_SEED: Final = 0


def operating_curves(task: Task, kept: KeptScores) -> dict[str, Any] | None:
    """Return ROC and precision-recall curves for a page; None for a task without classes.

    One question (two classes) has a line for all modalities and for each alone. Several have a
    line a class with all modalities, and their means by modalities.
    """
    asked = {
        name: heads(task, kept.scored[shown])
        for name, shown in conditions_drawn(kept.scored).items()
    }
    everything = next(iter(asked))
    if not asked[everything]:
        return None
    found = {name: [curve(one) for one in questions] for name, questions in asked.items()}
    absent = [
        head.name
        for head, one in zip(asked[everything], found[everything], strict=True)
        if one is None
    ]
    drawn = {
        name: known
        for name, curves in found.items()
        if (known := [one for one in curves if one is not None])
    }
    notes = []
    if absent:
        notes.append(
            f"Without a curve, for the split has not both such samples and others: "
            f"{', '.join(absent)}."
        )
    if isinstance(task, Deepfake) and task.modality_labels and task.unimodal_label == "own":
        notes.append(
            "A modality alone is asked for its own label, all together whether any is fake."
        )
    if not drawn:
        return {"what": "", "charts": [], "table": None, "notes": notes}
    if len(asked[everything]) == 1:
        curves = {name: known[0] for name, known in drawn.items()}
        what = f"Is it “{asked[everything][0].name}”? At every threshold, by the modalities shown."
        charts = _pair(list(curves), list(curves.values()))
        rows = [_row(name, one) for name, one in curves.items()]
    else:
        what = "Each class against the rest, at every threshold; macro: the mean over classes."
        full = next(iter(drawn.values()))
        largest = sorted(full, key=lambda one: -one.positives)[:_MOST_CLASSES]
        if len(full) > _MOST_CLASSES:
            notes.append(f"Of {len(full)} classes the {_MOST_CLASSES} largest are drawn.")
        means = {f"macro, {name}": mean_curve(name, known) for name, known in drawn.items()}
        first = next(iter(means.values()))
        charts = [
            *_pair(["macro"], [first], thin=largest, also="bold: macro, thin: each class"),
            *(_pair(list(means), list(means.values())) if len(means) > 1 else []),
        ]
        rows = [_row(name, one, has_counts=False) for name, one in means.items()]
        rows += [_row(one.name, one) for one in full]
    return {"what": what, "charts": charts, "table": rows, "notes": notes}


def runs_over_each_other(
    names: Sequence[str], tasks: Sequence[Task], kept: Sequence[KeptScores]
) -> list[dict[str, Any]]:
    """Return ROC and precision-recall of several runs that answer one question of two classes."""
    curves = []
    for task, one in zip(tasks, kept, strict=True):
        questions = heads(task, one.scored[max(one.scored, key=len)])
        curves.append(curve(questions[0]) if len(questions) == 1 else None)
    known = [one for one in curves if one is not None]
    asked = {(task.label, one.name) for task, one in zip(tasks, curves, strict=True) if one}
    if len(known) < len(tasks) or len(asked) > 1:
        return []
    return _pair(names, known)


def regression_plots(task: Task, kept: KeptScores) -> list[dict[str, Any]]:
    """Return predicted over true by modalities, and what the errors are; none for other tasks."""
    if not isinstance(task, Regression):
        return []
    charts = []
    for name, shown in conditions_drawn(kept.scored).items():
        one = kept.scored[shown]
        if not one.seen.any():
            continue
        truth, said = one.targets[one.seen].astype(np.float64), one.scores[one.seen][:, 0]
        charts.append(_scatter(name, truth, said))
        if len(charts) == 1:
            error = said - truth
            told = (
                f"{name}: predicted minus true of {len(error)} samples, mean {error.mean():.3f}, "
                f"from {error.min():.3f} to {error.max():.3f}"
            )
            charts.append(
                {
                    "caption": f"{name}: errors, mean {error.mean():+.3f}",
                    "keys": [],
                    "plot": histogram(error, told, x_label="predicted minus true"),
                }
            )
    return charts


def _scatter(name: str, truth: Any, said: Any) -> dict[str, Any]:
    rows = np.arange(len(truth))
    some = ""
    if len(rows) > MAX_DOTS:
        rows = np.sort(np.random.default_rng(_SEED).choice(rows, MAX_DOTS, replace=False))
        some = f"; {MAX_DOTS} of {len(truth)} samples, drawn by chance"
    told = (
        f"{name}: predicted over true of {len(rows)} samples; true {truth.min():.3f} to "
        f"{truth.max():.3f}, predicted {said.min():.3f} to {said.max():.3f}"
    )
    return {
        "caption": f"{name}: predicted over true{some}; dashed: equal",
        "keys": [],
        "plot": scatter(truth[rows], said[rows], told, x_label="true", y_label="predicted"),
    }


def _pair(
    names: Sequence[str], curves: Sequence[Curve], *, thin: Sequence[Curve] = (), also: str = ""
) -> list[dict[str, Any]]:
    told = {
        area: "; ".join(f"{n}: {getattr(c, area):.3f}" for n, c in zip(names, curves, strict=True))
        for area in ("auc", "average_precision")
    }
    lines = [Line(c.false_alarms, c.hits, i) for i, c in enumerate(curves)]
    lines += [Line(c.false_alarms, c.hits, None) for c in thin]
    steps = [Line(c.recall, c.precision, i, is_step=True) for i, c in enumerate(curves)]
    steps += [Line(c.recall, c.precision, None, is_step=True) for c in thin]
    more = f"; {also}" if also else ""
    return [
        {
            "caption": ROC + more,
            "keys": list(names),
            "plot": unit_square(
                lines,
                f"ROC curves. Area under the curve: {told['auc']}",
                x_label="false alarms, share of the negatives",
                y_label="hits, share of the positives",
            ),
        },
        {
            "caption": PRECISION + more,
            "keys": list(names),
            "plot": unit_square(
                steps,
                f"Precision-recall curves. Average precision: {told['average_precision']}",
                x_label="recall",
                y_label="precision",
                chance=curves[0].chance,
            ),
        },
    ]


def _row(name: str, one: Curve, *, has_counts: bool = True) -> dict[str, Any]:
    counts = [str(one.positives), str(one.n)] if has_counts else ["", ""]
    areas = [f"{value:.3f}" for value in (one.auc, one.average_precision, one.chance)]
    return {"name": name, "cells": [*areas, *counts]}
