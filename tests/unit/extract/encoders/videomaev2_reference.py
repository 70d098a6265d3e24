"""VideoMAE V2 written down a second time, from the description of its layout: plain functions of a
checkpoint in the official layout, no module and no library model."""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import official

EPS = 1e-6


def layout(
    seed: int, *, dim: int, depth: int, mlp: int, patch: int, pretraining: bool = False
) -> official.State:
    """Return an official checkpoint's tensors: fine-tuned, or self-supervised with a decoder."""
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.weight": (dim, 3, 2, patch, patch),
        "patch_embed.proj.bias": (dim,),
    }
    for i in range(depth):
        shapes |= {f"blocks.{i}.{key}": shape for key, shape in _block(dim, mlp).items()}
    if not pretraining:
        shapes |= {"fc_norm.weight": (dim,), "fc_norm.bias": (dim,)}
        shapes |= {"head.weight": (710, dim), "head.bias": (710,)}
        return official.fill(shapes, seed)
    shapes |= {"norm.weight": (dim,), "norm.bias": (dim,)}
    shapes = {f"encoder.{key}": shape for key, shape in shapes.items()}
    decoder = {f"blocks.0.{key}": shape for key, shape in _block(16, 32).items()}
    decoder |= {"norm.weight": (16,), "norm.bias": (16,), "head.weight": (8, 16)}
    shapes |= {f"decoder.{key}": shape for key, shape in decoder.items()}
    shapes |= {"encoder_to_decoder.weight": (16, dim), "mask_token": (1, 1, 16)}
    return official.fill(shapes, seed)


def _block(dim: int, mlp: int) -> dict[str, tuple[int, ...]]:
    return {
        "norm1.weight": (dim,),
        "norm1.bias": (dim,),
        "attn.qkv.weight": (3 * dim, dim),
        "attn.q_bias": (dim,),
        "attn.v_bias": (dim,),
        "attn.proj.weight": (dim, dim),
        "attn.proj.bias": (dim,),
        "norm2.weight": (dim,),
        "norm2.bias": (dim,),
        "mlp.fc1.weight": (mlp, dim),
        "mlp.fc1.bias": (mlp,),
        "mlp.fc2.weight": (dim, mlp),
        "mlp.fc2.bias": (dim,),
    }


def tokens(
    state: official.State, x: Tensor, heads: int, *, biases: bool = True, positions: bool = True
) -> Tensor:
    """Return the last block's tokens `[B, N, D]` of clips `[B, 3, T, H, W]`, not normalised."""
    weight = state["patch_embed.proj.weight"]
    dim, stride = weight.shape[0], weight.shape[2:]
    h = F.conv3d(x, weight, state["patch_embed.proj.bias"], stride=tuple(stride))
    h = h.flatten(2).transpose(1, 2)
    if positions:
        h = h + sines(h.shape[1], dim)
    depth = sum(key.endswith("attn.proj.weight") for key in state)
    for i in range(depth):
        block = {k.removeprefix(f"blocks.{i}."): v for k, v in state.items()}
        h = h + _attention(block, _norm(block, "norm1", h), heads, biases=biases)
        y = F.gelu(
            F.linear(_norm(block, "norm2", h), block["mlp.fc1.weight"], block["mlp.fc1.bias"])
        )
        h = h + F.linear(y, block["mlp.fc2.weight"], block["mlp.fc2.bias"])
    return h


def feature(state: official.State, h: Tensor, eps: float = EPS) -> Tensor:
    """Return `fc_norm` of the mean of the tokens."""
    weight, bias = state["fc_norm.weight"], state["fc_norm.bias"]
    return F.layer_norm(h.mean(dim=1), (h.shape[-1],), weight, bias, eps)


def final_norm(state: official.State, h: Tensor) -> Tensor:
    return _norm(state, "norm", h)


def sines(count: int, dim: int) -> Tensor:
    """Return the fixed position table over the flattened index, `[1, count, dim]`."""
    table = np.zeros((count, dim))
    for j in range(dim):
        angle = np.arange(count) / math.pow(10_000, 2 * (j // 2) / dim)
        table[:, j] = np.cos(angle) if j % 2 else np.sin(angle)
    return torch.tensor(table, dtype=torch.float32)[None]


def _norm(block: dict[str, Any], name: str, h: Tensor) -> Tensor:
    return F.layer_norm(h, (h.shape[-1],), block[f"{name}.weight"], block[f"{name}.bias"], EPS)


def _attention(block: dict[str, Any], h: Tensor, heads: int, *, biases: bool) -> Tensor:
    batch, count, dim = h.shape
    zero = torch.zeros(dim)
    bias = torch.cat([block["attn.q_bias"], zero, block["attn.v_bias"]]) if biases else None
    qkv = F.linear(h, block["attn.qkv.weight"], bias)
    q, k, v = qkv.reshape(batch, count, 3, heads, dim // heads).permute(2, 0, 3, 1, 4)
    weights = ((q * (dim // heads) ** -0.5) @ k.transpose(-2, -1)).softmax(dim=-1)
    mixed = (weights @ v).transpose(1, 2).reshape(batch, count, dim)
    return F.linear(mixed, block["attn.proj.weight"], block["attn.proj.bias"])
