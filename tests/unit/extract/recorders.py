"""Recipes for tests: they keep what the decoder hands them, or misbehave in the decoding child."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
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


@dataclass(frozen=True)
class Misbehaving:
    """Does `deed` at the first frame: hang, die, exit, raise; once only if `marker` is given."""

    deed: str
    marker: str = ""
    kind: MediaKind = "video"
    sample_rate_hz: int | None = None

    def begin(self, info: StreamInfo, /) -> "_MisbehavingCutter":
        return _MisbehavingCutter(self.deed, self.marker)


class _MisbehavingCutter:
    def __init__(self, deed: str, marker: str) -> None:
        self._deed = deed
        self._marker = marker

    def push(self, frame: Any, /) -> list[Window]:
        if self._marker:
            Path(self._marker).write_text(str(os.getpid()))
        if self._deed == "hang":
            time.sleep(600)
        elif self._deed == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self._deed == "exit":
            os._exit(7)
        return []

    def end(self) -> list[Window]:
        return [Window(np.array([os.getpid()]), np.zeros((1, 2)))]
