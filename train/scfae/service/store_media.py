"""The media of a sample for people: pictures, the shape of its sound, its text.

A store holds references that someone wrote into a manifest, so they are followed to files under a
media root only, links included; what a file holds is decoded in a child process with limits on time
and memory, and by few requests at a time.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from scfae.extract.glimpse import Glimpse, Part, Wanted, glimpses
from scfae.extract.texts import InlineText, MediaSource, text_source
from scfae.store import Column
from scfae.store.config import Frozen
from scfae.store.errors import ConfigError, ScfaeError
from scfae.train.sample_media import is_encoded, kinds_read
from scfae.train.shown_media import data_uri

from .roots import Roots
from .stores import OpenStore

PARTS: Final[dict[str, tuple[Part, ...]]] = {
    "video": ("frames", "wave"),
    "audio": ("wave",),
    "image": ("frames",),
    "text": ("text",),
}
NUM_FRAMES: Final = 8
SIDE_PIXELS: Final = 192
WAVE_BINS: Final = 400
TIMEOUT_S: Final = 10.0
MAX_CHARS: Final = 4000
_MOST_FOLDERS: Final = 100
_MOST_KEPT: Final = 32
_AT_A_TIME: Final = 2
_WAIT_S: Final = 20.0


class Picture(Frozen):
    """A picture of a video, or an image.

    Attributes:
        src: The picture itself, as a data URI.
        time_s: When it is first shown, in seconds.
        width: In pixels.
        height: In pixels.
    """

    src: str
    time_s: float
    width: int
    height: int


class Wave(Frozen):
    """The shape of a sound.

    Attributes:
        bins: Lowest and highest sample of each bin, of -1 to 1.
        start_s: When it starts, in seconds.
        end_s: When it ends.
    """

    bins: tuple[tuple[float, float], ...]
    start_s: float
    end_s: float


class Medium(Frozen):
    """What there is to see of one of a sample's media.

    Attributes:
        kind: video, audio, image or text.
        reference: As the manifest had it; the text itself is only in `text`.
        frames: Pictures.
        wave: Its sound.
        text: Its beginning.
        notes: What cannot be shown, and why; or that it is another file than was encoded.
    """

    kind: str
    reference: str | None
    frames: tuple[Picture, ...] = ()
    wave: Wave | None = None
    text: str | None = None
    notes: tuple[str, ...] = ()


class MediaViewer:
    """Decodes media of samples and keeps what was looked at last.

    Args:
        roots: Of the service.
    """

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._free = threading.BoundedSemaphore(_AT_A_TIME)
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], Glimpse] = OrderedDict()

    def media(
        self, opened: OpenStore, place: int, references: Mapping[str, str]
    ) -> tuple[Medium, ...]:
        """Return what there is to see of a sample.

        Args:
            opened: The store.
            place: Of the sample in it.
            references: By kind of media, as the store has them.
        """
        found = []
        known = _digests(opened, place, references)
        for kind, reference in references.items():
            source = source_of(kind, reference, self._roots, opened.path)
            if source is None:
                note = "not under a media root of this service, or not there"
                found.append(Medium(kind=kind, reference=reference, notes=(note,)))
                continue
            glimpse = self._glimpse(source, PARTS[kind])
            if glimpse is None:
                note = "others are being decoded; try again"
                found.append(Medium(kind=kind, reference=reference, notes=(note,)))
                continue
            shown = None if isinstance(source, InlineText) else reference
            found.append(_medium(kind, shown, glimpse, known.get(kind, frozenset())))
        return tuple(found)

    def _glimpse(self, source: MediaSource, parts: tuple[Part, ...]) -> Glimpse | None:
        key = _key(source, parts)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        if not self._free.acquire(timeout=_WAIT_S):
            return None
        try:
            wanted = Wanted(source, parts, NUM_FRAMES)
            (glimpse,) = glimpses(
                [wanted],
                side=SIDE_PIXELS,
                bins=WAVE_BINS,
                max_chars=MAX_CHARS,
                timeout_s=TIMEOUT_S,
            )
        finally:
            self._free.release()
        with self._lock:
            self._kept[key] = glimpse
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return glimpse


def source_of(kind: str, reference: str, roots: Roots, store: Path) -> MediaSource | None:
    """Return the file or text that a reference stands for; None if it may not be read.

    References are relative to a manifest whose place a store does not know: they are looked for in
    the roots, beside the store, and in the folders of both.

    Args:
        kind: Of the media.
        reference: As the manifest had it.
        roots: Of the service; only what lies under its media roots is read.
        store: Folder of the store.
    """
    if kind == "text" and ("\n" in reference or len(reference) > 1000):
        return InlineText(reference)
    for folder in _folders(roots, store):
        try:
            # Twice joined: a reference may be absolute, and must lie under a root all the same.
            path = Path(roots.media_path(str(folder / reference)))
            if path.is_file():
                return path
        except (ConfigError, OSError, ValueError):
            continue  # outside, or no name at all
    if kind != "text":
        return None
    meant = text_source(Path("/nowhere"), reference)
    return meant if isinstance(meant, InlineText) else None


def _folders(roots: Roots, store: Path) -> list[Path]:
    tops = [*(Path(root).resolve() for root in roots.media), store.parent]
    inside: list[Path] = []
    for top in tops:
        try:
            inside += sorted(one for one in top.iterdir() if one.is_dir())[:_MOST_FOLDERS]
        except OSError:
            continue
    return [*tops, *inside]


def _key(source: MediaSource, parts: tuple[Part, ...]) -> tuple[str, ...]:
    if isinstance(source, InlineText):
        return ("text", source.text, *parts)
    status = source.stat()
    return (str(source), str(status.st_mtime_ns), str(status.st_size), *parts)


def _medium(kind: str, reference: str | None, glimpse: Glimpse, known: frozenset[str]) -> Medium:
    notes = [f"{part}: {why}" for part, why in glimpse.reasons.items() if why != "no audio stream"]
    if known and glimpse.sha256 and glimpse.sha256 not in known:
        notes.append("not the file that the features were made of")
    start_s, end_s = glimpse.wave_span_s
    return Medium(
        kind=kind,
        reference=reference,
        frames=tuple(
            Picture(
                src=data_uri(pixels), time_s=time_s, width=pixels.shape[1], height=pixels.shape[0]
            )
            for pixels, time_s in glimpse.frames
        ),
        wave=None
        if glimpse.wave is None
        else Wave(
            bins=tuple((round(low, 4), round(high, 4)) for low, high in glimpse.wave.tolist()),
            start_s=start_s,
            end_s=end_s,
        ),
        text=glimpse.text,
        notes=tuple(notes),
    )


def _digests(
    opened: OpenStore, place: int, references: Mapping[str, str]
) -> dict[str, frozenset[str]]:
    """Return the digests of the files that the sample's features were made of, by kind."""
    samples = opened.store.samples
    shard = int(samples.shard_of[place])
    number = place - samples.rows_of(shard).start
    found: dict[str, frozenset[str]] = {}
    for column in opened.columns.values():
        if not is_encoded(column.info):
            continue  # a digest is not that of a media file
        digest = _digest(column, shard, number)
        kind = next((one for one in kinds_read(column.info) if one in references), None)
        if digest is not None and kind is not None:
            found[kind] = found.get(kind, frozenset()) | {digest}
    return found


def _digest(column: Column, shard: int, number: int) -> str | None:
    try:
        receipt = column.receipt(shard)
    except ScfaeError:
        return None  # the summary says that it cannot be read
    return None if receipt is None else receipt.media[number]
