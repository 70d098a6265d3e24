"""ResNetSE-34, the speaker networks of clovaai/voxceleb_trainer: L ("Fast ResNet-34") and V2.

No library has them, so they are written here from the facts of the published files. Weights:
upstream's layout, keys `__S__.*` for the network and `__L__.*` for its loss (dropped), or the bare
names. The mel filters are in the file and are taken from it. Windows: 64,240 samples at 16 kHz,
as upstream evaluates; shorter sound is repeated. Feature: the 512-d embedding.

Upstream oddities that the numbers depend on: ReLU comes before the first batch norm of a block, and
before that of V2's stem; V2's first convolution has a bias; sound is pre-emphasised in V2 only.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from ..encoder import Encoder
from ..entry import EncoderEntry
from ..options import Option, check_options
from ..recipe import MediaKind
from ..runs import SoundWaves
from ..weights import State, load_network
from ..windowing import SOUND_OPTIONS, SoundRuns

SAMPLE_RATE_HZ = 16_000
EVAL_SAMPLES = 400 * 160 + 240
SHORTEST_SAMPLES = 400  # one analysis window
LAYERS = (3, 4, 6, 3)
OPTIONS = SOUND_OPTIONS | {"stride": Option(None, int, least=160)}


class PreEmphasis(nn.Module):
    """`y[t] = x[t] - 0.97 x[t - 1]`, reflected at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("flipped_filter", torch.tensor([[[-0.97, 1.0]]]))

    def forward(self, samples: Tensor) -> Tensor:
        """Return sound `[B, samples]` filtered."""
        padded = F.pad(samples[:, None], (1, 0), "reflect")
        filtered: Tensor = F.conv1d(padded, self.flipped_filter)[:, 0]  # type: ignore[arg-type]
        return filtered


class SEGate(nn.Module):
    """Squeeze and excitation: each channel scaled by what all channels average to."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, max(1, channels // 8)),
            nn.ReLU(inplace=True),
            nn.Linear(max(1, channels // 8), channels),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, C, H, W]` scaled."""
        scale: Tensor = self.fc(x.mean(dim=(2, 3)))
        return x * scale[:, :, None, None]


class SEBlock(nn.Module):
    """Two 3 x 3 convolutions with a gate and a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.se = SEGate(outside)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.downsample = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, C, H / stride, W / stride]`."""
        y = self.bn1(F.relu(self.conv1(x)))
        y = self.se(self.bn2(self.conv2(y)))
        return F.relu(y + self.downsample(x))


class ResNetSE(nn.Module):
    """What both networks share: sound to a map `[B, C, F, T]` over frequency and time.

    Args:
        widths: Channels of the four stages.
        strides: Their strides.
    """

    torchfb: nn.Module

    def __init__(self, widths: tuple[int, ...], strides: tuple[int, ...]) -> None:
        super().__init__()
        inside = widths[0]
        for number, (width, stride, depth) in enumerate(
            zip(widths, strides, LAYERS, strict=True), start=1
        ):
            blocks = [SEBlock(inside, width, stride)]
            blocks += [SEBlock(width, width, 1) for _ in range(depth - 1)]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            inside = width

    def stem(self, x: Tensor) -> Tensor:
        """Return the first map from log-mel `[B, 1, mels, frames]`."""
        raise TypeError(f"{type(self).__name__} is not used by itself")

    def tokens(self, samples: Tensor) -> Tensor:
        """Return time steps `[B, T, features]` from sound `[B, samples]`."""
        with torch.autocast(samples.device.type, enabled=False):  # logarithms of small numbers
            x = self.torchfb(samples.float()) + 1e-6
            x = F.instance_norm(x.log(), eps=1e-5)[:, None]
        x = self.stem(x)
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        return self.steps(x)

    def steps(self, x: Tensor) -> Tensor:
        """Return time steps `[B, T, features]` from the last map."""
        raise TypeError(f"{type(self).__name__} is not used by itself")


class ResNetSE34L(ResNetSE):
    """Widths 16 to 128, self-attentive pooling over time.

    Args:
        width: Of the first stage; the published network's is 16.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__(_widths(width), (1, 2, 2, 1))
        last = 8 * width
        self.torchfb = _mel(40)
        self.conv1 = nn.Conv2d(1, width, 7, stride=(2, 1), padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.sap_linear = nn.Linear(last, last)
        self.attention = nn.Parameter(torch.empty(last, 1))
        nn.init.xavier_normal_(self.attention)
        self.fc = nn.Linear(last, 4 * last)

    def stem(self, x: Tensor) -> Tensor:
        """Convolution, batch norm, ReLU."""
        return F.relu(self.bn1(self.conv1(x)))

    def steps(self, x: Tensor) -> Tensor:
        """Average over frequency: `[B, T, 128]`."""
        return x.mean(dim=2).transpose(1, 2)

    def embed(self, steps: Tensor) -> Tensor:
        """Return the embedding `[B, 512]` of steps `[B, T, 128]`."""
        weights = torch.softmax(torch.tanh(self.sap_linear(steps)) @ self.attention, dim=1)
        embedding: Tensor = self.fc((steps * weights).sum(dim=1))
        return embedding


class ResNetSE34V2(ResNetSE):
    """Widths 32 to 256, attentive statistics pooling over time.

    Args:
        width: Of the first stage; the published network's is 32.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__(_widths(width), (1, 2, 2, 2))
        steps = 8 * width * 8  # channels and, of 64 mel bands, 8 that are left
        self.torchfb = nn.Sequential(PreEmphasis(), _mel(64))
        self.conv1 = nn.Conv2d(1, width, 3, stride=1, padding=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.attention = nn.Sequential(
            nn.Conv1d(steps, 128, 1),
            nn.ReLU(),
            nn.BatchNorm1d(128),
            nn.Conv1d(128, steps, 1),
            nn.Softmax(dim=2),
        )
        self.fc = nn.Linear(2 * steps, 16 * width)

    def stem(self, x: Tensor) -> Tensor:
        """Convolution, ReLU, batch norm: in this order."""
        normed: Tensor = self.bn1(F.relu(self.conv1(x)))
        return normed

    def steps(self, x: Tensor) -> Tensor:
        """Channels and frequencies side by side: `[B, T, 2048]`."""
        return x.flatten(1, 2).transpose(1, 2)

    def embed(self, steps: Tensor) -> Tensor:
        """Return the embedding `[B, 512]` of steps `[B, T, 2048]`."""
        with torch.autocast(steps.device.type, enabled=False):  # a difference of near numbers
            x = steps.float().transpose(1, 2)
            weights = self.attention(x)
            mean = (x * weights).sum(dim=2)
            variance = (x.square() * weights).sum(dim=2) - mean.square()
            spread = variance.clamp(min=1e-5).sqrt()
            embedding: Tensor = self.fc(torch.cat([mean, spread], dim=1))
        return embedding


_TAIL = ("+sap_linear", "+attention", "+fc")


class SpeakerEncoder(Encoder):
    """ResNetSE-34; `forward` takes sound `[B, samples]` at 16 kHz.

    Normalisation, gates and pooling run over the whole time axis, so sounds of a batch must be
    equally long: padding would change every feature.
    """

    blocks = ("conv1", "+bn1", "layer1", "layer2", "layer3", "layer4", *_TAIL)

    def forward(self, x: Tensor) -> Tensor:
        """Return time steps `[B, T, 128]` (L) or `[B, T, 2048]` (V2)."""
        tokens: Tensor = self.module.tokens(x)  # type: ignore[operator]
        return tokens

    def pool(self, tokens: Tensor) -> Tensor:
        """Return the embedding `[B, 512]`, not normalised."""
        embedding: Tensor = self.module.embed(tokens)  # type: ignore[operator]
        return embedding

    def recipe(self, kind: MediaKind) -> SoundWaves:
        """Return the pre-processing of sound."""
        return SoundWaves(SoundRuns.recorded(self.spec.recipe, shortest=SHORTEST_SAMPLES))


def load_l(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder:
    """Return ResNetSE34L; see `load_encoder`."""
    return _load(entry, weights, device, options, kind=ResNetSE34L)


def load_v2(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder:
    """Return ResNetSE34V2; see `load_encoder`."""
    return _load(entry, weights, device, options, kind=ResNetSE34V2)


def _load(
    entry: EncoderEntry,
    weights: str | None,
    device: torch.device,
    options: Mapping[str, Any],
    *,
    kind: type[ResNetSE34L] | type[ResNetSE34V2],
) -> Encoder:
    values, given = check_options(entry.name, options, OPTIONS)
    windows = SoundRuns.of(
        entry.name,
        values,
        length=EVAL_SAMPLES,
        sample_rate_hz=SAMPLE_RATE_HZ,
        shortest=SHORTEST_SAMPLES,
    )
    build: Callable[[], nn.Module] = kind
    if entry.width is not None:
        build = partial(kind, entry.width)
    module, found = load_network(entry, weights, build=build, rename=_bare, drop=("__L__.",))
    if entry.width is not None:
        entry = replace(entry, dim=_dim(kind, entry.width))
    spec = entry.spec(
        found,
        options=given,
        rows_per_second=windows.rows_per_second,
        recipe={
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "channels": "resampled by libswresample, then the mean of all",
            **windows.recipe,
            "short": "repeated from its start",
            "feature": "embedding, not normalised",
        },
        packages=("torch", "torchaudio", "av"),
    )
    return SpeakerEncoder(spec, module, device)


def _widths(first: int) -> tuple[int, ...]:
    return (first, 2 * first, 4 * first, 8 * first)


def _dim(kind: type[nn.Module], width: int) -> int:
    """Return the width of the embedding, 512 of the published networks."""
    return 512 * width // (16 if kind is ResNetSE34L else 32)


def _bare(state: State, path: Path) -> State:
    return {key.removeprefix("__S__."): value for key, value in state.items()}


def _mel(num_mels: int) -> nn.Module:
    module: nn.Module = MelSpectrogram(
        sample_rate=SAMPLE_RATE_HZ,
        n_fft=512,
        win_length=400,
        hop_length=160,
        window_fn=torch.hamming_window,
        n_mels=num_mels,
    )
    return module
