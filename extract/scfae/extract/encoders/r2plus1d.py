"""R(2+1)D-18 by torchvision, Kinetics-400.

Network and weights layout: torchvision's `r2plus1d_18`, classifier dropped. Input: 16 frames, each
resized to 128 x 171 (bilinear without antialiasing, on bytes) and cropped to the central 112 x 112,
Kinetics' mean and deviation, as torchvision's own preset. Feature: the 512-d average of layer 4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torchvision.models.video import r2plus1d_18

from ..cutters import FrameWindows
from ..encoder import Encoder
from ..entry import EncoderEntry
from ..folding import fold_batch_norms
from ..options import check_options
from ..pixels import channels
from ..recipe import MediaKind, StreamInfo
from ..weights import load_network
from ..windowing import CLIP_OPTIONS, ClipWindows

CLIP_FRAMES = 16
RESIZED = (128, 171)
SIDE = 112
# oneDNN's convolutions take a quarter less time on it than on contiguous clips.
_LAYOUT = torch.channels_last_3d
MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)


@dataclass(frozen=True, slots=True)
class Clips:
    """Runs of 16 frames, uint8 `[3, 16, 112, 112]`.

    Attributes:
        windows: How they follow each other.
    """

    windows: ClipWindows
    kind: MediaKind = "video"
    sample_rate_hz: None = None

    def begin(self, info: StreamInfo, /) -> FrameWindows:
        """Return a cutter for one stream."""
        return self.windows.cutter(_prepare)


class R2Plus1D(Encoder):
    """R(2+1)D; `forward` takes `[B, 3, T, 112, 112]`, normalised."""

    def forward(self, x: Tensor) -> Tensor:
        """Return layer 4's places as tokens `[B, T/8 * 7 * 7, 512]`."""
        m = self.module
        x = m.layer4(m.layer3(m.layer2(m.layer1(m.stem(x)))))  # type: ignore[operator]
        return x.flatten(2).transpose(1, 2)

    def pool(self, tokens: Tensor) -> Tensor:
        """Return the mean over time and space `[B, 512]`."""
        return tokens.mean(dim=1)

    def prepare(self, windows: Tensor) -> Tensor:
        """Return uint8 clips `[B, 3, 16, 112, 112]` with Kinetics' mean and deviation."""
        x = windows.float() / 255.0
        x = (x - channels(MEAN, x)) / channels(STD, x)
        return x.contiguous(memory_format=_LAYOUT)

    def recipe(self, kind: MediaKind) -> Clips:
        """Return the pre-processing of video."""
        return Clips(ClipWindows.recorded(self.spec.recipe))


def load(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder:
    """Return R(2+1)D-18; see `load_encoder`."""
    values, given = check_options(entry.name, options, CLIP_OPTIONS)
    windows = ClipWindows.of(entry.name, values, frames=CLIP_FRAMES)
    module, found = load_network(entry, weights, build=_build, drop=("fc.",))
    spec = entry.spec(
        found,
        options=given,
        rows_per_second=windows.rows_per_second,
        recipe={
            **windows.recipe,
            "resize": [*RESIZED, "torchvision bilinear without antialiasing, on bytes"],
            "centre_crop": [SIDE, SIDE],
            "colour": "RGB",
            "mean": list(MEAN),
            "std": list(STD),
            "feature": "mean over time and space of layer 4",
        },
        packages=("torch", "torchvision", "av"),
    )
    return R2Plus1D(spec, fold_batch_norms(module), device)


def _prepare(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    from torchvision.transforms import functional

    frame = torch.from_numpy(pixels).permute(2, 0, 1)
    frame = functional.resize(frame, list(RESIZED), antialias=False)
    return np.ascontiguousarray(functional.center_crop(frame, [SIDE, SIDE]).numpy())


def _build() -> nn.Module:
    module: nn.Module = r2plus1d_18(weights=None)
    module.fc = nn.Identity()
    return module.to(memory_format=_LAYOUT)
