"""Small pictures of a store: histograms, what is there, and features as a heat map.

Shapes: B bins, T rows, D features.
"""

import base64
import io
from collections.abc import Sequence
from itertools import groupby
from typing import Final

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape
from PIL import Image

from .. import words
from ..store_media import Wave
from ..store_sample import FeatureMap
from ..summary_views import Histogram, PresenceMap

_BARS: Final = (180, 36)
_ROW: Final = 18
_WAVE: Final = 48
# From dark to light, even in lightness, and told apart by the colour-blind (cividis, by eye).
_SCALE: Final = np.array(
    [(0, 32, 77), (45, 64, 107), (87, 93, 109), (124, 123, 120), (166, 157, 117), (253, 234, 69)],
    dtype=np.float64,
)


def histogram(found: Histogram | None, label: str) -> Markup:
    """Return a histogram as a picture; nothing of none, or of a single value."""
    if found is None or len(found.counts) == 1:
        return Markup("")
    width, height = _BARS
    most = max(found.counts) or 1
    across = width / len(found.counts)
    bars = "".join(
        f'<rect x="{i * across:.2f}" y="{height - count / most * height:.2f}" '
        f'width="{max(across - 0.6, 0.6):.2f}" height="{count / most * height:.2f}"/>'
        for i, count in enumerate(found.counts)
        if count
    )
    low, high = (words.figure(_whole(edge)) for edge in _ends(found))
    told = f"{label}: from {low} to {high}, at most {words.figure(most)} in a bin"
    return Markup(
        f'<svg class="bars-of" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(told)}"><title>{escape(told)}</title>{bars}</svg>'
    )


def ends(found: Histogram) -> str:
    """Return from where to where a histogram goes."""
    low, high = (words.figure(_whole(edge)) for edge in _ends(found))
    return low if low == high else f"{low} to {high}"


def presence(found: PresenceMap, name: str) -> Markup:
    """Return which samples have rows in a column, as a strip over the store."""
    shares = found.shares[name]
    total = found.edges[-1] or 1
    bars = []
    place = 0
    # Equal neighbours are one: a column that is whole is a single bar.
    for share, run in groupby(shares):
        count = len(list(run))
        left, right = (1000 * found.edges[at] / total for at in (place, place + count))
        place += count
        bars.append(
            f'<rect x="{left:.2f}" width="{right - left + 0.3:.2f}" height="{_ROW}" '
            f'fill-opacity="{share:.3g}"/>'
        )
    mean = sum(
        share * (end - begin)
        for share, begin, end in zip(shares, found.edges[:-1], found.edges[1:], strict=True)
    )
    told = f"{name}: {words.percent(mean / total)} of the samples have rows"
    return Markup(
        f'<svg class="strip" viewBox="0 0 1000 {_ROW}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(told)}"><title>{escape(told)}</title>{"".join(bars)}</svg>'
    )


def waveform(wave: Wave) -> Markup:
    """Return the shape of a sound, as wide as the page lets it be."""
    bins = np.array(wave.bins)
    loudest = float(np.abs(bins).max()) or 1.0
    middle = _WAVE / 2
    # At least a hair's breadth, so that silence is a line.
    highs = middle - np.maximum(bins[:, 1] / loudest, 0.02) * (middle - 1)
    lows = middle - np.minimum(bins[:, 0] / loudest, -0.02) * (middle - 1)
    there = [f"{x},{y:.1f}" for x, y in enumerate(highs)]
    back = [f"{x},{y:.1f}" for x, y in reversed(list(enumerate(lows)))]
    told = f"sound from {wave.start_s:.2f} to {wave.end_s:.2f} s, loudest {loudest:.2f} of 1"
    return Markup(
        f'<svg class="wave" viewBox="0 0 {max(1, len(bins) - 1)} {_WAVE}" '
        f'preserveAspectRatio="none" role="img" aria-label="{told}">'
        f'<polygon points="{" ".join(there + back)}"/></svg>'
    )


def picture(found: FeatureMap) -> str:
    """Return a map of features as the data URI of a PNG: time to the right, features downwards."""
    values = np.array([[np.nan if one is None else one for one in row] for row in found.values]).T
    span = (found.high - found.low) or 1.0
    share = np.clip((values - found.low) / span, 0, 1) * (len(_SCALE) - 1)
    is_known = np.isfinite(share)
    pixels = np.stack(
        [np.interp(share, np.arange(len(_SCALE)), _SCALE[:, k]) for k in range(3)], axis=-1
    )
    alpha = np.where(is_known, 255.0, 0.0)[..., None]
    return _png(np.concatenate([np.nan_to_num(pixels), alpha], axis=-1).round().astype(np.uint8))


def scale() -> str:
    """Return the colours of a map from its lowest to its highest value, as a gradient of CSS."""
    stops = ", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in _SCALE.tolist())
    return f"linear-gradient(to right, {stops})"


def line(values: Sequence[float], *, width: int = 120, height: int = 24) -> str:
    """Return shares from 0 to 1 as the points of an SVG polyline; empty for less than two."""
    if len(values) < 2:
        return ""
    across = width / (len(values) - 1)
    return " ".join(
        f"{i * across:.1f},{height - 1 - value * (height - 2):.1f}"
        for i, value in enumerate(values)
    )


def _png(pixels: npt.NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _ends(found: Histogram) -> tuple[float, float]:
    first, last = found.edges[0], found.edges[-1]
    # Bins of whole numbers lie around them.
    is_whole = first % 1 == 0.5
    return (first + 0.5, last - 0.5) if is_whole else (first, last)


def _whole(value: float) -> float | int:
    return int(value) if value == int(value) else value
