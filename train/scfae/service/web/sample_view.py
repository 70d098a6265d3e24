"""A sample as its page shows it: everything on one axis of time."""

from dataclasses import dataclass

from markupsafe import Markup

from ..store_media import MediaViewer, Medium
from ..store_sample import SampleColumn, SampleFeatures, sample
from ..store_search import place_of
from ..stores import OpenStore
from . import shapes

_TICKS = 5


@dataclass(frozen=True)
class Track:
    """A medium or a column over time.

    Attributes:
        title: What it is.
        about: Facts about it.
        left: Where it begins on the axis, in percent.
        width: How much of the axis it takes.
        is_timed: Whether it has times; else it takes the whole of the axis.
        src: A picture of its features, as a data URI.
        drawing: The shape of its sound.
        low: Lowest value of the picture.
        high: Highest value of it.
        error: Why there is nothing to see.
    """

    title: str
    about: str = ""
    left: float = 0.0
    width: float = 100.0
    is_timed: bool = False
    src: str = ""
    drawing: Markup | None = None
    low: float = 0.0
    high: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class SampleView:
    """A sample.

    Attributes:
        sample: It and its columns.
        media: What it looks and sounds like.
        tracks: Sounds and columns, on one axis.
        start_s: Where the axis begins, in seconds.
        end_s: Where it ends; as `start_s` if nothing has times.
        ticks: Marks on the axis: percent and seconds.
        gradient: The colours of the pictures, from low to high.
    """

    sample: SampleFeatures
    media: tuple[Medium, ...]
    tracks: tuple[Track, ...]
    start_s: float
    end_s: float
    ticks: tuple[tuple[float, float], ...]
    gradient: str


def sample_view(opened: OpenStore, viewer: MediaViewer, key: str) -> SampleView:
    """Return what the page of a sample shows.

    Raises:
        UnknownColumn: The store has no such sample.
    """
    found = sample(opened, key)
    media = viewer.media(opened, place_of(opened, key), found.media) if found.media else ()
    spans = [span for span in map(_span, found.columns) if span is not None]
    spans += [(one.wave.start_s, one.wave.end_s) for one in media if one.wave is not None]
    spans += [(one.frames[0].time_s, one.frames[-1].time_s) for one in media if one.frames]
    start_s = min((start for start, _ in spans), default=0.0)
    end_s = max((end for _, end in spans), default=0.0)
    length_s = end_s - start_s
    ticks = tuple((100.0 * i / _TICKS, start_s + length_s * i / _TICKS) for i in range(_TICKS + 1))
    sounds = [_sound(one, start_s, length_s) for one in media if one.wave is not None]
    columns = [_column(one, start_s, length_s) for one in found.columns]
    return SampleView(
        sample=found,
        media=media,
        tracks=(*sounds, *columns),
        start_s=start_s,
        end_s=end_s,
        ticks=ticks if length_s > 0 else (),
        gradient=shapes.scale(),
    )


def _span(column: SampleColumn) -> tuple[float, float] | None:
    """Return from when to when a column has rows, if they have times."""
    if column.map is None:
        return None
    start, end = column.map.starts_s[0], column.map.ends_s[-1]
    return None if start is None or end is None or end <= start else (start, end)


def _sound(one: Medium, start_s: float, length_s: float) -> Track:
    assert one.wave is not None
    left, width = _place((one.wave.start_s, one.wave.end_s), start_s, length_s)
    return Track(
        title=f"sound of the {one.kind}" if one.kind == "video" else "sound",
        about=f"{one.wave.end_s - one.wave.start_s:.2f} s",
        left=left,
        width=width,
        is_timed=True,
        drawing=shapes.waveform(one.wave),
    )


def _column(one: SampleColumn, start_s: float, length_s: float) -> Track:
    rows = f"{one.num_rows:,} rows" if one.num_rows != 1 else "1 row"
    about = f"{rows} of {one.dim} features"
    if one.encoder != one.name:
        about = f"{one.encoder} · {about}"
    if one.map is None:
        why = one.error or one.reason or one.status
        return Track(title=one.name, about=about, error=why)
    span = _span(one)
    left, width = (0.0, 100.0) if span is None else _place(span, start_s, length_s)
    if one.status != "ok":
        about += f" · {one.status}: {one.reason}"
    return Track(
        title=one.name,
        about=about,
        left=left,
        width=width,
        is_timed=span is not None,
        src=shapes.picture(one.map),
        low=one.map.low,
        high=one.map.high,
    )


def _place(span: tuple[float, float], start_s: float, length_s: float) -> tuple[float, float]:
    if length_s <= 0:
        return 0.0, 100.0
    return 100 * (span[0] - start_s) / length_s, 100 * (span[1] - span[0]) / length_s
