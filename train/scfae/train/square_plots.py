"""Square plots as inline SVG: curves over [0, 1], points beside a diagonal, bars of a histogram.

As in `plots`: text stays text, colours are the page's classes `s0` .. `s5`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from markupsafe import Markup, escape

from .metrics import Floats
from .plots import NUM_COLOURS, number, ticks

SIDE: Final = 300
LEFT: Final = 44
TOP: Final = 10
BOTTOM: Final = 38
_INNER: Final = SIDE - LEFT - 10
_HEIGHT: Final = TOP + _INNER + BOTTOM
MAX_DOTS: Final = 500


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One curve over [0, 1].

    Attributes:
        x: Rising.
        y: Of each x.
        colour: Index of the colour; None is thin and grey.
        is_step: y holds from the x before, as precision does over recall.
    """

    x: Floats
    y: Floats
    colour: int | None
    is_step: bool = False


def unit_square(
    lines: Sequence[Line], told: str, *, x_label: str, y_label: str, chance: float | None = None
) -> Markup:
    """Return curves in the unit square.

    Args:
        lines: The first is drawn last, on top.
        told: The alternative text.
        x_label: What x is.
        y_label: What y is.
        chance: Height of the dashed line; None is the diagonal.
    """
    parts = [*_frame(told, (0.0, 1.0), (0.0, 1.0), x_label, y_label)]
    ends = ((0.0, 0.0), (1.0, 1.0)) if chance is None else ((0.0, chance), (1.0, chance))
    parts.append(_segment(*ends))
    for line in reversed(lines):
        x, y = line.x, line.y
        if line.is_step:
            x, y = np.repeat(x, 2)[:-1], np.repeat(y, 2)[1:]
        path = " ".join(
            f"{LEFT + a * _INNER:.1f},{TOP + (1 - b) * _INNER:.1f}"
            for a, b in zip(x, y, strict=True)
        )
        colour = "thin" if line.colour is None else f"s{line.colour % NUM_COLOURS}"
        parts.append(f'<polyline class="line {colour}" points="{path}"/>')
    return Markup("".join([*parts, "</svg>"]))


def scatter(x: Floats, y: Floats, told: str, *, x_label: str, y_label: str) -> Markup:
    """Return points on equal axes with the line y = x.

    Args:
        x: At most `MAX_DOTS`.
        y: Of each x.
        told: The alternative text.
        x_label: What x is.
        y_label: What y is.
    """
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    marks = ticks(low, high, 4)
    span = (marks[0], marks[-1]) if len(marks) > 1 else (low - 0.5, low + 0.5)
    parts = [*_frame(told, span, span, x_label, y_label)]
    parts.append(_segment((0.0, 0.0), (1.0, 1.0)))
    width = span[1] - span[0]
    for a, b in zip((x - span[0]) / width, (y - span[0]) / width, strict=True):
        parts.append(f'<circle class="dot s0 faint" cx="{LEFT + a * _INNER:.1f}" ')
        parts.append(f'cy="{TOP + (1 - b) * _INNER:.1f}" r="3"/>')
    return Markup("".join([*parts, "</svg>"]))


def histogram(values: Floats, told: str, *, x_label: str, bins: int = 24) -> Markup:
    """Return how many values lie where, with a dashed line at 0.

    Args:
        values: Finite, at least one.
        told: The alternative text.
        x_label: What they are.
        bins: Bars.
    """
    far = float(np.abs(values).max()) or 0.5
    counts, edges = np.histogram(values, bins=bins, range=(-far, far))
    high = ticks(0.0, float(counts.max()), 3)[-1]
    parts = [*_frame(told, (-far, far), (0.0, high), x_label, "samples")]
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            a, b = ((one + far) / (2 * far) * _INNER for one in (left, right))
            tall = count / high * _INNER
            parts.append(f'<rect class="fill s0" x="{LEFT + a:.1f}" width="{b - a - 0.6:.1f}" ')
            parts.append(f'y="{TOP + _INNER - tall:.1f}" height="{tall:.1f}"/>')
    parts.append(_segment((0.5, 0.0), (0.5, 1.0)))
    return Markup("".join([*parts, "</svg>"]))


def _frame(
    told: str, across: tuple[float, float], up: tuple[float, float], x_label: str, y_label: str
) -> list[str]:
    parts = [f'<svg role="img" aria-label="{escape(told)}" viewBox="0 0 {SIDE} {_HEIGHT}">']
    for value in ticks(*up, 6):
        share = (value - up[0]) / (up[1] - up[0])
        if -1e-9 <= share <= 1 + 1e-9:
            y = TOP + (1 - share) * _INNER
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{LEFT + _INNER}" y1="{y:.1f}" ')
            parts.append(f'y2="{y:.1f}"/><text x="{LEFT - 6}" y="{y + 4:.1f}" ')
            parts.append(f'text-anchor="end">{number(round(value, 9))}</text>')
    for value in ticks(*across, 6):
        share = (value - across[0]) / (across[1] - across[0])
        if -1e-9 <= share <= 1 + 1e-9:
            parts.append(f'<text x="{LEFT + share * _INNER:.1f}" y="{TOP + _INNER + 16}" ')
            parts.append(f'text-anchor="middle">{number(round(value, 9))}</text>')
    parts.append(f'<text x="{LEFT + _INNER / 2:.0f}" y="{TOP + _INNER + 33}" ')
    parts.append(f'text-anchor="middle">{escape(x_label)}</text>')
    parts.append(f'<text transform="translate(11 {TOP + _INNER / 2:.0f}) rotate(-90)" ')
    parts.append(f'text-anchor="middle">{escape(y_label)}</text>')
    return parts


def _segment(start: tuple[float, float], end: tuple[float, float]) -> str:
    (a, b), (c, d) = start, end
    return (
        f'<line class="mark" x1="{LEFT + a * _INNER:.1f}" y1="{TOP + (1 - b) * _INNER:.1f}" '
        f'x2="{LEFT + c * _INNER:.1f}" y2="{TOP + (1 - d) * _INNER:.1f}"/>'
    )
