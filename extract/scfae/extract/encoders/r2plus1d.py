"""R(2+1)D-18 by torchvision, and R(2+1)D-34 of ig65m-pytorch from torchvision's parts.

R(2+1)D-18: torchvision's `r2plus1d_18` and its file. Input: 16 frames, each resized to 128 x 171
(bilinear without antialiasing, on bytes) and cropped to the central 112 x 112, as its preset.

R(2+1)D-34: the files of moabitcoin/ig65m-pytorch (IG-65M, or fine-tuned on Kinetics), converted
from Caffe2: batch norms have its eps of 1e-3, and the first block of layers 2 to 4 has more middle
planes in its second convolution than torchvision would give it. Input: 32 frames (`frames=8` for
the files of 8-frame clips), short side 128 and the central 112 x 112; `crop=none` keeps the whole
picture, as upstream's tool for features. Deviation: upstream resizes in float, here pictures are
rounded to bytes, at most half a grey level.

Both: the classifier is dropped; mean and deviation of Kinetics; the 512-d average of layer 4.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.video import r2plus1d_18
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, R2Plus1dStem, VideoResNet

from ..cutters import PrepareFrame
from ..encoder import Encoder
from ..entry import EncoderEntry
from ..folding import fold_batch_norms
from ..options import Option, check_options
from ..pixels import channels
from ..recipe import MediaKind
from ..runs import FrameRuns, shorten_and_crop, squash_and_crop
from ..weights import load_network
from ..windowing import CLIP_OPTIONS, ClipWindows

CLIP_FRAMES_18, CLIP_FRAMES_34 = 16, 32
RESIZED_18, SHORT_34 = (128, 171), 128
SIDE = 112
CAFFE2_EPS = 1e-3
BLOCKS_34 = (3, 4, 6, 3)
WIDTHS_34 = {2: 128, 3: 256, 4: 512}
"""Layers whose first block differs from torchvision's, and their widths."""
MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
OPTIONS_34 = {
    **CLIP_OPTIONS,
    "frames": Option(CLIP_FRAMES_34, int, least=1),
    "crop": Option("centre", str, choices=("centre", "none")),
}
# oneDNN's convolutions take a quarter less time on it than on contiguous clips.
_LAYOUT = torch.channels_last_3d


class R2Plus1D(Encoder):
    """R(2+1)D; `forward` takes `[B, 3, T, H, W]`, normalised.

    Args:
        prepare: From a picture to the network's size.
        *args: As `Encoder` takes them.
    """

    blocks = ("stem", "layer1", "layer2", "layer3", "layer4")

    def __init__(self, prepare: PrepareFrame, *args: Any) -> None:
        super().__init__(*args)
        self._prepare = prepare

    def forward(self, x: Tensor) -> Tensor:
        """Return layer 4's places as tokens `[B, T/8 * H/16 * W/16, 512]`."""
        m = self.module
        x = m.layer4(m.layer3(m.layer2(m.layer1(m.stem(x)))))  # type: ignore[operator]
        return x.flatten(2).transpose(1, 2)

    def pool(self, tokens: Tensor) -> Tensor:
        """Return the mean over time and space `[B, 512]`."""
        return tokens.mean(dim=1)

    def prepare(self, windows: Tensor) -> Tensor:
        """Return uint8 clips `[B, 3, T, H, W]` with Kinetics' mean and deviation."""
        x = windows.float() / 255.0
        x = (x - channels(MEAN, x)) / channels(STD, x)
        return x.contiguous(memory_format=_LAYOUT)

    def recipe(self, kind: MediaKind) -> FrameRuns:
        """Return the pre-processing of video."""
        return FrameRuns(ClipWindows.recorded(self.spec.recipe), self._prepare)


def load_18(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder:
    """Return R(2+1)D-18; see `load_encoder`."""
    values, given = check_options(entry.name, options, CLIP_OPTIONS)
    windows = ClipWindows.of(entry.name, values, frames=CLIP_FRAMES_18)
    height, width = RESIZED_18
    return _load(
        entry,
        weights,
        device,
        given,
        build=_build_18 if entry.width is None else partial(_build_narrow_18, entry.width),
        windows=windows,
        prepare=partial(squash_and_crop, height=height, width=width, side=SIDE),
        resize={
            "resize": [*RESIZED_18, "bilinear without antialiasing, rounded to bytes"],
            "centre_crop": [SIDE, SIDE],
        },
    )


def load_34(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder:
    """Return R(2+1)D-34; see `load_encoder`."""
    values, given = check_options(entry.name, options, OPTIONS_34)
    windows = ClipWindows.of(entry.name, values, frames=values["frames"])
    side = SIDE if values["crop"] == "centre" else None
    return _load(
        entry,
        weights,
        device,
        given,
        build=_build_34,
        windows=windows,
        prepare=partial(shorten_and_crop, short=SHORT_34, side=side),
        resize={
            "resize": [SHORT_34, "short side, bilinear without antialiasing, rounded to bytes"],
            "centre_crop": None if side is None else [side, side],
            "norm_eps": CAFFE2_EPS,
        },
    )


def _load(
    entry: EncoderEntry,
    weights: str | None,
    device: torch.device,
    given: dict[str, Any],
    *,
    build: Any,
    windows: ClipWindows,
    prepare: PrepareFrame,
    resize: dict[str, Any],
) -> Encoder:
    module, found = load_network(entry, weights, build=build, drop=("fc.",))
    if entry.width is not None:
        entry = replace(entry, dim=8 * entry.width)
    spec = entry.spec(
        found,
        options=given,
        rows_per_second=windows.rows_per_second,
        recipe={
            **windows.recipe,
            **resize,
            "colour": "RGB",
            "mean": list(MEAN),
            "std": list(STD),
            "feature": "mean over time and space of layer 4",
        },
        packages=("torch", "torchvision", "numpy", "av"),
    )
    network = module if entry.is_trainable else fold_batch_norms(module)
    return R2Plus1D(prepare, spec, network, device)


def _build_18() -> nn.Module:
    return _finished(r2plus1d_18(weights=None))


def _build_narrow_18(width: int) -> nn.Module:
    """Return the network of R(2+1)D-18 with `width` channels in its first layer, not 64."""
    with torch.device("meta"):
        module = r2plus1d_18(weights=None)
    middle = max(1, round(45 * width / 64))
    module.stem = nn.Sequential(
        nn.Conv3d(3, middle, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, width, (3, 1, 1), 1, (1, 0, 0), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )
    inside = width
    for number in range(1, 5):
        outside = width * 2 ** (number - 1)
        stride = 1 if number == 1 else 2
        blocks = [_narrow_block(inside, outside, stride), _narrow_block(outside, outside, 1)]
        setattr(module, f"layer{number}", nn.Sequential(*blocks))
        inside = outside
    return _finished(module)


def _narrow_block(inside: int, outside: int, stride: int) -> nn.Module:
    downsample = None
    if stride != 1 or inside != outside:
        downsample = nn.Sequential(
            nn.Conv3d(inside, outside, 1, stride, bias=False), nn.BatchNorm3d(outside)
        )
    block: nn.Module = BasicBlock(inside, outside, Conv2Plus1D, stride, downsample)
    return block


def _build_34() -> nn.Module:
    module = VideoResNet(
        block=BasicBlock,
        conv_makers=[Conv2Plus1D] * 4,
        layers=list(BLOCKS_34),
        stem=R2Plus1dStem,
    )
    for layer, width in WIDTHS_34.items():
        # Upstream counts the planes of both convolutions as if they had the block's width.
        planes = (width * width * 27) // (width * 9 + 3 * width)
        getattr(module, f"layer{layer}")[0].conv2[0] = Conv2Plus1D(width, width, planes)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm3d):
            norm.eps = CAFFE2_EPS
    return _finished(module)


def _finished(module: Any) -> nn.Module:
    module.fc = nn.Identity()
    network: nn.Module = module.to(memory_format=_LAYOUT)
    return network
