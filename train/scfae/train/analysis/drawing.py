"""Plots as PNG and PDF, for papers: the page has its own, which fit its colours and width."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from scfae.store.atomic import write_atomic

from ..gradient_probe import ALL
from .analysis import Analysis
from .contributions import Contributions
from .projection import Projection

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = ("#2458b8", "#b5541a", "#24795a", "#84409f", "#8d6a00", "#b02e56")
_SQUARE: Final = ("s", "D", "^", "v")
"""Marks of specific parts, by modality; shared ones are circles."""
_STYLE: Final[dict[Any, Any]] = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "pdf.fonttype": 42,  # text stays text
}

_LEGEND: Final[dict[str, Any]] = {"frameon": False, "fontsize": 7, "handletextpad": 0.4}
_DEEPEST: Final = 1e-6
"""Norms below this share of the largest are not drawn: a gradient that is off has none."""


def draw_analysis(found: Analysis) -> list[Path]:
    """Write every plot that an analysis has something for, as PNG and PDF; return the files."""
    found.folder.mkdir(exist_ok=True)
    written = []
    if found.lines:
        figure, (left, right) = new_figure(2)
        cosines = {name: known_cosines(found.lines, name) for name in found.training}
        draw_cosines(left, {name: some for name, some in cosines.items() if some})
        draw_norms(right, {name: [norms_of(found.lines, name)] for name in found.training})
        written += save(figure, found.folder / "gradients")
    if found.projection is not None:
        figure, (left, right) = new_figure(2)
        draw_points(left, found.projection, "pca")
        draw_points(right, found.projection, "tsne")
        written += save(figure, found.folder / "parts")
    if found.contributions is not None:
        figure, (axes,) = new_figure(1)
        draw_contributions(axes, found.contributions)
        written += save(figure, found.folder / "contributions")
    return written


def new_figure(
    columns: int, rows: int = 1, *, width: float = 3.3, height: float = 2.8
) -> "tuple[Figure, list[Axes]]":
    """Return a figure and its axes, row by row; sizes are inches of one of them."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def save(figure: "Figure", stem: Path) -> list[Path]:
    """Write a figure as PNG and PDF, without the time of day; return the files."""
    import matplotlib

    written = []
    for kind, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None})):
        buffer = io.BytesIO()
        with matplotlib.rc_context(_STYLE):
            figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
        path = stem.with_name(f"{stem.name}.{kind}")
        write_atomic(path, buffer.getvalue())
        written.append(path)
    return written


def draw_cosines(axes: "Axes", cosines: Mapping[str, Sequence[float]], note: str = "") -> None:
    """Draw how often each cosine of task and auxiliary gradient is met, one line a name.

    Args:
        axes: Where.
        cosines: At least one of each name.
        note: Under the legend, such as who has none.
    """
    edges = np.linspace(-1, 1, 41)
    middles = (edges[:-1] + edges[1:]) / 2
    for index, (name, values) in enumerate(cosines.items()):
        counts, _ = np.histogram(values, bins=edges)
        share = counts / max(1, counts.sum())
        colour = COLOURS[index % len(COLOURS)]
        axes.fill_between(middles, share, step="mid", color=colour, alpha=0.18, linewidth=0)
        axes.step(middles, share, where="mid", color=colour, linewidth=1.3, label=name)
    axes.axvline(0.0, color="0.4", linewidth=0.8, linestyle="--")
    axes.set_xlim(-1, 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("cosine of task and auxiliary gradient")
    axes.set_ylabel("share of sampled steps")
    if cosines:
        axes.legend(loc="upper left", **_LEGEND)
    if note:
        axes.text(0.99, 0.97, note, transform=axes.transAxes, ha="right", va="top", fontsize=6.5)


Curve = tuple[Sequence[float], Sequence[float]]


def draw_norms(axes: "Axes", curves: Mapping[str, Sequence[Curve]]) -> None:
    """Draw norms of the task's gradient by step: each curve thin, the mean of a name's thick.

    Args:
        axes: Where.
        curves: (steps, norms) of each run of a name.
    """
    for index, (name, some) in enumerate(curves.items()):
        colour = COLOURS[index % len(COLOURS)]
        if len(some) > 1:
            for steps, norms in some:
                axes.plot(steps, norms, color=colour, linewidth=0.5, alpha=0.35)
        steps, means = mean_curve(some)
        axes.plot(steps, means, color=colour, linewidth=1.5, label=name)
    every = [norm for some in curves.values() for _, norms in some for norm in norms if norm > 0]
    axes.set_yscale("log")
    if every:
        top, bottom = max(every), min(every)
        low = max(bottom, top * _DEEPEST) * 0.6
        # Room for the names above the curves: a third of the height.
        axes.set_ylim(low, top * max(1.6, (top / low) ** 0.35))
    axes.set_xlabel("step")
    axes.set_ylabel("norm of the task's gradient")
    if curves:
        axes.legend(loc="upper right", ncols=2, **_LEGEND)


def mean_curve(curves: Sequence[Curve]) -> tuple[list[float], list[float]]:
    """Return the geometric mean of curves at the steps that all of them have."""
    common = sorted(set.intersection(*(set(steps) for steps, _ in curves))) if curves else []
    found = [dict(zip(steps, norms, strict=True)) for steps, norms in curves]
    means = [
        float(np.exp(np.mean([np.log(max(one[step], 1e-30)) for one in found]))) for step in common
    ]
    return list(common), means


def draw_points(axes: "Axes", projection: Projection, how: str, *, legend: bool = True) -> None:
    """Draw parts in the plane: shared ones as circles, specific ones as squares and diamonds.

    Args:
        axes: Where.
        projection: The points.
        how: `pca` or `tsne`.
        legend: Whether to name them.
    """
    modalities = list(dict.fromkeys(one.modality for one in projection.points))
    for index, one in enumerate(projection.points):
        x, y = getattr(one, how).T
        mark = "o" if one.kind == "shared" else _SQUARE[modalities.index(one.modality) % 4]
        axes.scatter(
            x, y, s=7, marker=mark, color=COLOURS[index % len(COLOURS)], alpha=0.6, linewidths=0
        )
        axes.scatter([], [], s=18, marker=mark, color=COLOURS[index % len(COLOURS)], label=one.name)
    axes.set_aspect("equal", adjustable="datalim")
    if how == "pca":
        first, second = projection.explained
        axes.set_xlabel(f"first component ({first:.0%} of the variance)")
        axes.set_ylabel(f"second ({second:.0%})")
    else:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel("t-SNE")
    if legend:
        # Above the axes: inside, it would hide points.
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, **_LEGEND)


def draw_contributions(axes: "Axes", added: Contributions) -> None:
    """Draw what each modality adds to each sample: all samples as dots, the mean as a bar."""
    for place in range(len(added.modalities)):
        values = added.values[added.has[:, place], place]
        if not len(values):
            continue
        spread = np.random.default_rng(0).uniform(-0.3, 0.3, len(values))
        colour = COLOURS[place % len(COLOURS)]
        axes.scatter(values, place + spread, s=5, color=colour, alpha=0.4, linewidths=0)
        mean = values.mean()
        axes.plot([mean, mean], [place - 0.38, place + 0.38], color="black", linewidth=1.6)
        axes.annotate(
            f"{mean:+.3f}",
            (mean, place + 0.4),
            ha="center",
            va="bottom",
            fontsize=7,
        )
    axes.axvline(0.0, color="0.4", linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(added.modalities)), list(added.modalities))
    axes.set_ylim(-0.6, len(added.modalities) - 0.25)
    axes.set_xlabel(f"Shapley value ({added.what})")


def cosines_of(lines: Sequence[Mapping[str, Any]], name: str = ALL) -> list[float | None]:
    """Return the cosine at each sampled step of one modality, or of all."""
    return [line["modalities"][name]["cosine"] for line in lines]


def known_cosines(lines: Sequence[Mapping[str, Any]], name: str = ALL) -> list[float]:
    """Return the cosines of the steps that have one: both gradients are there."""
    return [value for value in cosines_of(lines, name) if value is not None]


def norms_of(lines: Sequence[Mapping[str, Any]], name: str = ALL) -> Curve:
    """Return (steps, norms of the task's gradient) of one modality, or of all."""
    return (
        [line["step"] for line in lines],
        [line["modalities"][name]["task_norm"] for line in lines],
    )
