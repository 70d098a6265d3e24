"""Windows as rows: what an encoder reads, cut by its own recipe and kept in place of what it says.

Apart from networks, since recipes run in the decoding children. A row is a window, flattened; where
windows may be shorter than the longest (sound, text), the count of its values stands before them
and what is missing is 0. Times of a row are those of the whole window.

With `every` and `side` clips and pictures are kept smaller than the network was made for: every so
many frames, and the central square. That is for networks of reduced size.
"""

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from scfae.store.errors import ConfigError

from .recipe import AudioChunk, Cutter, MediaKind, Recipe, StreamInfo, VideoFrame, Window

Values = Literal["bytes", "floats", "integers"]
Short = Literal["whole", "own length", "ends in NaN"]

_PROBE_S: Final = (60, 600)
_SHORT_S: Final = (0.3, 1.5, 6.0)
_SIDES: Final = ((120, 160), (160, 160))
_WORDS: Final = "a " * 20_000


@dataclass(frozen=True, slots=True)
class WindowForm:
    """What the windows of a recipe look like.

    Attributes:
        shape: Of a whole window.
        values: What it holds.
        short: What becomes of media shorter than a window: `whole` (repeated or padded by the
            recipe itself), a window of its `own length`, or one that `ends in NaN`.
    """

    shape: tuple[int, ...]
    values: Values
    short: Short

    @property
    def has_count(self) -> bool:
        """Whether a row begins with the count of its values."""
        return self.short != "whole"

    @property
    def dim(self) -> int:
        """Features of a row."""
        return math.prod(self.shape) + self.has_count

    def record(self) -> dict[str, Any]:
        """Return what a column's recipe says of it."""
        return {"shape": list(self.shape), "values": self.values, "short": self.short}


@dataclass(frozen=True, slots=True)
class WholeWindows:
    """A recipe whose windows are to be kept themselves: one row each.

    Attributes:
        inner: The encoder's own recipe.
        every: Of a clip each so many frames is kept.
        side: Pixels of the central square that is kept; None keeps the whole picture.
    """

    inner: Recipe
    every: int = 1
    side: int | None = None

    @property
    def kind(self) -> MediaKind:
        """What it reads."""
        return self.inner.kind

    @property
    def sample_rate_hz(self) -> int | None:
        """Rate at which it wants sound; None for pictures."""
        return self.inner.sample_rate_hz

    @property
    def wants_num_frames(self) -> bool:
        """Whether the frames of a video are to be counted before it is decoded."""
        return bool(getattr(self.inner, "wants_num_frames", False))

    def begin(self, info: StreamInfo, /) -> "_WholeCutter":
        """Return a cutter for one stream."""
        return _WholeCutter(self.inner.begin(info), self.every, self.side)


class _WholeCutter:
    """Gives the windows of another cutter one row each."""

    def __init__(self, inner: Cutter, every: int, side: int | None) -> None:
        self._inner = inner
        self._every, self._side = every, side

    def push(self, frame: Any, /) -> list[Window]:
        """Take what the inner cutter takes; return the complete windows."""
        return [self._whole(window) for window in self._inner.push(frame)]

    def end(self) -> list[Window]:
        """Return the last windows."""
        return [self._whole(window) for window in self._inner.end()]

    def _whole(self, window: Window) -> Window:
        times = np.array([[window.times[0, 0], window.times[-1, 1]]], dtype=np.float64)
        return Window(smaller(window.array, self._every, self._side), times)


def smaller(pixels: npt.NDArray[Any], every: int, side: int | None) -> npt.NDArray[Any]:
    """Return each so many frames of a clip `[3, T, H, W]`, and the central square of its pictures.

    Args:
        pixels: A clip, or a picture `[3, H, W]`.
        every: Frames to the next one.
        side: Of the square; None keeps all.
    """
    kept = pixels[:, ::every] if pixels.ndim == 4 else pixels
    if side is None:
        return kept
    top, left = ((whole - side) // 2 for whole in pixels.shape[-2:])
    return kept[..., top : top + side, left : left + side]


def form_of(encoder: str, recipe: Recipe) -> WindowForm:
    """Return what the windows of a recipe look like, by cutting some.

    Args:
        encoder: Name of the encoder, for messages.
        recipe: Its pre-processing of one kind of media.

    Raises:
        ConfigError: If windows have the size of the media, or are too long to be kept.
    """
    if recipe.kind == "audio":
        return _form_of_sound(encoder, recipe)
    if recipe.kind == "text":
        windows = _cut(recipe, [_WORDS])
        return WindowForm(_longest(windows).shape, "integers", "own length")
    pictures = [np.zeros((*sides, 3), dtype=np.uint8) for sides in _SIDES]
    wide, square = (_longest(_cut(recipe, [VideoFrame(one, 0.0, 0.04)])) for one in pictures)
    if wide.shape != square.shape:
        raise ConfigError(
            f"{encoder}: its windows have the shape of the picture ({list(wide.shape)} of a wide "
            "one), and rows of a column are all of one width; choose options that cut one shape, "
            "as crop=centre."
        )
    return WindowForm(wide.shape, "bytes" if wide.dtype == np.uint8 else "floats", "whole")


def _form_of_sound(encoder: str, recipe: Recipe) -> WindowForm:
    longest: npt.NDArray[Any] | None = None
    for seconds in _PROBE_S:
        longest = _longest(_cut(recipe, _sound(recipe, seconds)))
        if longest.ndim > 1 or len(longest) < seconds * (recipe.sample_rate_hz or 1):
            break
    else:
        raise ConfigError(
            f"{encoder}: windows of more than {_PROBE_S[-1]} s are too long to be kept as rows."
        )
    assert longest is not None
    short = [w.array for s in _SHORT_S for w in _cut(recipe, _sound(recipe, s))]
    is_own = any(array.shape != longest.shape for array in short)
    has_nan = any(bool(np.isnan(array).any()) for array in short)
    how: Short = "own length" if is_own else "ends in NaN" if has_nan else "whole"
    return WindowForm(longest.shape, "floats", how)


def _sound(recipe: Recipe, seconds: float) -> list[Any]:
    """Return a tone in chunks of a second."""
    rate = recipe.sample_rate_hz or 1
    samples = np.sin(np.arange(round(seconds * rate), dtype=np.float32))
    starts = range(0, len(samples), rate)
    return [AudioChunk(samples[at : at + rate], at / rate) for at in starts]


def _cut(recipe: Recipe, frames: list[Any]) -> list[Window]:
    cutter = recipe.begin(StreamInfo(recipe.kind, 25.0, recipe.sample_rate_hz))
    windows = [window for frame in frames for window in cutter.push(frame)]
    return windows + cutter.end()


def _longest(windows: list[Window]) -> npt.NDArray[Any]:
    return max((window.array for window in windows), key=lambda array: array.size)
