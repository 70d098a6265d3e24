"""WavLM in torchaudio, filled from the layout of microsoft/unilm by names written down here."""

from typing import Any

import torch
from torch import Tensor
from torchaudio.models import wavlm_model

from . import official

CONV = [(10, 5), *[(3, 2)] * 4, *[(2, 2)] * 2]


def layout(
    seed: int, *, dim: int, depth: int, heads: int, mlp: int, conv: int, is_large: bool
) -> official.State:
    """Return the tensors of an official checkpoint, of the kind of Base or of Large."""
    shapes: dict[str, tuple[int, ...]] = {"mask_emb": (dim,)}
    for i, (kernel, _) in enumerate(CONV):
        shapes[f"feature_extractor.conv_layers.{i}.0.weight"] = (conv, conv if i else 1, kernel)
        norm = f"feature_extractor.conv_layers.{i}.2" + (".1" if is_large else "")
        if is_large or i == 0:
            shapes |= {f"{norm}.weight": (conv,), f"{norm}.bias": (conv,)}
    shapes |= {
        "layer_norm.weight": (conv,),
        "layer_norm.bias": (conv,),
        "post_extract_proj.weight": (dim, conv),
        "post_extract_proj.bias": (dim,),
        "encoder.pos_conv.0.bias": (dim,),
        "encoder.pos_conv.0.weight_g": (1, 1, 128),
        "encoder.pos_conv.0.weight_v": (dim, dim // 16, 128),
        "encoder.layer_norm.weight": (dim,),
        "encoder.layer_norm.bias": (dim,),
        "encoder.layers.0.self_attn.relative_attention_bias.weight": (320, heads),
    }
    for i in range(depth):
        block: dict[str, tuple[int, ...]] = {"self_attn.grep_a": (1, heads, 1, 1)}
        sizes = {
            **{f"self_attn.{one}_proj": (dim, dim) for one in "kvq"},
            "self_attn.out_proj": (dim, dim),
            "self_attn.grep_linear": (8, dim // heads),
            "fc1": (mlp, dim),
            "fc2": (dim, mlp),
        }
        for name, shape in sizes.items():
            block |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            block |= {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}
        shapes |= {f"encoder.layers.{i}.{key}": shape for key, shape in block.items()}
    state = official.fill(shapes, seed)
    state["encoder.pos_conv.0.weight_g"] = 1.0 + state["encoder.pos_conv.0.weight_g"].abs()
    state["encoder.layers.0.self_attn.relative_attention_bias.weight"] *= 5.0
    return state


def cfg(*, conv: int, is_large: bool) -> dict[str, Any]:
    """Return what the file says of its network beside the sizes, as upstream writes it."""
    return {
        "extractor_mode": "layer_norm" if is_large else "default",
        "layer_norm_first": is_large,
        "normalize": is_large,
        "conv_feature_layers": f"[({conv},10,5)] + [({conv},3,2)] * 4 + [({conv},2,2)] * 2",
        "activation_fn": "gelu",
        "relative_position_embedding": True,
        "gru_rel_pos": True,
        "num_buckets": 320,
        "max_distance": 800,
        "dropout": 0.1,
    }


def network(state: official.State, *, is_large: bool, max_distance: int = 800) -> Any:
    """Return torchaudio's network with the numbers of a state."""
    dim, conv = state["post_extract_proj.weight"].shape
    depth = sum(key.endswith("grep_a") for key in state)
    model = wavlm_model(
        extractor_mode="layer_norm" if is_large else "group_norm",
        extractor_conv_layer_config=[(conv, kernel, stride) for kernel, stride in CONV],
        extractor_conv_bias=False,
        encoder_embed_dim=dim,
        encoder_projection_dropout=0.0,
        encoder_pos_conv_kernel=128,
        encoder_pos_conv_groups=16,
        encoder_num_layers=depth,
        encoder_num_heads=state["encoder.layers.0.self_attn.grep_a"].shape[1],
        encoder_num_buckets=320,
        encoder_max_distance=max_distance,
        encoder_attention_dropout=0.0,
        encoder_ff_interm_features=len(state["encoder.layers.0.fc1.weight"]),
        encoder_ff_interm_dropout=0.0,
        encoder_dropout=0.0,
        encoder_layer_norm_first=is_large,
        encoder_layer_drop=0.0,
        aux_num_out=None,
    )
    model.load_state_dict(_theirs(state, depth), strict=True)
    return model.eval()


def _theirs(state: official.State, depth: int) -> official.State:
    position = "encoder.transformer.pos_conv_embed.conv"
    names = {
        "layer_norm": "encoder.feature_projection.layer_norm",
        "post_extract_proj": "encoder.feature_projection.projection",
        "encoder.layer_norm": "encoder.transformer.layer_norm",
    }
    theirs = {
        f"{position}.bias": state["encoder.pos_conv.0.bias"],
        f"{position}.parametrizations.weight.original0": state["encoder.pos_conv.0.weight_g"],
        f"{position}.parametrizations.weight.original1": state["encoder.pos_conv.0.weight_v"],
    }
    for key, value in state.items():
        head, _, kind = key.rpartition(".")
        if head in names:
            theirs[f"{names[head]}.{kind}"] = value
        elif head.startswith("feature_extractor."):
            layer = ".".join(head.split(".")[:3])
            part = "conv" if head.split(".")[3] == "0" else "layer_norm"
            theirs[f"{layer}.{part}.{kind}"] = value
    for i in range(depth):
        here, there = f"encoder.layers.{i}", f"encoder.transformer.layers.{i}"
        attention = f"{here}.self_attn"
        pairs = {
            f"{attention}.out_proj": "attention.attention.out_proj",
            f"{attention}.grep_linear": "attention.gru_rel_pos_linear",
            f"{here}.self_attn_layer_norm": "layer_norm",
            f"{here}.fc1": "feed_forward.intermediate_dense",
            f"{here}.fc2": "feed_forward.output_dense",
            f"{here}.final_layer_norm": "final_layer_norm",
        }
        for kind in ("weight", "bias"):
            parts = [state[f"{attention}.{one}_proj.{kind}"] for one in "qkv"]
            theirs[f"{there}.attention.attention.in_proj_{kind}"] = torch.cat(parts)
            theirs |= {f"{there}.{b}.{kind}": state[f"{a}.{kind}"] for a, b in pairs.items()}
        theirs[f"{there}.attention.gru_rel_pos_const"] = state[f"{attention}.grep_a"]
    bias = "relative_attention_bias.weight"
    theirs["encoder.transformer.layers.0.attention.rel_attn_embed.weight"] = state[
        f"encoder.layers.0.self_attn.{bias}"
    ]
    return theirs


def output(model: Any, x: Tensor) -> Tensor:
    """Return upstream's plain `extract_features(wav)[0]`."""
    with torch.inference_mode():
        rows: Tensor = model(x)[0]
    return rows


def layers(model: Any, x: Tensor) -> list[Tensor]:
    """Return the input of layer 1 and what each layer gives, no final norm."""
    with torch.inference_mode():
        features, _ = model.feature_extractor(x, None)
        transformer = model.encoder.transformer
        h = transformer._preprocess(model.encoder.feature_projection(features))
        found, bias = [h], None
        for layer in transformer.layers:
            h, bias = layer(h, position_bias=bias)
            found.append(h)
    return found
