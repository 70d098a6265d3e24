"""VideoMAE V2 by transformers' `VideoMAEModel`, weights in the layouts of OpenGVLab/VideoMAEv2.

Two layouts, bare or in `model` or `module`, with or without the prefix `backbone.` or `encoder.`:
- fine-tuned or distilled (`fc_norm.*`): `forward` returns the last block's tokens, not normalised;
  `pool` is upstream's feature, `fc_norm` (eps 1e-6) of the mean of all tokens.
- self-supervised (`norm.*`, with a decoder that is dropped): `forward` returns tokens after the
  final norm, as upstream's encoder does; there is no official pooled feature: `pool` is their mean.

Upstream keeps one matrix for query, key and value, a bias for query and one for value; they are
taken apart here. Positions are a fixed sine table, which no file holds. Input: see `clips.py`.
Deviation: pictures are resized as torch does, not cv2; they differ by at most one grey level.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scfae.store.errors import ConfigError, WeightsMismatch

from ..clips import SIDE, ClipRecipe, Resize
from ..encoder import Encoder
from ..entry import EncoderEntry
from ..options import Option, check_options
from ..pixels import channels
from ..recipe import MediaKind
from ..weights import State, load_network

CLIP_FRAMES = 16
TUBELET_FRAMES = 2
EPS = 1e-6
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OPTIONS = {
    "rate": Option(4, int, least=1),
    "stride": Option(None, int, least=1),
    "stride_s": Option(None, float, least=0.001),
    "fps": Option(None, float, least=0.001),
    "window_s": Option(None, float, least=0.001),
    "resize": Option("crop", str, choices=("crop", "squash")),
    "normalise": Option("imagenet", str, choices=("imagenet", "none")),
}
_PREFIXES = ("backbone.", "encoder.")
_DROPPED = ("head.", "decoder.", "encoder_to_decoder.", "mask_token")
_BLOCK = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


@dataclass(frozen=True, slots=True)
class Size:
    """Of one network; `mlp` is the hidden width."""

    dim: int
    depth: int
    heads: int
    patch: int
    mlp: int


SIZES = {
    "videomaev2-s": Size(384, 12, 6, 16, 1536),
    "videomaev2-b": Size(768, 12, 12, 16, 3072),
    "videomaev2-g": Size(1408, 40, 16, 14, 6144),
}


class Network(nn.Module):
    """Transformers' model, and the norm of the pooled feature that it lacks.

    Args:
        size: Of the network.
        is_pretraining: The self-supervised layout: tokens are normalised, their mean is not.
    """

    def __init__(self, size: Size, *, is_pretraining: bool) -> None:
        from transformers import VideoMAEConfig, VideoMAEModel

        super().__init__()
        self.model = VideoMAEModel(
            VideoMAEConfig(
                image_size=SIDE,
                patch_size=size.patch,
                num_frames=TUBELET_FRAMES,  # decides the table alone, which it fills for seconds
                tubelet_size=TUBELET_FRAMES,
                hidden_size=size.dim,
                num_hidden_layers=size.depth,
                num_attention_heads=size.heads,
                intermediate_size=size.mlp,
                layer_norm_eps=EPS,
                qv_bias=True,
                use_mean_pooling=not is_pretraining,
            )
        )
        embeddings = self.model.embeddings
        count = embeddings.num_patches * CLIP_FRAMES // TUBELET_FRAMES
        del embeddings.position_embeddings
        embeddings.register_buffer("position_embeddings", _sines(count, size.dim), persistent=False)
        self.fc_norm = nn.Identity() if is_pretraining else nn.LayerNorm(size.dim, eps=EPS)


class VideoMAEV2(Encoder):
    """VideoMAE V2; `forward` takes `[B, 3, 16, 224, 224]`, normalised."""

    blocks = ("model.embeddings", "model.encoder.layer.*", "+model.layernorm", "+fc_norm")

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens `[B, N, D]` in order of time, height, width; N is 1568, for g 2048."""
        model = self.module.model
        tokens: Tensor = model(x.transpose(1, 2)).last_hidden_state  # type: ignore[operator]
        return tokens

    def pool(self, tokens: Tensor) -> Tensor:
        """Return the clip's feature `[B, D]`; see the module."""
        pooled: Tensor = self.module.fc_norm(tokens.mean(dim=1))  # type: ignore[operator]
        return pooled

    def prepare(self, windows: Tensor) -> Tensor:
        """Return uint8 clips `[B, 3, 16, 224, 224]` in [0, 1], with ImageNet's mean and std."""
        x = windows.float() / 255.0
        if self.spec.recipe["mean"] is None:
            return x
        return (x - channels(MEAN, x)) / channels(STD, x)

    def recipe(self, kind: MediaKind) -> ClipRecipe:
        """Return the pre-processing of video."""
        options = {name: self.spec.recipe[name] for name in ("rate", "stride", "stride_s", "fps")}
        resize: Resize = "squash" if self.spec.recipe["resize"] == "squash" else "crop"
        return ClipRecipe(CLIP_FRAMES, resize=resize, **options)


def load(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder:
    """Return VideoMAE V2; see `load_encoder`."""
    values, given = check_options(entry.name, options, OPTIONS)
    stride, stride_s, fps = values["stride"], values["stride_s"], values["fps"]
    if values["window_s"] is not None:
        if fps is not None:
            raise ConfigError(f"{entry.name}: give fps or window_s, not both.")
        fps = CLIP_FRAMES * values["rate"] / values["window_s"]
    if stride is not None and stride_s is not None:
        raise ConfigError(f"{entry.name}: give stride (frames) or stride_s (seconds), not both.")
    if fps is not None and stride is None and stride_s is None:
        raise ConfigError(
            f"{entry.name}: fps and window_s go with stride or stride_s; the one centred clip is "
            "counted in the video's own frames."
        )
    module, found = load_network(
        entry,
        weights,
        build=partial(Network, SIZES[entry.name], is_pretraining=False),
        build_for=partial(_build_for, SIZES[entry.name]),
        rename=_rename,
        drop=("head.",),
    )
    is_pretraining = isinstance(module.fc_norm, nn.Identity)
    is_plain = values["normalise"] == "none"
    rate_hz = None if stride_s is None else 1.0 / stride_s
    if stride is not None and fps is not None:
        rate_hz = fps / stride
    spec = entry.spec(
        found,
        options=given,
        rows_per_second=rate_hz,
        recipe={
            "frames": CLIP_FRAMES,
            "rate": values["rate"],
            "stride": stride,
            "stride_s": stride_s,
            "fps": fps,
            "indices": "linspace over frames x rate, floored; upstream's validation",
            "clips": "the centred one" if stride is None and stride_s is None else "every stride",
            "resize": (
                f"short side to {SIDE}, then the centre" if values["resize"] == "crop" else "squash"
            ),
            "filter": "bilinear without antialiasing, rounded to bytes",
            "size": [SIDE, SIDE],
            "colour": "RGB",
            "mean": None if is_plain else list(MEAN),
            "std": None if is_plain else list(STD),
            "feature": (
                "mean of all tokens after the final norm (self-supervised weights)"
                if is_pretraining
                else "fc_norm (eps 1e-6) of the mean of all tokens"
            ),
        },
        packages=("torch", "transformers", "numpy", "av"),
    )
    return VideoMAEV2(spec, module, device)


def _sines(count: int, dim: int) -> Tensor:
    """Return the position table `[1, count, dim]`, computed in float64 as upstream does."""
    exponents = 2.0 * (np.arange(dim) // 2) / dim
    angles = np.arange(count, dtype=np.float64)[:, None] / np.power(10_000.0, exponents)
    table = np.where(np.arange(dim) % 2, np.cos(angles), np.sin(angles))
    return torch.from_numpy(table.astype(np.float32))[None]


def _build_for(size: Size, state: State) -> nn.Module:
    return Network(size, is_pretraining="fc_norm.weight" not in state)


def _rename(state: State, path: Path) -> State:
    """Return the state under the network's names, query, key and value taken apart."""
    bare: State = {}
    for key, value in state.items():
        prefix = next((p for p in _PREFIXES if key.startswith(p)), "")
        bare[key.removeprefix(prefix)] = value
    if len(bare) != len(state):
        raise WeightsMismatch(f"{path}: holds two networks of the same names; keep one of them.")
    is_pretraining = "norm.weight" in bare and "fc_norm.weight" not in bare
    renamed: State = {}
    for key, value in bare.items():
        if is_pretraining and key.startswith(_DROPPED):
            continue
        renamed |= _renamed(key, value)
    return renamed


def _renamed(key: str, value: Tensor) -> State:
    if key.startswith("patch_embed.proj."):
        return {
            key.replace("patch_embed.proj", "model.embeddings.patch_embeddings.projection"): value
        }
    if key.startswith("norm."):
        return {f"model.layer{key}": value}
    head, _, tail = key.partition(".")
    if head != "blocks":
        return {key: value}
    number, _, name = tail.partition(".")
    block = f"model.encoder.layer.{number}"
    attention = f"{block}.attention.attention"
    if name == "attn.qkv.weight" and value.dim() == 2 and len(value) % 3 == 0:
        parts = zip(("query", "key", "value"), value.chunk(3), strict=True)
        return {f"{attention}.{part}.weight": matrix for part, matrix in parts}
    if name in ("attn.q_bias", "attn.v_bias"):
        part = "query" if name == "attn.q_bias" else "value"
        return {f"{attention}.{part}.bias": value}
    layer, _, kind = name.rpartition(".")
    return {f"{block}.{_BLOCK[layer]}.{kind}" if layer in _BLOCK else key: value}
