"""GE2E speaker encoder of Resemblyzer; its weights come in a PyPI package: works offline.

Network: a 3-layer LSTM, 40 to 256, and a linear layer. Weights: the file `pretrained.pt` of the
package Resemblyzer, key `model_state`. Input: 16 kHz mono, brought up to -30 dBFS where quieter,
40-band mel power spectrogram (not its logarithm), 25 ms windows every 10 ms. Rows: the top layer's
state, 100 a second. `pool` is upstream's utterance embedding: the L2-normalised ReLU of the linear
layer on the last state.

The LSTM runs on windows of 160 frames, as long as it was trained on, every 80 frames; but for the
first, a window's first half only gives context. Padding comes after the sound, where the LSTM
cannot see it. Unlike upstream, silence is not cut out: rows keep the media's clock.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..encoder import Encoder
from ..mel import Floats, MelStream
from ..options import check_options
from ..recipe import AudioChunk, MediaKind, StreamInfo, Window
from ..registry import EncoderEntry
from ..weights import load_network

SAMPLE_RATE_HZ = 16_000
FFT_SAMPLES, HOP_SAMPLES, NUM_MELS = 400, 160, 40
WINDOW_FRAMES, CONTEXT_FRAMES = 160, 80
FRAME_S = HOP_SAMPLES / SAMPLE_RATE_HZ
LEAST_DBFS = -30.0


class SpeakerLSTM(nn.Module):
    """Upstream's network under upstream's names."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(NUM_MELS, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)


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


class GE2E(Encoder):
    """GE2E; `forward` takes mel frames `[B, frames, 40]`."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the top layer's states `[B, frames, 256]`."""
        states: Tensor = self.module.lstm(x)[0]  # type: ignore[operator]
        return states

    def pool(self, tokens: Tensor) -> Tensor:
        """Return the utterance embedding `[B, 256]`, of length 1."""
        return F.normalize(F.relu(self.module.linear(tokens[:, -1])), dim=1)  # type: ignore[operator]

    def encode(self, windows: Tensor) -> Tensor:
        """Return every frame's state `[B, 160, 256]`."""
        return self.forward(windows)

    def recipe(self, kind: MediaKind) -> Speech:
        """Return the pre-processing of sound."""
        return Speech()


def load(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder:
    """Return the GE2E encoder; see `load_encoder`."""
    _, given = check_options(entry.name, options, {})
    module, found = load_network(entry, weights, build=SpeakerLSTM, drop=("similarity_",))
    spec = entry.spec(
        found,
        options=given,
        rows_per_second=1.0 / FRAME_S,
        recipe={
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "channels": "resampled by libswresample, then the mean of all",
            "least_dbfs": LEAST_DBFS,
            "mel": "power, slaney scale and norm, hann, centred, reflected ends",
            "mels": NUM_MELS,
            "window_samples": FFT_SAMPLES,
            "hop_samples": HOP_SAMPLES,
            "frames": WINDOW_FRAMES,
            "context_frames": CONTEXT_FRAMES,
            "feature": "states of the top LSTM layer",
        },
        packages=("torch", "numpy", "av"),
    )
    return GE2E(spec, module, device)
