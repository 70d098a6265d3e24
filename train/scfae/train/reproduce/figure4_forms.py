"""Figure 4 as PNG and PDF, as CSV, and as a page draws it."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..analysis.drawing import (
    draw_cosines,
    draw_norms,
    draw_points,
    mean_curve,
    new_figure,
    norms_of,
    save,
)
from ..analysis.exports import GRADIENT_HEADS, gradient_rows, write_csv
from ..analysis.parts_plot import parts_plot
from ..analysis.reading import KeptProjection
from ..plots import Series, line_chart
from .figure4 import FigureTable

BINS = 40


def write_figure(found: FigureTable, folder: Path) -> None:
    """Write fig4.png, fig4.pdf, and what they draw: fig4-gradients.csv and fig4-parts.csv."""
    rows: list[tuple[Any, ...]] = []
    for panel, methods in (("A", found.cosines), ("B", found.norms)):
        for method in methods:
            for seed, lines in enumerate(method.lines, start=1):
                rows += [(panel, method.name, seed, *row) for row in gradient_rows(lines)]
    write_csv(folder / "fig4-gradients.csv", ("panel", "method", "seed", *GRADIENT_HEADS), rows)
    points = [
        (name, kept.ids[place], kept.classes[place], one.modality, one.kind, *plane)
        for name, kept in _kept(found).items()
        for one in kept.projection.points
        for place, plane in zip(one.places.tolist(), one.tsne.tolist(), strict=True)
    ]
    heads = ("method", "id", "class", "modality", "part", "tsne_x", "tsne_y")
    write_csv(folder / "fig4-parts.csv", heads, points)
    _draw(found, folder / "fig4")


def _kept(found: FigureTable) -> dict[str, KeptProjection]:
    return {name: one for name, one in found.parts.items() if isinstance(one, KeptProjection)}


def _draw(found: FigureTable, stem: Path) -> None:
    kept = _kept(found)
    columns = max(2, len(kept))
    figure, axes = new_figure(columns, 2 if kept else 1, height=3.0)
    cosines = {one.name: one.cosines for one in found.cosines if one.cosines}
    draw_cosines(axes[0], cosines)
    axes[0].set_title(f"A  {_title(found.data[0])}{_without(found)}", loc="left", fontsize=8)
    norms = {one.name: [norms_of(lines) for lines in one.lines] for one in found.norms if one.lines}
    draw_norms(axes[1], norms)
    axes[1].set_title(f"B  {_title(found.data[1])}", loc="left", fontsize=8)
    for one in axes[2:columns]:
        one.set_axis_off()
    for place, (name, one_kept) in enumerate(kept.items()):
        own = axes[columns + place]
        draw_points(own, one_kept.projection, "tsne", legend=False)
        own.set_title(f"{'C  ' if place == 0 else ''}{name}", loc="left", fontsize=8)
        if place == 0:
            handles, labels = own.get_legend_handles_labels()
            legend_at = axes[2] if columns > 2 else own
            legend_at.legend(
                handles, labels, loc="lower left", frameon=False, fontsize=7, title="C"
            )
    for one in axes[columns + len(kept) :]:
        one.set_axis_off()
    save(figure, stem)


def _title(data: str) -> str:
    dataset, _, title = data.partition(": ")
    return title or dataset


def _without(found: FigureTable) -> str:
    """Return who has no auxiliary loss."""
    names = [one.name for one in found.cosines if one.lines and not one.cosines]
    return f"\n{', '.join(names)}: no auxiliary loss, so no cosine" if names else ""


def figure_section(found: FigureTable) -> dict[str, Any]:
    """Return the figure's panels for a page."""
    cosines = [one for one in found.cosines if one.cosines]
    histograms = []
    for one in cosines:
        counts = [0] * BINS
        for value in one.cosines:
            counts[min(BINS - 1, int((value + 1) / 2 * BINS))] += 1
        middles = [-1 + (2 * place + 1) / BINS for place in range(BINS)]
        shares = [count / len(one.cosines) for count in counts]
        histograms.append(Series(one.name, middles, shares))
    curves = []
    for one in found.norms:
        if one.lines:
            steps, means = mean_curve([norms_of(lines) for lines in one.lines])
            curves.append(Series(one.name, steps, means))
    charts = []
    for letter, text, series, label in (
        ("A", "share of sampled steps by cosine of task and auxiliary gradient", histograms, "cos"),
        ("B", "norm of the task's gradient, geometric mean over seeds", curves, "step"),
    ):
        if series:
            charts.append(
                {
                    "caption": f"{letter}: {text}",
                    "keys": [one.name for one in series],
                    "plot": line_chart(series, text, x_label=label),
                }
            )
    planes: list[dict[str, Any]] = []
    for place, (name, kept) in enumerate(found.parts.items()):
        if isinstance(kept, KeptProjection):
            plot = parts_plot(kept, f"fig4-{place}", ways=("tsne",))
            planes.append({"name": name, "plot": plot, "why": ""})
        else:
            planes.append({"name": name, "plot": Markup(""), "why": kept})
    return {"charts": charts, "planes": planes, "without": _without(found).strip()}
