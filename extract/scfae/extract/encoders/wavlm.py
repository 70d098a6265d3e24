"""WavLM by transformers' `WavLMModel`; weights in the layout of microsoft/unilm or transformers.

Upstream's file holds `cfg` and `model`; bucket distances and the like are taken from `cfg`, with
its code's defaults for what `cfg` does not say, and the published values where there is no `cfg`.
Input: 16 kHz mono, in [-1, 1]. Large takes each piece of sound with its own mean and variance
removed (`cfg.normalize`), Base and Base+ take it as it is. Pieces of a batch are always of exactly
one length: the group norm of Base runs over time and would see padding.

Layers: without the option, upstream's `extract_features(wav)[0]`, after the final norm where there
is one (Large). `layer=N` is upstream's `output_layer=N`: what layer N gives, without the final norm
(so layer 24 of Large is not the default), layer 0 being what the first layer reads. `layer=all`
gives every one of them, a column each, by one forward pass.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scfae.store.errors import ConfigError, WeightsMismatch

from ..encoder import Encoder, EncoderSpec
from ..entry import EncoderEntry
from ..options import Option, check_options
from ..recipe import MediaKind
from ..utterances import (
    ROW_SAMPLES,
    SAMPLE_RATE_HZ,
    STEP_S,
    STEP_SAMPLES,
    UtteranceRecipe,
)
from ..weights import (
    State,
    Weights,
    build_random,
    load_strict,
    locate,
    read_document,
    state_of,
)

WINDOW_S = 20.0
OPTIONS = {
    "layer": Option(None, int, least=0, words=("all",)),
    "window_s": Option(WINDOW_S, float, least=0.02),
}
_BLOCK = {
    "self_attn.k_proj": "attention.k_proj",
    "self_attn.v_proj": "attention.v_proj",
    "self_attn.q_proj": "attention.q_proj",
    "self_attn.out_proj": "attention.out_proj",
    "self_attn.grep_linear": "attention.gru_rel_pos_linear",
    "self_attn.relative_attention_bias": "attention.rel_attn_embed",
    "self_attn_layer_norm": "layer_norm",
    "fc1": "feed_forward.intermediate_dense",
    "fc2": "feed_forward.output_dense",
    "final_layer_norm": "final_layer_norm",
}
_WEIGHT_NORM = {
    "weight_g": "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    "weight_v": "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
    "bias": "encoder.pos_conv_embed.conv.bias",
}
_KEPT_PASSES = 2


@dataclass(frozen=True, slots=True)
class Size:
    """Of one network.

    Attributes:
        dim: Features.
        depth: Layers.
        heads: Of attention.
        mlp: Hidden width.
        is_norm_first: Norms come before attention and at the end, not after attention.
        has_layer_norms: In every convolution, instead of one group norm.
        is_normalised: The input is.
        conv: Channels of the convolutions.
        has_conv_bias: The convolutions have biases.
        buckets: Of relative positions.
        max_distance: Rows from which on relative positions are one.
    """

    dim: int
    depth: int
    heads: int
    mlp: int
    is_norm_first: bool = False
    has_layer_norms: bool = False
    is_normalised: bool = False
    conv: int = 512
    has_conv_bias: bool = False
    buckets: int = 320
    max_distance: int = 800


SIZES = {
    "wavlm-base": Size(768, 12, 12, 3072),
    "wavlm-base-plus": Size(768, 12, 12, 3072),
    "wavlm-large": Size(
        1024, 24, 16, 4096, is_norm_first=True, has_layer_norms=True, is_normalised=True
    ),
}


class WavLM(Encoder):
    """WavLM; `forward` takes `[B, samples]`, for Large normalised.

    Args:
        spec: What it is.
        module: Its network.
        device: Where the network is.
        passes: The last forward passes, shared by the layers of one network; None for one layer.
    """

    pads_batches = False
    blocks = (
        "feature_extractor",
        "feature_projection",
        "+encoder.pos_conv_embed",
        "encoder.layers.*",
        "+encoder.layer_norm",
    )
    unused = ("masked_spec_embed",)

    def __init__(
        self,
        spec: EncoderSpec,
        module: nn.Module,
        device: torch.device,
        passes: "Passes | None" = None,
    ) -> None:
        super().__init__(spec, module, device)
        self._passes = passes

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows of the layer `[B, N, D]`, N = (samples - 400) // 320 + 1."""
        layer = self.spec.recipe["layer"]
        if layer is None:
            rows: Tensor = self.module(x).last_hidden_state
            return rows
        layers = run_layers(self.module, x) if self._passes is None else self._passes(x)
        chosen: Tensor = layers[layer]
        return chosen

    def pool(self, tokens: Tensor) -> Tensor:
        """Return the mean over time `[B, D]`; upstream has no pooled feature of its own."""
        return tokens.mean(dim=1)

    def prepare(self, windows: Tensor) -> Tensor:
        """Return sound as the network was trained on it: for Large, each piece normalised."""
        if self.spec.recipe["normalised"] is None:
            return windows
        return F.layer_norm(windows, windows.shape[-1:])

    def encode(self, windows: Tensor) -> Tensor:
        """Return every row of the layer `[B, N, D]`."""
        return self.forward(self.prepare(windows))

    def recipe(self, kind: MediaKind) -> UtteranceRecipe:
        """Return the pre-processing of sound."""
        return UtteranceRecipe(self.spec.recipe["rows"])


def run_layers(module: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Return what the first layer reads and what each layer gives, `[B, N, D]` each."""
    layers: tuple[Tensor, ...] = module(x, output_hidden_states=True).hidden_states
    return layers


class Passes:
    """The last forward passes of one network: its layers fill columns from one pass a batch.

    Columns are fed the same batches one after the other; a batch is known by its content.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._kept: deque[tuple[Tensor, tuple[Tensor, ...]]] = deque(maxlen=_KEPT_PASSES)

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return every layer's rows."""
        for known, layers in self._kept:
            if known.shape == x.shape and torch.equal(known, x):
                return layers
        layers = run_layers(self._module, x)
        self._kept.append((x.clone(), layers))
        return layers


def load(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder | list[Encoder]:
    """Return WavLM, or an encoder a layer for `layer=all`; see `load_encoder`."""
    values, given = check_options(entry.name, options, OPTIONS)
    module, found, size = _network(entry, weights)
    layer = values["layer"]
    if isinstance(layer, int) and layer > size.depth:
        raise ConfigError(f"{entry.name}: option layer must be at most {size.depth}, not {layer}.")
    recipe = _recipe(size, values["window_s"])
    packages = ("torch", "transformers", "av")

    def spec(layer: int | None) -> EncoderSpec:
        return entry.spec(
            found,
            options=given if layer is None else given | {"layer": layer},
            rows_per_second=1.0 / STEP_S,
            recipe=recipe | {"layer": layer, "feature": _feature(size, layer)},
            packages=packages,
        )

    if layer == "all":
        passes = Passes(module)
        return [WavLM(spec(i), module, device, passes) for i in range(size.depth + 1)]
    if layer is not None:
        # What comes after the layer is not needed; without any layer none would be recorded.
        module.encoder.layers = module.encoder.layers[: max(1, layer)]  # type: ignore[union-attr,index]
    return WavLM(spec(layer), module, device)


def _recipe(size: Size, window_s: float) -> dict[str, Any]:
    rows = max(1, round(window_s / STEP_S))
    return {
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "channels": "resampled by libswresample, then the mean of all",
        "window_s": window_s,
        "rows": rows,
        "window_samples": (rows - 1) * STEP_SAMPLES + ROW_SAMPLES,
        "shorter": "one piece of all its samples",
        "least_samples": ROW_SAMPLES,
        "normalised": "each piece: mean 0, variance 1, eps 1e-5" if size.is_normalised else None,
        "buckets": size.buckets,
        "max_distance": size.max_distance,
    }


def _feature(size: Size, layer: int | None) -> str:
    if layer is None:
        return "last layer, after the final norm" if size.is_norm_first else "last layer"
    what = "input of layer 1" if layer == 0 else f"output of layer {layer}"
    return f"{what}, without the final norm" if size.is_norm_first else what


def _network(entry: EncoderEntry, weights: str | None) -> tuple[nn.Module, Weights, Size]:
    found = locate(entry, weights)
    size = SIZES[entry.name]
    if found.path is None:
        return build_random(partial(_build, size), found.seed or 0), found, size
    document = read_document(found.path)
    cfg = document.get("cfg") if isinstance(document, Mapping) else None
    if isinstance(cfg, Mapping):
        size = _with_cfg(size, cfg, found.path)
        document = {key: value for key, value in document.items() if key != "cfg"}
    state = _rename(state_of(document, found.path))
    module = build_random(partial(_build, size), 0)
    load_strict(
        module, state, path=found.path, encoder=entry.name, drop=("mask_emb", "masked_spec_embed")
    )
    return module, found, size


def _with_cfg(size: Size, cfg: Mapping[str, Any], path: Path) -> Size:
    """Return the size with what an upstream file says of its own network.

    Raises:
        WeightsMismatch: If it says something that this network cannot be.
    """
    conv = f"[({size.conv},10,5)]+[({size.conv},3,2)]*4+[({size.conv},2,2)]*2"
    fixed = {
        "activation_fn": "gelu",
        "conv_feature_layers": conv,
        "relative_position_embedding": True,
        "gru_rel_pos": True,
    }
    for key, value in fixed.items():
        given = cfg.get(key, value)
        if (given.replace(" ", "") if isinstance(given, str) else given) != value:
            raise WeightsMismatch(f"{path}: its cfg says {key} {given!r}, which is not WavLM's.")
    return replace(
        size,
        is_norm_first=bool(cfg.get("layer_norm_first", False)),
        has_layer_norms=cfg.get("extractor_mode", "default") == "layer_norm",
        is_normalised=bool(cfg.get("normalize", False)),
        has_conv_bias=bool(cfg.get("conv_bias", False)),
        buckets=int(cfg.get("num_buckets", 320)),
        max_distance=int(cfg.get("max_distance", 1280)),
    )


def _build(size: Size) -> nn.Module:
    from transformers import WavLMConfig, WavLMModel

    return WavLMModel(
        WavLMConfig(
            hidden_size=size.dim,
            num_hidden_layers=size.depth,
            num_attention_heads=size.heads,
            intermediate_size=size.mlp,
            feat_extract_norm="layer" if size.has_layer_norms else "group",
            do_stable_layer_norm=size.is_norm_first,
            conv_dim=[size.conv] * 7,
            conv_bias=size.has_conv_bias,
            num_buckets=size.buckets,
            max_bucket_distance=size.max_distance,
            mask_time_prob=0.0,
            mask_feature_prob=0.0,
            layerdrop=0.0,
        )
    )


def _rename(state: State) -> State:
    """Return a state under transformers' names, from either layout."""
    return {_renamed(key.removeprefix("wavlm.")): value for key, value in state.items()}


def _renamed(key: str) -> str:
    parts = key.split(".")
    if key.startswith("feature_extractor.conv_layers.") and parts[-2].isdigit():
        kind = "conv" if parts[3] == "0" else "layer_norm"
        return ".".join([*parts[:3], kind, parts[-1]])
    if key.startswith("layer_norm."):
        return f"feature_projection.{key}"
    if key.startswith("post_extract_proj."):
        return f"feature_projection.projection.{parts[-1]}"
    if key.startswith(("encoder.pos_conv.0.", "encoder.pos_conv_embed.conv.")):
        return _WEIGHT_NORM.get(parts[-1], key)
    if key.startswith("encoder.layers."):
        block, name = ".".join(parts[:3]), ".".join(parts[3:])
        if name == "self_attn.grep_a":
            return f"{block}.attention.gru_rel_pos_const"
        layer, _, kind = name.rpartition(".")
        return f"{block}.{_BLOCK.get(layer, layer)}.{kind}"
    return key
