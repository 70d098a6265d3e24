"""DINOv3 written down a second time, from tensors under upstream's names, in plain operations."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .official import State


def forward(
    state: State, x: Tensor, *, heads: int, eps: float = 1e-5, is_masked: bool = True,
    has_final_norm: bool = True,
) -> Tensor:  # fmt: skip
    """Return class token, registers and patches `[B, N, D]` of pictures `[B, 3, H, W]`."""
    w = {key: value.double() for key, value in state.items()}
    x = x.double()
    patches = F.conv2d(x, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=16)
    rows, columns = patches.shape[2:]
    D = patches.shape[1]
    front = torch.cat([w["cls_token"], w["storage_tokens"]], dim=1).expand(len(x), -1, -1)
    t = torch.cat([front, patches.flatten(2).transpose(1, 2)], dim=1)
    angles = rotary_angles(rows, columns, D // heads)

    def norm(t: Tensor, name: str) -> Tensor:
        centred = t - t.mean(dim=-1, keepdim=True)
        scale = (centred.square().mean(dim=-1, keepdim=True) + eps).sqrt()
        return centred / scale * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(t: Tensor, name: str) -> Tensor:
        return t @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    depth = 1 + max(int(key.split(".")[1]) for key in w if key.startswith("blocks."))
    for i in range(depth):
        name = f"blocks.{i}"
        bias = w[f"{name}.attn.qkv.bias"].clone()
        bias[D : 2 * D] = 0.0
        if is_masked:
            bias *= w[f"{name}.attn.qkv.bias_mask"]
        qkv = norm(t, f"{name}.norm1") @ w[f"{name}.attn.qkv.weight"].T + bias
        q, k, v = qkv.view(len(x), -1, 3, heads, D // heads).permute(2, 0, 3, 1, 4)
        q, k = turn(q, angles), turn(k, angles)
        weights = (q @ k.transpose(2, 3) / (D // heads) ** 0.5).softmax(dim=-1)
        attended = (weights @ v).transpose(1, 2).flatten(2)
        t = t + linear(attended, f"{name}.attn.proj") * w[f"{name}.ls1.gamma"]
        h = norm(t, f"{name}.norm2")
        if f"{name}.mlp.w1.weight" in w:
            gate = linear(h, f"{name}.mlp.w1")
            h = linear(gate * torch.sigmoid(gate) * linear(h, f"{name}.mlp.w2"), f"{name}.mlp.w3")
        else:
            h = linear(F.gelu(linear(h, f"{name}.mlp.fc1")), f"{name}.mlp.fc2")
        t = t + h * w[f"{name}.ls2.gamma"]
    return (norm(t, "norm") if has_final_norm else t).float()


def rotary_angles(rows: int, columns: int, width: int) -> Tensor:
    """Return the angle of each patch and pair of channels `[rows * columns, width / 2]`.

    Centres of patches from -1 to 1 on each axis; the first half of the pairs turns with the row,
    the second with the column, at periods from 1 towards 100.
    """
    steps = torch.arange(width // 4, dtype=torch.float64) / (width // 4)
    frequencies = 2 * torch.pi / 100.0**steps
    y = (torch.arange(rows) + 0.5) / rows * 2 - 1
    x = (torch.arange(columns) + 0.5) / columns * 2 - 1
    by_row = (y[:, None, None] * frequencies).expand(-1, columns, -1)
    by_column = (x[None, :, None] * frequencies).expand(rows, -1, -1)
    return torch.cat([by_row, by_column], dim=-1).flatten(0, 1)


def turn(t: Tensor, angles: Tensor) -> Tensor:
    """Turn the patches of `[B, heads, N, width]`; class token and registers stay."""
    front, patches = t[:, :, :5], t[:, :, 5:]
    first, second = patches.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    return torch.cat([front, turned], dim=2)
