"""DINOv3 ViT-S/16 by timm; weights in the layout of facebookresearch/dinov3 or of timm.

Network: timm's `vit_small_patch16_dinov3_qkvb`, global pool by class token. Upstream multiplies
qkv biases by a mask stored beside them, which timm's own loading leaves out: it is applied here.
Input: RGB resized to 256 x 256 (bilinear with antialiasing, on bytes), ImageNet mean and std, as
upstream's README. Feature: the 384-d class token after the final norm.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import timm
import torch
from timm.models.eva import checkpoint_filter_fn
from torch import Tensor, nn

from scfae.store.errors import WeightsMismatch

from ..encoder import Encoder
from ..entry import EncoderEntry
from ..options import check_options
from ..pictures import PICTURE_OPTIONS, PictureRecipe
from ..pixels import channels
from ..recipe import MediaKind
from ..weights import State, build_random, load_network

SIDE = 256
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Of the upstream file, not of the network: training only, or made anew by timm.
_UPSTREAM_ONLY = ("mask_token", "rope_embed.periods", "local_cls_norm.")


class DinoV3(Encoder):
    """DINOv3; `forward` takes `[B, 3, H, W]`, H and W multiples of 16, normalised."""

    def forward(self, x: Tensor) -> Tensor:
        """Return class token, four registers, then patches, after the final norm `[B, N, 384]`."""
        tokens: Tensor = self.module.forward_features(x)  # type: ignore[operator]
        return tokens

    def pool(self, tokens: Tensor) -> Tensor:
        """Return the class token `[B, 384]`."""
        return tokens[:, 0]

    def prepare(self, windows: Tensor) -> Tensor:
        """Return uint8 windows `[B, 3, 256, 256]` with ImageNet's mean and deviation."""
        x = windows.float() / 255.0
        return (x - channels(MEAN, x)) / channels(STD, x)

    def recipe(self, kind: MediaKind) -> PictureRecipe:
        """Return the pre-processing of video or image."""
        return PictureRecipe(kind, self.spec.recipe["fps"], _prepare)


def load(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder:
    """Return DINOv3 ViT-S/16; see `load_encoder`."""
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
            "resize": "whole picture, torchvision bilinear with antialiasing, on bytes",
            "colour": "RGB",
            "mean": list(MEAN),
            "std": list(STD),
            "feature": "class token after the final norm",
        },
        packages=("torch", "torchvision", "timm", "pillow", "av"),
    )
    return DinoV3(spec, module, device)


def _prepare(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    from torchvision.transforms.v2 import functional

    picture = torch.from_numpy(pixels).permute(2, 0, 1)
    resized = functional.resize(picture, [SIDE, SIDE], antialias=True)
    return np.ascontiguousarray(resized.numpy())


def _build() -> nn.Module:
    module: nn.Module = timm.create_model(
        "vit_small_patch16_dinov3_qkvb", pretrained=False, global_pool="token", num_classes=0
    )
    return module


def _rename(state: State, path: Path) -> State:
    """Return the state under timm's names, from either layout."""
    if "storage_tokens" not in state:
        return state
    masked = dict(state)
    for key in state:
        if not key.endswith("qkv.bias_mask"):
            continue
        mask = masked.pop(key)
        if not bool(torch.isfinite(mask).all()):
            raise WeightsMismatch(
                f"{path}: {key} is not finite; the file was saved before its masks were set."
            )
        bias = key.removesuffix("_mask")
        if bias in masked:
            masked[bias] = masked[bias] * mask
    for key, value in masked.items():
        if key.endswith("qkv.bias") and bool(value.chunk(3)[1].any()):
            raise WeightsMismatch(f"{path}: {key} has a bias for keys, which the network has not.")
    kept = {key: v for key, v in masked.items() if not key.startswith(_UPSTREAM_ONLY)}
    # timm asks the network whether it has biases; the global generator stays as it is.
    renamed: State = checkpoint_filter_fn(kept, build_random(_build, 0))
    return renamed
