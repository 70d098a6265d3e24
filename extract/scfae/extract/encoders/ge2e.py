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

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..encoder import Encoder
from ..entry import EncoderEntry
from ..options import check_options
from ..recipe import MediaKind
from ..speech import (
    CONTEXT_FRAMES,
    FFT_SAMPLES,
    FRAME_S,
    HOP_SAMPLES,
    LEAST_DBFS,
    NUM_MELS,
    SAMPLE_RATE_HZ,
    WINDOW_FRAMES,
    Speech,
)
from ..weights import load_network


class SpeakerLSTM(nn.Module):
    """Upstream's network under upstream's names."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(NUM_MELS, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)


class GE2E(Encoder):
    """GE2E; `forward` takes mel frames `[B, frames, 40]`."""

    blocks = ("lstm",)
    unused = ("linear",)

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
