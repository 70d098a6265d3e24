"""Sound to mono float32 at one rate, by a named rule, with the time of every piece.

Integers are scaled by the range of their own format (8 bits are unsigned, 24 come as the upper
bytes of 32), floats are taken as they are. libswresample then resamples every channel by itself;
last comes the plain mean of all channels, the low-frequency one of 5.1 included: libswresample's
own mix to mono weighs them, and is 3 dB too loud for floats.
"""

from collections.abc import Iterator
from typing import Any, Final

import av
import numpy as np

from .recipe import AudioChunk

SOUND_RULE: Final = (
    "integers by the range of their format, libswresample to the rate, then the mean of all "
    "channels"
)
_SILENCE_S = 1.0


class Resampler:
    """Mono sound at one rate, gapless.

    Args:
        rate_hz: The rate that is wanted.
        start_s: Time of the first sample.
    """

    def __init__(self, rate_hz: int, start_s: float) -> None:
        self._rate_hz = rate_hz
        self._start_s = start_s
        self._count = 0
        self._resampler: Any = None
        self._layout: tuple[Any, ...] = ()

    def push(self, frame: Any) -> list[AudioChunk]:
        """Return the sound of a decoded frame.

        Raises:
            av.error.FFmpegError, ValueError: If libswresample cannot take it.
        """
        layout = (frame.format.name, frame.layout.name, frame.sample_rate)
        chunks = []
        if layout != self._layout:
            # Format, channels or rate change in mid-stream: begin anew where this left off.
            chunks = self.flush()
            self._layout = layout
        if self._resampler is None:
            self._resampler = av.AudioResampler("fltp", frame.layout.name, self._rate_hz)
        # Times are counted: those of the frames were looked at before.
        frame.pts = None
        return chunks + self._take(self._resampler.resample(frame))

    def silence(self, until_s: float) -> Iterator[AudioChunk]:
        """Yield what the filter still holds, and then silence up to a time."""
        yield from self.flush()
        left = round((until_s - self._start_s) * self._rate_hz) - self._count
        while left > 0:
            length = min(left, round(_SILENCE_S * self._rate_hz))
            yield self._chunk(np.zeros(length, dtype=np.float32))
            left -= length

    def flush(self) -> list[AudioChunk]:
        """Return what the filter still holds."""
        if self._resampler is None:
            return []
        resampler, self._resampler = self._resampler, None
        return self._take(resampler.resample(None))

    def _take(self, frames: list[Any]) -> list[AudioChunk]:
        sounds = [frame.to_ndarray().mean(axis=0, dtype=np.float32) for frame in frames]
        return [self._chunk(samples) for samples in sounds if len(samples)]

    def _chunk(self, samples: np.ndarray[Any, np.dtype[np.float32]]) -> AudioChunk:
        chunk = AudioChunk(samples, self._start_s + self._count / self._rate_hz)
        self._count += len(samples)
        return chunk
