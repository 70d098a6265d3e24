"""C3D, the 4096-d video vector of raw media; weights in the layout of DavideA/c3d-pytorch.

No library has it, so it is written here from the facts of the published file (Sports-1M, converted
from Caffe; its keys are `conv1` to `conv5b` and `fc6` to `fc8`, the last a classifier that is
dropped). Network: 3 x 3 x 3 convolutions with padding 1 and ReLU, five max pools, the first over
space only and the last padded by one row and column; then two linear layers. Feature: `fc6` after
its ReLU, as R-C3D and its users take it, or with `layer=fc7` the next one after its ReLU.

Input: 16 frames squeezed to 112 x 200, bilinear, the central 112 x 112, RGB from 0 to 255: the port
subtracts nothing. Caffe's original subtracts a mean; `mean` and `scale` give `(x - mean) * scale`.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..encoder import Encoder
from ..entry import EncoderEntry
from ..options import Option, check_options
from ..recipe import MediaKind
from ..runs import FrameRuns, squash_and_crop
from ..weights import load_network
from ..windowing import CLIP_OPTIONS, ClipWindows

CLIP_FRAMES = 16
RESIZED = (112, 200)
SIDE = 112
HIDDEN = 4096
STAGES: tuple[tuple[tuple[str, int], ...], ...] = (
    (("conv1", 64),),
    (("conv2", 128),),
    (("conv3a", 256), ("conv3b", 256)),
    (("conv4a", 512), ("conv4b", 512)),
    (("conv5a", 512), ("conv5b", 512)),
)
"""Convolutions and their widths; a max pool ends every stage."""
OPTIONS = {
    **CLIP_OPTIONS,
    "layer": Option("fc6", str, choices=("fc6", "fc7")),
    "mean": Option(0.0, float),
    "scale": Option(1.0, float),
}


class Network(nn.Module):
    """Upstream's network under upstream's names, without the classifier."""

    def __init__(self) -> None:
        super().__init__()
        inside = 3
        for stage in STAGES:
            for name, width in stage:
                setattr(self, name, nn.Conv3d(inside, width, 3, padding=1))
                inside = width
        self.fc6 = nn.Linear(inside * 16, HIDDEN)
        self.fc7 = nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x: Tensor, layer: str) -> Tensor:
        """Return a linear layer's output after its ReLU, `[B, 4096]`."""
        for number, stage in enumerate(STAGES):
            for name, _ in stage:
                x = F.relu(getattr(self, name)(x))
            size = (1, 2, 2) if number == 0 else (2, 2, 2)
            x = F.max_pool3d(x, size, size, padding=(0, 1, 1) if stage is STAGES[-1] else 0)
        x = F.relu(self.fc6(x.flatten(1)))
        return x if layer == "fc6" else F.relu(self.fc7(x))


class C3D(Encoder):
    """C3D; `forward` takes `[B, 3, 16, 112, 112]`, RGB from 0 to 255 less a mean."""

    blocks = (
        "conv1",
        "conv2",
        "conv3a",
        "+conv3b",
        "conv4a",
        "+conv4b",
        "conv5a",
        "+conv5b",
        "fc6",
        "+fc7",
    )

    def forward(self, x: Tensor) -> Tensor:
        """Return the chosen layer as the one token `[B, 1, 4096]`."""
        feature: Tensor = self.module(x, self.spec.recipe["layer"])
        return feature[:, None]

    def pool(self, tokens: Tensor) -> Tensor:
        """Return the token `[B, 4096]`."""
        return tokens[:, 0]

    def prepare(self, windows: Tensor) -> Tensor:
        """Return uint8 clips `[B, 3, 16, 112, 112]` as numbers, less the mean, scaled."""
        recipe = self.spec.recipe
        scaled: Tensor = (windows.float() - recipe["mean"]) * recipe["scale"]
        return scaled

    def recipe(self, kind: MediaKind) -> FrameRuns:
        """Return the pre-processing of video."""
        height, width = RESIZED
        prepare = partial(squash_and_crop, height=height, width=width, side=SIDE)
        return FrameRuns(ClipWindows.recorded(self.spec.recipe), prepare)


def load(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder:
    """Return C3D; see `load_encoder`."""
    values, given = check_options(entry.name, options, OPTIONS)
    windows = ClipWindows.of(entry.name, values, frames=CLIP_FRAMES)
    module, found = load_network(entry, weights, build=Network, drop=("fc8.",))
    spec = entry.spec(
        found,
        options=given,
        rows_per_second=windows.rows_per_second,
        recipe={
            **windows.recipe,
            "resize": [*RESIZED, "bilinear without antialiasing, rounded to bytes"],
            "centre_crop": [SIDE, SIDE],
            "colour": "RGB",
            "mean": values["mean"],
            "scale": values["scale"],
            "layer": values["layer"],
            "feature": f"{values['layer']} after its ReLU",
        },
        packages=("torch", "numpy", "av"),
    )
    return C3D(spec, module, device)
