"""Parts in the plane as inline SVG: shown and hidden, coloured by part or by class, by CSS alone.

A page may run no script (its policy forbids it), so the switches are inputs that style rules look
at: `.parts:has(.k0:not(:checked)) .g0` hides the first part. Each point tells its sample where a
pointer rests on it.
"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from markupsafe import Markup, escape

from ..plots import NUM_COLOURS
from .projection import Points
from .reading import KeptProjection

SIDE: Final = 320
_EDGE: Final = 8
MOST_POINTS: Final = 150
"""Of each part: more would hide each other, and make the page heavy."""
How = Literal["tsne", "pca"]
_NAMES: Final[dict[How, str]] = {"tsne": "t-SNE", "pca": "principal components"}


def parts_plot(kept: KeptProjection, key: str, *, ways: Sequence[How] = ("tsne", "pca")) -> Markup:
    """Return the plot with its switches.

    Args:
        kept: The points.
        key: Of this plot among those of the page: letters, digits and dashes.
        ways: Which projections; the first is shown at first.
    """
    points = kept.projection.points[:8]
    classes = sorted(set(kept.classes))
    has_classes = 1 < len(classes) <= NUM_COLOURS
    parts = ['<div class="parts"><p class="switches">']
    for number, one in enumerate(points):
        parts.append(
            f'<label><input type="checkbox" checked class="k{number}"> '
            f'<span class="key"><i class="s{number % NUM_COLOURS} {one.kind}"></i>'
            f"{escape(one.name)}</span></label> "
        )
    parts.append("</p>")
    groups = []
    if len(ways) > 1:
        groups.append(("way", [(f"way-{way}", _NAMES[way]) for way in ways]))
    if has_classes:
        groups.append(("by", [("by-part", "coloured by part"), ("by-class", "by class")]))
    for name, choices in groups:
        parts.append('<p class="switches">')
        for number, (kind, text) in enumerate(choices):
            checked = "" if number else " checked"
            parts.append(
                f'<label><input type="radio" name="{key}-{name}" class="{kind}"{checked}> '
                f"{escape(text)}</label> "
            )
        parts.append("</p>")
    if has_classes:
        parts.append('<p class="switches classes">')
        for number, name in enumerate(classes):
            swatch = f'<i class="s{number}"></i>'
            parts.append(f'<span class="key">{swatch}{escape(name)}</span> ')
        parts.append("</p>")
    told = "; ".join(f"{one.name}: {len(one.places)} samples" for one in points)
    parts.append(f'<svg role="img" aria-label="{escape(told)}" viewBox="0 0 {SIDE} {SIDE}">')
    colour = {name: number for number, name in enumerate(classes)} if has_classes else {}
    for way in ways:
        parts.append(f'<g class="{way}">')
        scale = _scale(points, way)
        for number, one in enumerate(points):
            parts.append(f'<g class="g{number} s{number % NUM_COLOURS}">')
            parts += _marks(one, getattr(one, way), scale, kept, colour)
            parts.append("</g>")
        parts.append("</g>")
    parts.append("</svg></div>")
    return Markup("".join(parts))


def _scale(points: Sequence[Points], way: How) -> tuple[float, float, float]:
    """Return left, top and extent of all points, as one square."""
    every = np.concatenate([getattr(one, way) for one in points])
    low, high = every.min(axis=0), every.max(axis=0)
    extent = float(max((high - low).max(), 1e-12))
    middle = (low + high) / 2
    return float(middle[0] - extent / 2), float(middle[1] - extent / 2), extent


def _marks(
    one: Points,
    places: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    scale: tuple[float, float, float],
    kept: KeptProjection,
    colour: dict[str, int],
) -> list[str]:
    rows = np.unique(np.linspace(0, len(places) - 1, min(MOST_POINTS, len(places))).astype(int))
    shape = "m-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0z"
    if one.kind == "specific":
        shape = "m-2.6,-2.6h5.2v5.2h-5.2z"
    found = []
    for row in rows.tolist():
        x, y = (
            _EDGE + (float(value) - start) / scale[2] * (SIDE - 2 * _EDGE)
            for value, start in zip(places[row], scale[:2], strict=True)
        )
        sample = int(one.places[row])
        told = kept.ids[sample] + (f", {kept.classes[sample]}" if kept.classes[sample] else "")
        of = colour.get(kept.classes[sample])
        own = "" if of is None else f' class="c{of}"'
        found.append(
            f'<path d="M{x:.1f},{SIDE - y:.1f}{shape}"{own}><title>{escape(told)}</title></path>'
        )
    return found
