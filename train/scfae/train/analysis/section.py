"""An analysis as a page shows it: gradients through training, parts, contributions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..figures import DASH, title
from ..gradient_log import logged_figures, read_lines
from ..plots import Interval, Series, interval_axis, interval_plot, line_chart
from ..runs import RunFolder
from .basis import outdated
from .drawing import cosines_of, norms_of
from .parts_plot import parts_plot
from .reading import read_analysis, read_projection


def analysis_section(run: Path) -> dict[str, Any] | None:
    """Return what a page says of a run's analysis; None where there is none, nor a gradient log.

    Args:
        run: The run folder.

    Raises:
        RunStateError: What was kept is damaged.
    """
    document, lines = read_analysis(run), read_lines(run)
    if document is None and not lines:
        return None
    section: dict[str, Any] = {
        "gradients": _gradients(document, lines),
        "charts": _charts(lines),
        "sharing": None,
        "probes": None,
        "parts": None,
        "contributions": None,
        "outdated": None,
        "left_out": [],
        "split": {},
    }
    if document is None:
        return section
    kept = read_projection(run)
    return section | {
        "split": document.get("splits", {}),
        "outdated": outdated(RunFolder(run), document),
        "sharing": [_pair(one) for one in document["sharing"]],
        "probes": _probes(document["probes"]),
        "parts": None if kept is None else parts_plot(kept, "parts"),
        "perplexity": None if kept is None else f"{kept.projection.perplexity:.0f}",
        "contributions": _contributions(document["contributions"]),
        "left_out": list(document["left_out"].values()),
    }


def _gradients(
    document: Mapping[str, Any] | None, lines: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return a row for each modality, of the selected model and of the sampled steps."""
    selected = {} if document is None else document["gradients"]
    sampled = {name: one.as_dict() for name, one in logged_figures(lines).items()}
    rows = []
    for what, figures in (("selected model", selected), ("through training", sampled)):
        for name, one in figures.items():
            cosine = number(one["cosine"], signed=True)
            if one["cosine_sd"] is not None:
                cosine += f" ± {one['cosine_sd']:.3f}"
            share = number(one["negative_share"])
            cells = [one["at"], cosine, share, f"{one['task_norm']:.3g}", str(one["num_batches"])]
            rows.append({"name": name, "what": what, "cells": cells})
    return rows


def _charts(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    if not lines:
        return []
    names = list(lines[0]["modalities"])
    steps = [line["step"] for line in lines]
    cosines = [Series(name, steps, cosines_of(lines, name)) for name in names]
    norms = [Series(name, steps, norms_of(lines, name)[1]) for name in names]
    found = []
    if any(value is not None for one in cosines for value in one.y):
        found.append(("cosine of task and auxiliary gradient", cosines))
    found.append(("norm of the task's gradient", norms))
    return [
        {"caption": text, "keys": names, "plot": line_chart(series, text, x_label="step")}
        for text, series in found
    ]


def _pair(one: Mapping[str, Any]) -> dict[str, Any]:
    club, null = DASH, DASH
    if one["club"] is not None:
        club = f"{one['club']['mean']:.2f} ± {one['club']['sd']:.2f}"
        null = f"{one['club']['permuted']:.2f} ± {one['club']['permuted_sd']:.2f}"
    cells = [number(one["cka"]), number(one["cka_permuted"]), club, null, str(one["n"])]
    return {"first": one["first"], "second": one["second"], "cells": cells}


def _probes(probes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    if not probes:
        return None
    names = [name for name in next(iter(probes.values())) if name not in ("n", "strength")][:6]
    return {
        "metrics": [title(name) for name in names],
        "rows": [
            {"name": part, "cells": [*(number(probe[name]) for name in names), str(probe["n"])]}
            for part, probe in probes.items()
        ],
    }


def _contributions(added: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return dots with bars, one a modality, on a scale that holds 0."""
    if added is None:
        return None
    known = {name: one for name, one in added["modalities"].items() if one["mean"] is not None}
    ends = [0.0]
    for one in known.values():
        ends += one["mean_ci95"] or [one["mean"]]
    margin = 0.08 * (max(ends) - min(ends)) or 0.1
    scale = min(ends) - margin, max(ends) + margin
    rows = []
    for name, one in known.items():
        low, high = one["mean_ci95"] or (None, None)
        rows.append(
            {
                "name": name,
                "plot": interval_plot([Interval(name, one["mean"], low, high)], scale, reference=0),
                "text": f"{one['mean']:+.3f}; takes away from {one['negative_share']:.0%} of "
                f"{one['n']} samples",
            }
        )
    return {
        "what": added["what"],
        "none": f"{added['none']:.3f}",
        "everything": f"{added['everything']:.3f}",
        "rows": rows,
        "axis": interval_axis(scale),
    }


def number(value: float | None, *, signed: bool = False) -> str:
    """Return a figure of three digits; a dash where there is none."""
    if value is None:
        return DASH
    return f"{value:+.3f}" if signed else f"{value:.3f}"
