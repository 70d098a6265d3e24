"""The missing-modality matrix of an evaluation, and its figures against missing rates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from scfae.train.figures import title
from scfae.train.plots import Series, line_chart

_CHARTS: Final = 4


@dataclass(frozen=True)
class Cell:
    """One figure of one condition.

    Attributes:
        value: The figure; None where it is undefined.
        interval: Its 95 % bootstrap interval, or None.
        share: Its place between the column's worst and best, 0 to 1; 0 where there is none.
    """

    value: float | None
    interval: tuple[float, float] | None
    share: float


@dataclass(frozen=True)
class Line:
    """One condition: a set of modalities that are there.

    Attributes:
        name: Of the condition.
        present: Whether each modality of the matrix is there; empty if they do not tell.
        cells: Its figures.
        n: Samples scored.
        excluded: Samples that have none of the modalities.
    """

    name: str
    present: tuple[bool, ...]
    cells: tuple[Cell, ...]
    n: int | None = None
    excluded: int = 0


@dataclass(frozen=True)
class Matrix:
    """Figures for every set of modalities.

    Attributes:
        modalities: Of the run, in its order.
        metrics: Names of the figures.
        lines: The conditions, all together last.
        baseline: What sees no features, on all together.
        split: Which samples.
        warnings: What belongs beside the figures.
    """

    modalities: tuple[str, ...]
    metrics: tuple[str, ...]
    lines: tuple[Line, ...]
    baseline: Line
    split: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class RateChart:
    """One figure against the share of samples from which modalities are missing.

    Attributes:
        metric: Its name.
        chart: SVG.
        lines: Names of its lines, in the order of their colours.
    """

    metric: str
    chart: Markup
    lines: tuple[str, ...]


def matrix_of(evaluation: Mapping[str, Any]) -> Matrix:
    """Return the matrix of an evaluation as `scfae evaluate` keeps it."""
    from scfae.train.tasks import LOWER_IS_BETTER  # torch comes with it

    metrics = tuple(evaluation["metrics"])
    modalities = tuple(evaluation["columns"])
    conditions: dict[str, Mapping[str, Any]] = evaluation["conditions"]
    majority: Mapping[str, Any] = evaluation["majority"]
    ends = {m: _ends([*conditions.values(), majority], m) for m in metrics}
    is_sets = all(set(name.split("+")) <= set(modalities) for name in conditions)

    def line(name: str, figures: Mapping[str, Any]) -> Line:
        present = tuple(m in name.split("+") for m in modalities) if is_sets else ()
        cells = tuple(
            _cell(figures, metric, ends[metric], is_inverse=metric in LOWER_IS_BETTER)
            for metric in metrics
        )
        return Line(name, present, cells, figures.get("n"), figures.get("excluded", 0))

    return Matrix(
        modalities=modalities,
        metrics=metrics,
        lines=tuple(line(name, figures) for name, figures in conditions.items()),
        baseline=line(evaluation["majority_name"], majority),
        split=evaluation["split"],
        warnings=(*evaluation["headline"][1:], *evaluation["notes"]),
    )


def rate_charts(evaluation: Mapping[str, Any]) -> list[RateChart]:
    """Return a chart of each figure against missing rates, with the baseline as a line."""
    by_what = evaluation["robustness"].get("missing_rates", {})
    if not by_what:
        return []
    charts = []
    for metric in evaluation["metrics"][:_CHARTS]:
        lines = []
        for what, by_rate in by_what.items():
            rates = sorted(by_rate, key=float)
            name = "every modality" if what == "all" else what
            values = [by_rate[rate].get(metric) for rate in rates]
            lines.append(Series(name, [float(rate) for rate in rates], values))
        base = evaluation["majority"].get(metric)
        if base is not None:
            across = lines[0].x
            lines.append(Series(evaluation["majority_name"], across, [base] * len(across)))
        chart = line_chart(lines, title(metric), x_label="rate")
        charts.append(RateChart(title(metric), chart, tuple(one.name for one in lines)))
    return charts


def _ends(rows: list[Mapping[str, Any]], metric: str) -> tuple[float, float]:
    told = [row[metric] for row in rows if row.get(metric) is not None]
    return (min(told), max(told)) if told else (0.0, 0.0)


def _cell(
    figures: Mapping[str, Any], metric: str, ends: tuple[float, float], *, is_inverse: bool
) -> Cell:
    value, (low, high) = figures.get(metric), ends
    share = 0.0
    if value is not None and high > low:
        share = (value - low) / (high - low)
        share = 1 - share if is_inverse else share
    interval = figures.get(f"{metric}_ci95")
    return Cell(value, None if interval is None else (interval[0], interval[1]), round(share, 3))
