"""Runs side by side: what differs in their configs, figures by condition, curves in one picture."""

from collections.abc import Mapping, Sequence
from typing import Any

from scfae.store.errors import RunStateError

from .alike import alike_notes
from .figures import condition_figure, figure, interval_of, scale_of, title
from .overlays import learning, matrix, thresholds
from .plots import NUM_COLOURS, interval_axis, interval_plot
from .runs import RunFolder
from .seeds import common_name, figures_over_seeds, same_but_for_seed

TABLES = ("accuracy", "balanced_accuracy", "roc_auc")
"""Of a classification; other tasks show the figures of their own tables."""


def comparison(
    runs: Sequence[tuple[RunFolder, Mapping[str, Any] | None]],
) -> dict[str, Any]:
    """Return what the page shows of several runs.

    Args:
        runs: Each run with its evaluation.

    Raises:
        RunStateError: If a run was not evaluated.
    """
    names = run_names([run for run, _ in runs])
    evaluations: list[Mapping[str, Any]] = []
    for run, evaluation in runs:
        if evaluation is None:
            raise RunStateError(f"{run.path} is not evaluated yet: scfae evaluate {run.path}")
        evaluations.append(evaluation)
    metric, names_of = evaluations[0]["headline_metric"], evaluations[0]["metrics"]
    scale = scale_of(evaluations, metric)
    conditions = list(dict.fromkeys(name for one in evaluations for name in one["conditions"]))
    rows = []
    for condition in conditions:
        intervals = [
            interval_of(one["conditions"][condition], name, metric, colour)
            for colour, (name, one) in enumerate(zip(names, evaluations, strict=True))
            if condition in one["conditions"]
        ]
        reference = evaluations[0]["majority"].get(metric)
        rows.append(
            {"name": condition, "plot": interval_plot(intervals, scale, reference=reference)}
        )
    tables = TABLES if set(TABLES) <= set(names_of) else names_of
    return {
        "runs": names,
        "differences": differences([run for run, _ in runs]),
        "conditions": conditions,
        "matrix": matrix(names, evaluations, conditions, metric, scale),
        "thresholds": thresholds(names, [run for run, _ in runs]),
        "charts": learning(names, [run for run, _ in runs], metric),
        "rows": rows,
        "axis": interval_axis(scale),
        "tables": [_table(metric, conditions, evaluations) for metric in tables],
        "seeds": _over_seeds([run for run, _ in runs], evaluations, names, tables),
        "metric": title(metric),
        "notes": [*alike_notes(names, evaluations), *_drawn(names)],
    }


def run_names(runs: Sequence[RunFolder]) -> list[str]:
    """Return the shortest distinct names: the folder's, or its path."""
    short = [run.path.name for run in runs]
    return [
        str(run.path) if short.count(name) > 1 else name
        for run, name in zip(runs, short, strict=True)
    ]


def _table(
    metric: str, conditions: Sequence[str], evaluations: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    rows = [
        {
            "name": condition,
            "figures": [
                condition_figure(one["conditions"][condition], metric)
                if condition in one["conditions"]
                else figure(None)
                for one in evaluations
            ],
        }
        for condition in conditions
    ]
    rows.append(
        {
            "name": evaluations[0]["majority_name"],
            "figures": [figure(one["majority"].get(metric)) for one in evaluations],
        }
    )
    return {"metric": title(metric), "rows": rows}


def _over_seeds(
    runs: Sequence[RunFolder],
    evaluations: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    metrics: Sequence[str],
) -> list[dict[str, Any]] | None:
    """Return a table a metric of runs that differ in nothing but the seed; None if none do."""
    groups = same_but_for_seed(runs)
    if all(len(group) == 1 for group in groups):
        return None
    found = [figures_over_seeds([evaluations[place] for place in group]) for group in groups]
    shown = [common_name([names[place] for place in group]) for group in groups]
    conditions = list(dict.fromkeys(name for one in found for name in one))
    return [
        {
            "metric": title(metric),
            "conditions": conditions,
            "rows": [
                {
                    "name": name,
                    "seeds": len(group),
                    "figures": [
                        {"text": one[condition][metric].text(), "interval": ""}
                        if metric in one.get(condition, {})
                        else figure(None)
                        for condition in conditions
                    ],
                }
                for name, group, one in zip(shown, groups, found, strict=True)
            ],
            "baseline": figure(evaluations[0]["majority"].get(metric))["text"],
        }
        for metric in metrics
    ]


def _drawn(names: Sequence[str]) -> list[str]:
    if len(names) <= NUM_COLOURS:
        return []
    return [f"Curves are drawn of the first {NUM_COLOURS} runs."]


def differences(runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    """Return the settings in which runs differ, with each run's value."""
    configs = [run.config.flat() for run in runs]
    return [
        {"name": key, "values": [_shown(config[key]) for config in configs]}
        for key in configs[0]
        if key != "run" and any(config[key] != configs[0][key] for config in configs)
    ]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={inner}" for key, inner in value.items()) or "none"
    return str(value)
