"""DINOv3 vision transformers by timm; weights in the layout of facebookresearch/dinov3 or of timm.

Network: timm's `vit_*_patch16_dinov3_qkvb`. Upstream multiplies qkv biases by a mask stored beside
them, which timm's own loading leaves out: it is applied here. Input: RGB resized to 256 x 256
(bilinear with antialiasing, on bytes), mean and deviation of ImageNet, or of the SAT-493M pictures
for the ViT-L/16 trained on them (its file has a `local_cls_norm`), as upstream's README. Feature:
the class token after the final norm, upstream's embedding; `pool=mean` takes the mean of the patch
tokens, class token and registers left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from scfae.store.errors import WeightsMismatch

from ..encoder import Encoder
from ..entry import EncoderEntry
from ..options import Option, check_options
from ..pictures import PICTURE_OPTIONS, PictureRecipe
from ..pixels import channels, resize_smooth
from ..recipe import MediaKind
from ..weights import State, load_network

SIDE = 256
PIXELS = {
    "lvd": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "sat": ((0.430, 0.411, 0.296), (0.213, 0.156, 0.143)),
}
"""Mean and deviation of the pictures that the weights were trained on: LVD-1689M or SAT-493M."""
PREFIX_TOKENS = 5  # the class token and four registers
ARCHITECTURES = {
    "dinov3-vits16": "vit_small_patch16_dinov3_qkvb",
    "dinov3-vits16plus": "vit_small_plus_patch16_dinov3_qkvb",
    "dinov3-vitb16": "vit_base_patch16_dinov3_qkvb",
    "dinov3-vitl16": "vit_large_patch16_dinov3_qkvb",
    "dinov3-vith16plus": "vit_huge_plus_patch16_dinov3_qkvb",
}
"""timm's name of each network."""
FEATURES = {
    "cls": "class token after the final norm",
    "mean": "mean of the patch tokens after the final norm",
}
OPTIONS = {
    **PICTURE_OPTIONS,
    "pool": Option("cls", str, choices=tuple(FEATURES)),
    "pixels": Option(None, str, choices=tuple(PIXELS)),
}
# Of the upstream file, not of the network: training only, or made anew by timm.
_UPSTREAM_ONLY = ("mask_token", "rope_embed.periods", "local_cls_norm.")
_RENAMED = (
    ("storage_tokens", "reg_token"),
    (".ls1.gamma", ".gamma_1"),
    (".ls2.gamma", ".gamma_2"),
    (".mlp.w1.", ".mlp.fc1_g."),
    (".mlp.w2.", ".mlp.fc1_x."),
    (".mlp.w3.", ".mlp.fc2."),
)


class DinoV3(Encoder):
    """DINOv3; `forward` takes `[B, 3, H, W]`, H and W multiples of 16, normalised."""

    blocks = ("patch_embed", "+cls_token", "+reg_token", "blocks.*", "+norm")

    def forward(self, x: Tensor) -> Tensor:
        """Return class token, four registers, then patches, after the final norm `[B, N, D]`."""
        if x.shape[-2] % 16 or x.shape[-1] % 16:
            raise ValueError(f"x: {list(x.shape)} has sides that are no multiples of 16; resize it")
        tokens: Tensor = self.module.forward_features(x)  # type: ignore[operator]
        return tokens

    def pool(self, tokens: Tensor) -> Tensor:
        """Return the class token, or with `pool=mean` the mean of the patches, `[B, D]`."""
        if self.spec.recipe["pool"] == "mean":
            return tokens[:, PREFIX_TOKENS:].mean(dim=1)
        return tokens[:, 0]

    def prepare(self, windows: Tensor) -> Tensor:
        """Return uint8 windows `[B, 3, 256, 256]` with the mean and deviation of training."""
        x = windows.float() / 255.0
        mean, std = self.spec.recipe["mean"], self.spec.recipe["std"]
        return (x - channels(mean, x)) / channels(std, x)

    def recipe(self, kind: MediaKind) -> PictureRecipe:
        """Return the pre-processing of video or image."""
        return PictureRecipe(kind, self.spec.recipe["fps"], partial(resize_smooth, side=SIDE))


def load(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder:
    """Return a DINOv3 network; see `load_encoder`."""
    values, given = check_options(entry.name, options, OPTIONS)
    layout = _Layout(may_be_sat=entry.name == "dinov3-vitl16")
    build = partial(_build, ARCHITECTURES[entry.name])
    module, found = load_network(entry, weights, build=build, rename=layout.rename)
    modality = values["modality"]
    mean, std = PIXELS[values["pixels"] or ("sat" if layout.is_sat else "lvd")]
    spec = entry.spec(
        found,
        options=given,
        modality=modality,
        rows_per_second=None if modality == "image" else values["fps"],
        recipe={
            "fps": values["fps"],
            "size": [SIDE, SIDE],
            "resize": "whole picture, bilinear with antialiasing as torch has it for bytes",
            "colour": "RGB",
            "mean": list(mean),
            "std": list(std),
            "pool": values["pool"],
            "feature": FEATURES[values["pool"]],
        },
        packages=("torch", "timm", "numpy", "pillow", "av"),
    )
    return DinoV3(spec, module, device)


def _build(architecture: str) -> nn.Module:
    module: nn.Module = timm.create_model(
        architecture, pretrained=False, global_pool="token", num_classes=0
    )
    return module


@dataclass(slots=True)
class _Layout:
    """From a file's names to timm's, and what else the file says.

    Attributes:
        may_be_sat: There are weights of this network trained on SAT-493M.
        is_sat: The file holds them.
    """

    may_be_sat: bool
    is_sat: bool = False

    def rename(self, state: State, path: Path) -> State:
        """Return the state under the names of timm's network with qkv biases."""
        if "storage_tokens" not in state:
            return _with_biases(state)
        self.is_sat = self.may_be_sat and "local_cls_norm.weight" in state
        renamed: State = {}
        for key, value in _masked(state, path).items():
            if key.startswith(_UPSTREAM_ONLY):
                continue
            if key.endswith("attn.qkv.bias"):
                query, of_keys, of_values = value.chunk(3)
                if bool(of_keys.any()):
                    raise WeightsMismatch(
                        f"{path}: {key} has a bias for keys, which the network has not."
                    )
                stem = key.removesuffix("qkv.bias")
                renamed |= {f"{stem}q_bias": query, f"{stem}v_bias": of_values}
                continue
            for theirs, ours in _RENAMED:
                key = key.replace(theirs, ours)
            renamed[key] = value
        return renamed


def _with_biases(state: State) -> State:
    """Return timm's layout with qkv biases; its networks without them are those where all are 0."""
    if any(key.endswith("attn.q_bias") for key in state):
        return state
    zeros: State = {}
    for key, value in state.items():
        if key.endswith("attn.qkv.weight"):
            stem, width = key.removesuffix("qkv.weight"), value.shape[1]
            zeros |= {f"{stem}{one}_bias": value.new_zeros(width) for one in "qv"}
    return state | zeros


def _masked(state: State, path: Path) -> State:
    """Return the state with every qkv bias multiplied by its mask, and without masks."""
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
    return masked
