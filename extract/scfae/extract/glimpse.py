"""A glimpse of a media file for people: a few small pictures, the shape of its sound, its text.

Decoded as for encoders, in a child process with limits on time and memory; nothing is raised for a
bad file, its glimpse says why it shows nothing.

Shapes: F pictures, B bins of sound.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from .decoder_pool import DecoderPool, Request
from .limits import Limits
from .media import Decoded
from .recipe import AudioChunk, MediaKind, Recipe, StreamInfo, VideoFrame, Window
from .resizing import resize_antialiased
from .texts import InlineText, MediaSource

Part = Literal["frames", "wave", "text"]
SOUND_HZ: Final = 16_000
_BLOCK: Final = 160  # samples whose extremes are kept while sound comes in, 10 ms
_KEPT_FRAMES: Final = 16  # times those wanted, while the end of a video is not known


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be seen of one file.

    Attributes:
        source: The file, or a text.
        parts: Pictures, sound or text.
        num_frames: Pictures of a video.
    """

    source: MediaSource
    parts: tuple[Part, ...]
    num_frames: int = 6


@dataclass(slots=True, eq=False)
class Glimpse:
    """What there is to see of a file.

    Attributes:
        frames: Pictures uint8 `[H, W, 3]` with the second at which each is first shown.
        wave: Lowest and highest sample of each bin, float32 `[B, 2]`; None without sound.
        wave_span_s: Start and end of the sound, in seconds.
        text: The beginning of a text; None for other media.
        reasons: Why a part that was wanted is not there.
        sha256: Of the file, None if it could not be read.
    """

    frames: list[tuple[npt.NDArray[np.uint8], float]] = field(default_factory=list)
    wave: npt.NDArray[np.float32] | None = None
    wave_span_s: tuple[float, float] = (0.0, 0.0)
    text: str | None = None
    reasons: dict[Part, str] = field(default_factory=dict)
    sha256: str | None = None


def glimpses(
    wanted: Sequence[Wanted],
    *,
    side: int = 128,
    bins: int = 120,
    max_chars: int = 400,
    timeout_s: float = 10.0,
    budget_s: float = 120.0,
) -> Iterator[Glimpse]:
    """Yield a glimpse of each file, in order.

    Args:
        wanted: The files.
        side: Pictures are shrunk to this length of their long side, in pixels.
        bins: Bins of sound, B.
        max_chars: Characters of a text that are kept.
        timeout_s: Wall time that one file may take.
        budget_s: Wall time after which no further file is begun.
    """
    if not wanted:
        return
    begun_s = time.monotonic()
    asked: list[Request | None] = []

    def requests() -> Iterator[Request]:
        for one in wanted:
            is_late = time.monotonic() - begun_s > budget_s
            request = Request(
                one.source, {part: _recipe(part, one, side, bins, max_chars) for part in one.parts}
            )
            # What comes too late still takes its turn, so that answers stay in order.
            asked.append(None if is_late else request)
            yield Request(InlineText(""), {}) if is_late else request

    with DecoderPool(1, Limits(timeout_s=timeout_s), ahead=1) as pool:
        windows: dict[str, list[Window]] = {}
        number = 0
        for message in pool.decode(requests()):
            if not isinstance(message, Decoded):
                for name, cut in message.items():
                    windows.setdefault(name, []).extend(cut)
                continue
            if asked[number] is None:
                late = f"the {budget_s:g} s for media were spent"
                yield Glimpse(reasons=dict.fromkeys(wanted[number].parts, late))
            else:
                yield _glimpse(wanted[number], message, windows)
            windows, number = {}, number + 1


def _glimpse(one: Wanted, decoded: Decoded, ahead: dict[str, list[Window]]) -> Glimpse:
    found = Glimpse(sha256=decoded.sha256)
    for part in one.parts:
        fate = decoded.fates[part]
        cut = ahead.get(part, []) + fate.windows
        if not cut:
            found.reasons[part] = fate.reason or "nothing could be decoded"
        elif part == "frames":
            found.frames = [(window.array, float(window.times[0, 0])) for window in cut]
        elif part == "wave":
            found.wave = cut[0].array
            found.wave_span_s = (float(cut[0].times[0, 0]), float(cut[0].times[0, 1]))
        else:
            found.text = cut[0].array.tobytes().decode("utf-8")
    return found


def _recipe(part: Part, one: Wanted, side: int, bins: int, max_chars: int) -> Recipe:
    if part == "frames":
        return StripRecipe(one.num_frames, side)
    return WaveRecipe(bins) if part == "wave" else TextRecipe(max_chars)


@dataclass(frozen=True, slots=True)
class StripRecipe:
    """Small pictures, evenly over the time of a video; a still is one.

    Attributes:
        count: Pictures.
        side: Length of their long side.
    """

    count: int
    side: int
    kind: MediaKind = "video"
    sample_rate_hz: None = None

    def begin(self, info: StreamInfo, /) -> "StripCutter":
        """Return a cutter for one stream."""
        return StripCutter(self.count, self.side)


class StripCutter:
    """Keeps every picture, then every second, fourth …: memory does not grow with the video.

    Args:
        count: Pictures to give in the end.
        side: Length of their long side.
    """

    def __init__(self, count: int, side: int) -> None:
        self._count = count
        self._side = side
        self._kept: list[tuple[npt.NDArray[np.uint8], float]] = []
        self._stride = 1
        self._seen = 0
        self._end_s = 0.0

    def push(self, frame: VideoFrame) -> list[Window]:
        """Take a picture; return nothing yet."""
        self._end_s = frame.end_s
        if self._seen % self._stride == 0:
            self._kept.append((shrunk(frame.pixels, self._side), frame.start_s))
        self._seen += 1
        if len(self._kept) > _KEPT_FRAMES * self._count:
            self._kept = self._kept[::2]
            self._stride *= 2
        return []

    def end(self) -> list[Window]:
        """Return the pictures on screen in the middle of equal parts of the time."""
        if not self._kept:
            return []
        starts = np.array([start for _, start in self._kept])
        length = self._end_s - starts[0]
        due = starts[0] + (np.arange(self._count) + 0.5) / self._count * length
        places = np.unique(np.searchsorted(starts, due, side="right") - 1)
        return [
            Window(pixels, np.array([[start, start]]))
            for pixels, start in (self._kept[place] for place in places.clip(min=0))
        ]


@dataclass(frozen=True, slots=True)
class WaveRecipe:
    """Extremes of the sound, one window.

    Attributes:
        bins: How many.
    """

    bins: int
    kind: MediaKind = "audio"
    sample_rate_hz: int = SOUND_HZ

    def begin(self, info: StreamInfo, /) -> "WaveCutter":
        """Return a cutter for one stream."""
        return WaveCutter(self.bins)


class WaveCutter:
    """Keeps the lowest and highest sample of every 10 ms, and in the end of every bin.

    Args:
        bins: How many.
    """

    def __init__(self, bins: int) -> None:
        self._bins = bins
        self._rest = np.empty(0, dtype=np.float32)
        self._extremes: list[npt.NDArray[np.float32]] = []
        self._start_s: float | None = None
        self._samples = 0

    def push(self, chunk: AudioChunk) -> list[Window]:
        """Take some sound; return nothing yet."""
        if self._start_s is None:
            self._start_s = chunk.start_s
        self._samples += len(chunk.samples)
        rest = np.concatenate([self._rest, chunk.samples])
        whole = len(rest) // _BLOCK * _BLOCK
        self._keep(rest[:whole].reshape(-1, _BLOCK))
        self._rest = rest[whole:]
        return []

    def end(self) -> list[Window]:
        """Return the extremes `[B, 2]`; fewer bins where the sound is short."""
        self._keep(self._rest[None, :])
        if not self._samples:
            return []
        blocks = np.concatenate(self._extremes)
        bins = min(self._bins, len(blocks))
        edges = np.arange(bins) * len(blocks) // bins
        lows = np.minimum.reduceat(blocks[:, 0], edges)
        highs = np.maximum.reduceat(blocks[:, 1], edges)
        start = self._start_s or 0.0
        times = np.array([[start, start + self._samples / SOUND_HZ]])
        return [Window(np.stack([lows, highs], axis=1), times)]

    def _keep(self, blocks: npt.NDArray[np.float32]) -> None:
        if blocks.size:
            self._extremes.append(np.stack([blocks.min(axis=1), blocks.max(axis=1)], axis=1))


@dataclass(frozen=True, slots=True)
class TextRecipe:
    """The beginning of a text, as UTF-8 bytes.

    Attributes:
        max_chars: Characters that are kept; an ellipsis follows where there are more.
    """

    max_chars: int
    kind: MediaKind = "text"
    sample_rate_hz: None = None

    def begin(self, info: StreamInfo, /) -> "TextCutter":
        """Return a cutter for one text."""
        return TextCutter(self.max_chars)


class TextCutter:
    """Cuts the beginning off a text.

    Args:
        max_chars: Characters that are kept.
    """

    def __init__(self, max_chars: int) -> None:
        self._max_chars = max_chars

    def push(self, text: str) -> list[Window]:
        """Return the beginning; nothing of an empty text."""
        if not text.strip():
            return []
        more = "…" if len(text) > self._max_chars else ""
        data = (text[: self._max_chars] + more).encode("utf-8", "replace")
        return [Window(np.frombuffer(data, dtype=np.uint8), np.zeros((1, 2)))]

    def end(self) -> list[Window]:
        """Return nothing: a text comes whole."""
        return []


def shrunk(pixels: npt.NDArray[Any], side: int) -> npt.NDArray[np.uint8]:
    """Return a picture `[H, W, 3]` with its long side at most `side`; never enlarged."""
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return pixels if size == (height, width) else resize_antialiased(pixels, *size)
