"""Plots as inline SVG: text stays text, colours come from the page, nothing is fetched.

Drawn by hand because the page's light and dark colours, its fonts and its width must reach into
the plot, which a rendered figure does not allow. Colours are CSS classes `s0` .. `s5`, defined in
`templates/style.css`; horizontal places are percentages where the plot must fit a narrow screen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

NUM_COLOURS = 6
MAX_POINTS = 300  # of a line; more would not be seen, and would make the page heavy

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 30
ROW = 22  # height of one interval, px
PADDING = 3.0  # percent kept free at both sides of an interval plot


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart: its name and its points; points that are not finite leave a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Interval:
    """One row of an interval plot.

    Attributes:
        name: Of the run or condition, for the alternative text.
        value: The point; None draws nothing.
        low: Lower end, or None.
        high: Upper end, or None.
        colour: Index of the colour, 0 .. 5.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    colour: int = 0


def line_chart(
    series: Sequence[Series], title: str, *, x_label: str, marks: Sequence[float] = ()
) -> Markup:
    """Return a line chart of the series, with vertical dashes at `marks` (resumed runs).

    Args:
        series: At most six keep colours of their own.
        title: For the alternative text; the caption belongs to the page.
        x_label: What x counts, e.g. epoch; left of its numbers, so a short word.
        marks: Places on x.
    """
    points = [_finite(line) for line in series]
    xs = [x for line in points for x, _ in line]
    ys = [y for line in points for _, y in line]
    if not xs:
        return Markup('<p class="quiet">no points yet</p>')
    x_ticks = ticks(min(xs), max(xs), 5)
    y_ticks = ticks(min(ys), max(ys), 4)
    x_range = _widened(min(xs), max(xs))
    y_range = _widened(min(y_ticks[0], *ys), max(y_ticks[-1], *ys))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_range[0]) / (x_range[1] - x_range[0])
        up = (y - y_range[0]) / (y_range[1] - y_range[0])
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    ends = "; ".join(
        f"{line.name}: {number(kept[0][1])} to {number(kept[-1][1])}"
        for line, kept in zip(series, points, strict=True)
        if kept
    )
    parts = [_open(f"{title}, by {x_label}. {ends}", f'viewBox="0 0 {WIDTH} {HEIGHT}"')]
    for y in y_ticks:
        _, top = place(x_range[0], y)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top:.1f}" ')
        parts.append(f'y2="{top:.1f}"/><text x="{LEFT - 6}" y="{top + 4:.1f}" ')
        parts.append(f'text-anchor="end">{number(y)}</text>')
    for x in x_ticks:
        if x_range[0] <= x <= x_range[1]:
            left, _ = place(x, y_range[0])
            parts.append(f'<text x="{left:.1f}" y="{HEIGHT - BOTTOM + 16}" ')
            parts.append(f'text-anchor="middle">{number(x)}</text>')
    # Clear of the first number, which stands in the middle of its place.
    parts.append(f'<text x="{LEFT - 11}" y="{HEIGHT - BOTTOM + 16}" text-anchor="end">')
    parts.append(f"{escape(x_label)}</text>")
    for mark in marks:
        left, _ = place(min(max(mark, x_range[0]), x_range[1]), y_range[0])
        parts.append(f'<line class="mark" x1="{left:.1f}" x2="{left:.1f}" y1="{TOP}" ')
        parts.append(f'y2="{HEIGHT - BOTTOM}"><title>resumed here</title></line>')
    for index, kept in enumerate(points):
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in _thin(kept))
        colour = f"s{index % NUM_COLOURS}"
        if len(kept) == 1:
            left, top = place(*kept[0])
            parts.append(f'<circle class="dot {colour}" cx="{left:.1f}" cy="{top:.1f}" r="3"/>')
        elif kept:
            parts.append(f'<polyline class="line {colour}" points="{path}"/>')
    parts.append("</svg>")
    return Markup("".join(parts))


def _widened(low: float, high: float) -> tuple[float, float]:
    """Return a range that is not empty, however large the only number in it is."""
    if high > low:
        return low, high
    margin = max(0.5, abs(low) / 100)
    return low - margin, high + margin


def interval_plot(
    rows: Sequence[Interval], scale: tuple[float, float], *, reference: float | None = None
) -> Markup:
    """Return dots with error bars, one a row, as wide as the page lets it be.

    Args:
        rows: From top to bottom.
        scale: Values at the left and right end.
        reference: Where the dashed line of the baseline stands.
    """
    height = ROW * len(rows)
    told = "; ".join(f"{row.name}: {_spoken(row)}" for row in rows)
    if reference is not None:
        told += f"; dashed line: majority class, {number(reference)}"
    parts = [_open(told, f'width="100%" height="{height}" class="intervals"')]
    if reference is not None:
        x = _percent(reference, scale)
        parts.append(f'<line class="mark" x1="{x}" x2="{x}" y1="0" y2="{height}"/>')
    for index, row in enumerate(rows):
        if row.value is None:
            continue
        y = ROW * index + ROW // 2
        colour = f"s{row.colour % NUM_COLOURS}"
        if row.low is not None and row.high is not None:
            low, high = _percent(row.low, scale), _percent(row.high, scale)
            parts.append(f'<line class="bar {colour}" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>')
        x = _percent(row.value, scale)
        parts.append(f'<circle class="dot {colour}" cx="{x}" cy="{y}" r="4.5"/>')
    parts.append("</svg>")
    return Markup("".join(parts))


def interval_axis(scale: tuple[float, float]) -> Markup:
    """Return the numbers under interval plots of that scale; the plots' text has its values."""
    parts = ['<svg width="100%" height="18" class="intervals" aria-hidden="true">']
    for value in ticks(*scale, 5):
        if scale[0] <= value <= scale[1]:
            parts.append(f'<text x="{_percent(value, scale)}" y="13" ')
            parts.append(f'text-anchor="middle">{number(value)}</text>')
    parts.append("</svg>")
    return Markup("".join(parts))


def interval_scale(values: Sequence[float | None]) -> tuple[float, float]:
    """Return a scale that holds all values: 0 to 1, narrower if all are high, wider if need be."""
    known = [value for value in values if value is not None]
    lowest = min(known, default=0.0)
    low = 0.0 if 0 <= lowest < 0.5 else math.floor(lowest * 20 - 0.5) / 20
    return low, max(1.0, math.ceil(max(known, default=0.0) * 20) / 20)


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return round numbers, 1, 2 or 5 times a power of ten apart, that cover low to high."""
    if high <= low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def number(value: float) -> str:
    """Return a number for an axis: short, never in more digits than it needs."""
    if value == 0:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e5:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.4g}"


def _finite(line: Series) -> list[tuple[float, float]]:
    return [
        (float(x), float(y))
        for x, y in zip(line.x, line.y, strict=True)
        if y is not None and math.isfinite(y) and math.isfinite(x)
    ]


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most MAX_POINTS points: means of runs of neighbours; the ends stay."""
    if len(points) <= MAX_POINTS:
        return points
    size = math.ceil(len(points) / MAX_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    means = [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    ]
    return [points[0], *means[1:-1], points[-1]]


def _percent(value: float, scale: tuple[float, float]) -> str:
    share = (value - scale[0]) / (scale[1] - scale[0])
    return f"{PADDING + min(max(share, 0.0), 1.0) * (100 - 2 * PADDING):.2f}%"


def _spoken(row: Interval) -> str:
    if row.value is None:
        return "undefined"
    if row.low is None or row.high is None:
        return f"{row.value:.3f}"
    return f"{row.value:.3f}, 95 % interval {row.low:.3f} to {row.high:.3f}"


def _open(label: str, attributes: str) -> str:
    text = escape(label)
    return f'<svg role="img" aria-label="{text}" {attributes}>'
