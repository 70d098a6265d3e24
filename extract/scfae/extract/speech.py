"""The recipe of GE2E: sound to windows of mel frames.

Apart from the network, since it runs in the decoding children: importing torch there would cost
every one of them seconds at its start.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .mel import Floats, MelStream
from .recipe import AudioChunk, MediaKind, StreamInfo, Window

SAMPLE_RATE_HZ = 16_000
FFT_SAMPLES, HOP_SAMPLES, NUM_MELS = 400, 160, 40
WINDOW_FRAMES, CONTEXT_FRAMES = 160, 80
FRAME_S = HOP_SAMPLES / SAMPLE_RATE_HZ
LEAST_DBFS = -30.0


class MelWindows:
    """Windows of mel frames, float32 `[160, 40]`, cut when the loudness of the whole is known.

    Until then a mel spectrogram is held: 16 kB a second.
    """

    def __init__(self) -> None:
        self._mel = MelStream(
            SAMPLE_RATE_HZ, fft_samples=FFT_SAMPLES, hop_samples=HOP_SAMPLES, num_mels=NUM_MELS
        )
        self._frames: list[Floats] = []
        self._num_samples = 0
        self._energy = 0.0
        self._start_s: float | None = None

    def push(self, chunk: AudioChunk) -> list[Window]:
        """Take sound; return nothing yet."""
        if self._start_s is None:
            self._start_s = chunk.start_s
        self._num_samples += len(chunk.samples)
        self._energy += float(np.square(chunk.samples, dtype=np.float64).sum())
        self._frames.append(self._mel.push(chunk.samples))
        return []

    def end(self) -> list[Window]:
        """Return all windows; none if there is less than one analysis window of sound."""
        frames = np.concatenate([*self._frames, self._mel.end()])
        # The last frame may be centred on the very end: no sound of its own.
        count = min(len(frames), math.ceil(self._num_samples / HOP_SAMPLES))
        frames = frames[:count] * self._gain() ** 2
        windows = []
        done = 0
        while done < count:
            first = max(0, done - CONTEXT_FRAMES)
            piece = frames[first : first + WINDOW_FRAMES]
            array = np.zeros((WINDOW_FRAMES, NUM_MELS), dtype=np.float32)
            array[: len(piece)] = piece
            numbers = np.arange(done, first + len(piece))
            windows.append(Window(array, self._times(numbers), skip=done - first))
            done = first + len(piece)
        return windows

    def _gain(self) -> np.float32:
        """Return the factor that brings quiet sound up to -30 dBFS; loud sound stays."""
        level = math.sqrt(self._energy / max(1, self._num_samples))
        if level == 0.0:
            return np.float32(1.0)
        return np.float32(max(1.0, 10.0 ** (LEAST_DBFS / 20.0) / level))

    def _times(self, numbers: Any) -> Any:
        start = (self._start_s or 0.0) + numbers * FRAME_S
        return np.stack([start, start + FRAME_S], axis=1).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Speech:
    """Sound to windows of mel frames."""

    kind: MediaKind = "audio"
    sample_rate_hz: int = SAMPLE_RATE_HZ

    def begin(self, info: StreamInfo, /) -> MelWindows:
        """Return a cutter for one stream."""
        return MelWindows()
