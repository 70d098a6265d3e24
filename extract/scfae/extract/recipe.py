"""What crosses the border between decoding and encoding: frames and sound in, windows out.

A recipe is the encoder's pre-processing: plain data that is pickled to the decoding child, where
`begin` makes a cutter that is fed decoded frames one by one, so that memory does not grow with the
media. Every window of one encoder has the same shape where the encoder batches.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

MediaKind = Literal["video", "audio", "image", "text"]


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What is known of a stream before it is decoded.

    Attributes:
        kind: video, audio, image or text.
        frame_rate_hz: Average frame rate of a video as its header says; None if unknown.
        sample_rate_hz: Rate at which sound arrives, i.e. the recipe's.
        num_frames: Pictures in the container, for recipes that have `wants_num_frames`.
    """

    kind: MediaKind
    frame_rate_hz: float | None = None
    sample_rate_hz: int | None = None
    num_frames: int | None = None


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One picture, upright.

    Attributes:
        pixels: uint8 `[H, W, 3]`, RGB.
        start_s: When it is first shown, on the media's own clock; 0 for an image.
        end_s: When the next one is shown; 0 for an image.
    """

    pixels: npt.NDArray[np.uint8]
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """Consecutive sound.

    Attributes:
        samples: float32 `[samples]`, mono, in [-1, 1], at the recipe's rate.
        start_s: Time of the first sample, on the media's own clock.
    """

    samples: npt.NDArray[np.float32]
    start_s: float


@dataclass(frozen=True, slots=True)
class Window:
    """One input of an encoder.

    Attributes:
        array: One element of the encoder's batch, e.g. uint8 `[3, 16, 112, 112]`; pictures travel
            as bytes and are scaled on the device.
        times: float64 `[R, 2]`, start and end in seconds of each row that is kept.
        skip: Rows before those, which only give context.
    """

    array: npt.NDArray[Any]
    times: npt.NDArray[np.float64]
    skip: int = 0

    @property
    def kept(self) -> slice:
        """Which of the encoder's rows of this window are kept."""
        return slice(self.skip, self.skip + len(self.times))


class Cutter(Protocol):
    """Cuts one stream into windows."""

    def push(self, frame: Any, /) -> list[Window]:
        """Take a `VideoFrame`, an `AudioChunk` or a whole text; return the complete windows."""

    def end(self) -> list[Window]:
        """Return the last windows; the stream is over."""


class Recipe(Protocol):
    """Pre-processing of one encoder for one kind of media; picklable plain data."""

    @property
    def kind(self) -> MediaKind:
        """What it reads."""

    @property
    def sample_rate_hz(self) -> int | None:
        """Rate at which it wants sound; None for pictures."""

    def begin(self, info: StreamInfo, /) -> Cutter:
        """Return a cutter for one stream."""
