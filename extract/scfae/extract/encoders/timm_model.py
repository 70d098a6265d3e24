"""Any picture network of timm, by `timm:MODEL`, e.g. `timm:resnet18` or `timm:resnet18.a1_in1k`.

Network, weights layout and pre-processing are timm's own: its data configuration of the model
(size, filter, crop, mean and deviation) is what the column records, and pictures go through Pillow
as timm's evaluation has them. Feature: what timm's classifier reads, `forward_head(…,
pre_logits=True)`; the classifier itself is dropped. Weights: a file in timm's layout, the file of
the model's pretrained tag in the cache of torch's or Hugging Face's hub, or `random:SEED`.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from scfae.store.errors import ConfigError, UnknownEncoder

from ..encoder import Encoder, EncoderSpec
from ..entry import EncoderEntry
from ..options import check_options
from ..pictures import PICTURE_OPTIONS, PictureRecipe
from ..pixels import channels, resize_and_crop
from ..recipe import MediaKind
from ..weights import load_network

_FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")


class TimmModel(Encoder):
    """A network of timm; `forward` takes `[B, 3, H, W]`, normalised.

    Args:
        spec: What it is.
        module: Its network.
        device: Where the network is.
        shape: Of one picture's features at the model's own size, as `forward_features` has them.
    """

    def __init__(
        self, spec: EncoderSpec, module: nn.Module, device: torch.device, shape: tuple[int, ...]
    ) -> None:
        super().__init__(spec, module, device)
        self._shape = shape
        self._is_last = getattr(module, "output_fmt", "NCHW") == "NHWC"

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens, or the places of the last map, `[B, N, D]`."""
        features: Tensor = self.module.forward_features(x)  # type: ignore[operator]
        if features.dim() == 4:
            features = features.flatten(1, 2) if self._is_last else features.flatten(2).mT
        return features[:, None] if features.dim() == 2 else features

    def pool(self, tokens: Tensor) -> Tensor:
        """Return what the classifier would read `[B, D]`."""
        features = tokens
        if len(self._shape) == 1:
            features = tokens[:, 0]
        elif len(self._shape) == 3:
            height, width = self._places(tokens.shape[1])
            features = tokens.unflatten(1, (height, width))  # type: ignore[no-untyped-call]
            features = features if self._is_last else features.movedim(3, 1)
        pooled: Tensor = self.module.forward_head(features, pre_logits=True)  # type: ignore[operator]
        return pooled

    def prepare(self, windows: Tensor) -> Tensor:
        """Return uint8 windows `[B, 3, H, W]` with the model's mean and deviation."""
        x = windows.float() / 255.0
        mean, std = self.spec.recipe["mean"], self.spec.recipe["std"]
        return (x - channels(mean, x)) / channels(std, x)

    def recipe(self, kind: MediaKind) -> PictureRecipe:
        """Return the pre-processing of video or image."""
        recipe = self.spec.recipe
        prepare = partial(
            resize_and_crop,
            scaled=tuple(recipe["scaled"]),
            size=tuple(recipe["size"]),
            is_squashed=recipe["crop_mode"] == "squash",
            interpolation=recipe["interpolation"],
        )
        return PictureRecipe(kind, recipe["fps"], prepare)

    def _places(self, count: int) -> tuple[int, int]:
        own = self._shape[:2] if self._is_last else self._shape[1:]
        if count == own[0] * own[1]:
            return own[0], own[1]
        side = math.isqrt(count)
        if side * side != count:
            raise ValueError(
                f"tokens: {count} of them are no square map; give pictures of {own} places"
            )
        return side, side


def load(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder:
    """Return a network of timm; see `load_encoder`."""
    name = entry.name.removeprefix("timm:")
    _check_known(name)
    values, given = check_options(entry.name, options, PICTURE_OPTIONS)
    build = partial(timm.create_model, name, pretrained=False, num_classes=0)
    published = timm.get_pretrained_cfg(name)
    classifiers: Any = () if published is None else published.classifier or ()
    if isinstance(classifiers, str):
        classifiers = (classifiers,)
    drop = tuple(f"{classifier}." for classifier in classifiers)
    if published is not None and published.hf_hub_id:
        file = published.hf_hub_filename or "model.safetensors"
        entry = replace(entry, hub=f"{published.hf_hub_id}/{file}")
    module, found = load_network(entry, weights, build=build, drop=drop)
    config = _config(entry.name, module)
    with torch.no_grad():  # what a network keeps of it must serve training too
        features = module.eval().forward_features(torch.zeros(1, *config["input_size"]))  # type: ignore[operator]
        dim = module.forward_head(features, pre_logits=True).shape[-1]  # type: ignore[operator]
    licence = "not stated by timm" if published is None else published.license
    entry = replace(entry, dim=dim, licence=licence or "not stated by timm")
    modality = values["modality"]
    spec = entry.spec(
        found,
        options=given,
        modality=modality,
        rows_per_second=None if modality == "image" else values["fps"],
        recipe={
            "fps": values["fps"],
            "size": list(config["input_size"][1:]),
            "scaled": [math.floor(s / config["crop_pct"]) for s in config["input_size"][1:]],
            "crop_mode": config["crop_mode"],
            "interpolation": config["interpolation"],
            "resize": "Pillow, as timm's evaluation",
            "colour": "RGB",
            "mean": list(config["mean"]),
            "std": list(config["std"]),
            "feature": "forward_head(forward_features, pre_logits=True)",
        },
        packages=("torch", "timm", "pillow", "av"),
    )
    return TimmModel(spec, module, device, tuple(features.shape[1:]))


def _check_known(name: str) -> None:
    if timm.is_model(name):
        return
    near = difflib.get_close_matches(name.partition(".")[0], timm.list_models(), n=2)
    hint = f" Did you mean {' or '.join(f'timm:{one}' for one in near)}?" if near else ""
    raise UnknownEncoder(f"timm has no model '{name}'.{hint} See timm.list_models().")


def _config(name: str, module: nn.Module) -> dict[str, Any]:
    """Return timm's data configuration of a model.

    Raises:
        ConfigError: If it reads something else than square RGB pictures, centred or squashed.
    """
    config: dict[str, Any] = resolve_model_data_config(module)  # type: ignore[no-untyped-call]
    depth, height, width = config["input_size"]
    is_known = config["crop_mode"] == "squash" or (
        config["crop_mode"] == "center" and height == width
    )
    if depth != 3 or not is_known or config["interpolation"] not in _FILTERS:
        raise ConfigError(
            f"{name}: reads {config['input_size']} by {config['interpolation']}, crop "
            f"{config['crop_mode']}; only RGB pictures, centred (square) or squashed, are served."
        )
    return config
