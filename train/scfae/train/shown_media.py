"""Media of samples as a page shows them: small pictures and waves inside the page, texts, notes.

Shapes: B bins of sound.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from scfae.extract.glimpse import Glimpse, Part, Wanted, glimpses

from .runs import RunFolder
from .sample_media import KINDS, SampleMedia, find_media, is_inline

PAGE_BYTES: Final = 1_200_000
"""Characters that the pictures of one page take together, at most."""

VIEWS: Final[dict[str, tuple[tuple[str, ...], tuple[Part, ...]]]] = {
    "video": (("video",), ("frames", "wave")),
    "audio": (("audio",), ("wave",)),
    "image": (("image",), ("frames",)),
    "text": (("text",), ("text",)),
    "sight": (("video", "image"), ("frames",)),
    "sound": (("audio", "video"), ("wave",)),
    "still": (("image", "video"), ("frames",)),
}
"""Each the first kind of media that a sample has, and what is shown of it."""
_QUALITY: Final = 72
_WAVE_HEIGHT: Final = 40


@dataclass(frozen=True, slots=True)
class Asked:
    """A sample to show.

    Attributes:
        id: Its id.
        views: What to show, of `VIEWS`.
        num_frames: Pictures of a video.
    """

    id: str
    views: tuple[str, ...] = KINDS
    num_frames: int = 6


@dataclass(slots=True)
class Shown:
    """What a page shows of a sample.

    Attributes:
        pictures: Each with `src`, `alt`, `width`, `height` and `caption`.
        waves: Each with `plot` and `caption`.
        texts: Beginnings of its texts.
        notes: What cannot be shown, and why.
    """

    pictures: list[dict[str, Any]] = field(default_factory=list)
    waves: list[dict[str, Any]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def show_media(
    run: RunFolder, asked: Sequence[Asked], *, root: Path | None = None
) -> tuple[list[Shown], list[str]]:
    """Return what a page shows of samples, in order, and what is to be said of all of them.

    Each file is decoded once, in a child process, with a limit on its time and on that of all.

    Args:
        run: The run.
        asked: Samples; one may be there several times.
        root: What media references are relative to; None looks for it.

    Raises:
        ConfigError: If `root` is no folder.
    """
    if not asked:
        return [], []
    found = find_media(run, (one.id for one in asked), root)
    orders: dict[tuple[str, str, int], Wanted] = {}
    for one in asked:
        for view in one.views:
            kind = _kind(found.samples.get(one.id), view)
            if kind is not None:
                source = found.samples[one.id].sources[kind]
                orders[one.id, view, one.num_frames] = Wanted(
                    source, VIEWS[view][1], one.num_frames
                )
    seen = dict(zip(orders, glimpses(list(orders.values())), strict=True))
    budget = _Budget()
    shown = []
    for one in asked:
        page = Shown()
        sample = found.samples.get(one.id)
        for view in one.views:
            glimpse, kind = seen.get((one.id, view, one.num_frames)), _kind(sample, view)
            if glimpse is None or sample is None or kind is None:
                continue
            _add(page, kind, glimpse, budget)
            known = sample.sha256s.get(kind)
            if known and glimpse.sha256 and glimpse.sha256 not in known:
                page.notes.append(f"{kind}: not the file that the features were made of")
            if glimpse.reasons and not is_inline(sample.sources[kind]):
                page.notes += [
                    f"{kind}: {reason}"
                    for reason in dict.fromkeys(glimpse.reasons.values())
                    if reason != "no audio stream"
                ]
        if found.note is None and not any(_kind(sample, view) for view in one.views):
            page.notes.append("The store names no such media of this sample.")
        shown.append(page)
    notes = [] if found.note is None else [found.note]
    if budget.left_out:
        notes.append(
            f"{budget.left_out} pictures were left out: a page holds {PAGE_BYTES / 1e6:g} MB of "
            "them."
        )
    return shown, notes


def _kind(sample: SampleMedia | None, view: str) -> str | None:
    """Return the kind of media that a view shows of a sample; None where it has none such."""
    there = {} if sample is None else sample.sources
    return next((kind for kind in VIEWS[view][0] if kind in there), None)


def waveform(wave: npt.NDArray[np.float32], told: str) -> Markup:
    """Return the extremes of sound `[B, 2]` as a filled shape, as wide as the page lets it be.

    The loudest sample is full height.

    Args:
        wave: Lowest and highest sample of each bin.
        told: The alternative text.
    """
    loudest = float(np.abs(wave).max()) or 1.0
    middle = _WAVE_HEIGHT / 2
    # At least a hair's breadth, so that silence is a line.
    highs = middle - np.maximum(wave[:, 1] / loudest, 0.02) * (middle - 1)
    lows = middle - np.minimum(wave[:, 0] / loudest, -0.02) * (middle - 1)
    there = [f"{x},{y:.0f}" for x, y in enumerate(highs)]
    back = [f"{x},{y:.0f}" for x, y in reversed(list(enumerate(lows)))]
    return Markup(
        f'<svg role="img" aria-label="{escape(told)}" class="wave" preserveAspectRatio="none" '
        f'viewBox="0 0 {max(1, len(wave) - 1)} {_WAVE_HEIGHT}">'
        f'<polygon class="fill s0" points="{" ".join(there + back)}"/></svg>'
    )


def data_uri(pixels: npt.NDArray[np.uint8]) -> str:
    """Return a picture `[H, W, 3]` as the data URI of a JPEG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


@dataclass(slots=True)
class _Budget:
    """Characters of pictures that a page still takes; one that is there twice counts twice."""

    left: int = PAGE_BYTES
    left_out: int = 0

    def take(self, uri: str) -> bool:
        if len(uri) > self.left:
            self.left_out += 1
            return False
        self.left -= len(uri)
        return True


def _add(page: Shown, kind: str, glimpse: Glimpse, budget: _Budget) -> None:
    for pixels, start_s in glimpse.frames:
        uri = data_uri(pixels)
        if not budget.take(uri):
            continue
        is_still = kind == "image"
        page.pictures.append(
            {
                "src": uri,
                "alt": "the image" if is_still else f"frame at {start_s:.2f} s",
                "width": pixels.shape[1],
                "height": pixels.shape[0],
                "caption": "" if is_still else f"{start_s:.2f} s",
            }
        )
    if glimpse.wave is not None:
        start, end = glimpse.wave_span_s
        loudest = float(np.abs(glimpse.wave).max())
        caption = f"sound, {start:.2f} to {end:.2f} s, loudest {loudest:.2f} of 1"
        page.waves.append({"plot": waveform(glimpse.wave, caption), "caption": caption})
    if glimpse.text is not None:
        page.texts.append("".join(c if c.isprintable() or c == "\n" else " " for c in glimpse.text))


def as_page(shown: Shown | None = None) -> Mapping[str, Any]:
    """Return it as the templates take it; nothing to show by default."""
    shown = shown or Shown()
    return {
        "pictures": shown.pictures,
        "waves": shown.waves,
        "texts": shown.texts,
        "notes": shown.notes,
    }
