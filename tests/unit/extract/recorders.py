"""Recipes for tests: they keep what the decoder hands them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scfae.extract.recipe import AudioChunk, MediaKind, StreamInfo, VideoFrame, Window


@dataclass(frozen=True)
class Pictures:
    """One window a frame: the frame itself."""

    kind: MediaKind = "video"
    sample_rate_hz: int | None = None

    def begin(self, info: StreamInfo, /) -> "_PictureCutter":
        return _PictureCutter()


class _PictureCutter:
    def push(self, frame: Any, /) -> list[Window]:
        assert isinstance(frame, VideoFrame)
        assert frame.pixels.flags.c_contiguous
        return [Window(frame.pixels, np.array([[frame.start_s, frame.end_s]]))]

    def end(self) -> list[Window]:
        return []


@dataclass(frozen=True)
class Sound:
    """One window for all the sound."""

    sample_rate_hz: int = 16_000
    kind: MediaKind = "audio"

    def begin(self, info: StreamInfo, /) -> "_SoundCutter":
        return _SoundCutter(self.sample_rate_hz)


class _SoundCutter:
    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._chunks: list[AudioChunk] = []

    def push(self, frame: Any, /) -> list[Window]:
        assert isinstance(frame, AudioChunk)
        assert frame.samples.dtype == np.float32
        assert frame.samples.ndim == 1
        self._chunks.append(frame)
        return []

    def end(self) -> list[Window]:
        if not self._chunks:
            return []
        samples = np.concatenate([chunk.samples for chunk in self._chunks])
        start = self._chunks[0].start_s
        return [Window(samples, np.array([[start, start + len(samples) / self._rate_hz]]))]
