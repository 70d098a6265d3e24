"""Recipes of encoders that read runs of frames, or runs of sound, of one length.

Apart from the networks, since recipes run in the decoding children, which import no torch.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .cutters import FrameWindows, PrepareFrame, SoundWindows
from .recipe import MediaKind, StreamInfo
from .resizing import resize_bilinear
from .windowing import ClipWindows, SoundRuns


@dataclass(frozen=True, slots=True)
class FrameRuns:
    """Runs of frames, uint8 `[3, frames, h, w]`.

    Attributes:
        windows: How they follow each other.
        prepare: From a picture `[H, W, 3]` to the model's size `[3, h, w]`; a function of a module,
            since the recipe is pickled.
    """

    windows: ClipWindows
    prepare: PrepareFrame
    kind: MediaKind = "video"
    sample_rate_hz: None = None

    def begin(self, info: StreamInfo, /) -> FrameWindows:
        """Return a cutter for one stream."""
        return self.windows.cutter(self.prepare)


@dataclass(frozen=True, slots=True)
class SoundWaves:
    """Runs of sound, float32 `[samples]`.

    Attributes:
        windows: How they follow each other.
        is_repeated: Shorter sound is repeated; else it is a window of its own length.
    """

    windows: SoundRuns
    kind: MediaKind = "audio"
    is_repeated: bool = True

    @property
    def sample_rate_hz(self) -> int:
        """Rate at which it wants sound."""
        return self.windows.sample_rate_hz

    def begin(self, info: StreamInfo, /) -> SoundWindows:
        """Return a cutter for one stream."""
        return self.windows.cutter(is_repeated=self.is_repeated)


def squash_and_crop(
    pixels: npt.NDArray[np.uint8], *, height: int, width: int, side: int
) -> npt.NDArray[np.uint8]:
    """Return the central square `[3, side, side]` of a picture squeezed to `height x width`."""
    top, left = round((height - side) / 2.0), round((width - side) / 2.0)
    return _first(resize_bilinear(pixels, height, width, crop=(top, left, side, side)))


def shorten_and_crop(
    pixels: npt.NDArray[np.uint8], *, short: int, side: int | None
) -> npt.NDArray[np.uint8]:
    """Return a picture with its short side at `short`, the other rounded down, `[3, h, w]`.

    Args:
        pixels: The picture `[H, W, 3]`.
        short: The new short side.
        side: Of the central square to return; None returns the whole.
    """
    rows, columns = pixels.shape[:2]
    height = short * rows // min(rows, columns)
    width = short * columns // min(rows, columns)
    if side is None:
        return _first(resize_bilinear(pixels, height, width))
    return squash_and_crop(pixels, height=height, width=width, side=side)


def _first(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
