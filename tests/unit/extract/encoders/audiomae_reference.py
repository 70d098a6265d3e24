"""AudioMAE written down a second time: Kaldi's filter bank in float64, and the transformer."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .official import State

Floats = npt.NDArray[np.float64]


def spectrogram(sound: npt.NDArray[np.floating]) -> Floats:
    """Return the normalised filter bank `[1024, 128]` of 16 kHz sound in [-1, 1]."""
    x = sound.astype(np.float64) - sound.astype(np.float64).mean()
    bank = filter_bank(x)[:1024]
    padded = np.zeros((1024, 128))
    padded[: len(bank)] = bank
    return (padded + 4.2677393) / (2 * 4.5689974)


def filter_bank(x: Floats) -> Floats:
    """Return log-mel frames `[frames, 128]`: 25 ms every 10 ms, whole frames only."""
    count = 1 + (len(x) - 400) // 160
    frames = np.stack([x[160 * k : 160 * k + 400] for k in range(count)])
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    frames = (frames - 0.97 * before) * np.hanning(400)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2

    def mel(hz: Floats) -> Floats:
        return 1127.0 * np.log(1.0 + hz / 700.0)

    edges = np.linspace(mel(np.array(20.0)), mel(np.array(8_000.0)), 130)
    places = mel(np.arange(257) * 16_000 / 512)
    rising = (places - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - places) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    filters[:, 256] = 0.0  # Kaldi leaves out the band at half the sample rate
    return np.asarray(np.log(np.maximum(power @ filters.T, np.finfo(np.float32).eps)))


def tokens(state: State, x: Tensor, *, eps: float = 1e-6, final_norm: str | None = None) -> Tensor:
    """Return class token and patches `[B, 513, 768]` of filter banks `[B, 1, 1024, 128]`."""
    w = state

    def linear(t: Tensor, name: str) -> Tensor:
        return t @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    # Patch 8 t + f is the square of 16 frames at t and of 16 bands at f.
    squares = x.view(len(x), 64, 16, 8, 16).permute(0, 1, 3, 2, 4).flatten(3).flatten(1, 2)
    patches = squares @ w["patch_embed.proj.weight"].flatten(1).T + w["patch_embed.proj.bias"]
    t = torch.cat([w["cls_token"].expand(len(x), -1, -1), patches], dim=1) + w["pos_embed"]
    depth = 1 + max(int(key.split(".")[1]) for key in w if key.startswith("blocks."))
    for i in range(depth):
        name = f"blocks.{i}"
        qkv = linear(norm(w, t, f"{name}.norm1", eps), f"{name}.attn.qkv")
        q, k, v = qkv.view(len(x), -1, 3, 12, 64).permute(2, 0, 3, 1, 4)
        attended = (q @ k.transpose(2, 3) / 8.0).softmax(dim=-1) @ v
        t = t + linear(attended.transpose(1, 2).flatten(2), f"{name}.attn.proj")
        h = F.gelu(linear(norm(w, t, f"{name}.norm2", eps), f"{name}.mlp.fc1"))
        t = t + linear(h, f"{name}.mlp.fc2")
    return t if final_norm is None else norm(w, t, final_norm, eps)


def norm(w: State, t: Tensor, name: str, eps: float = 1e-6) -> Tensor:
    """Return layer norm over the last dimension."""
    centred = t - t.mean(dim=-1, keepdim=True)
    scale = (centred.square().mean(dim=-1, keepdim=True) + eps).sqrt()
    return centred / scale * w[f"{name}.weight"] + w[f"{name}.bias"]
