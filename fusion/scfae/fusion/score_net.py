"""The score of noisy latents, given what is seen: a one-dimensional U-Net with cross-attention.

IMDer's network (Wang et al., NeurIPS 2023), after the released code. At every level, down and up:

    h <- swish(norm(y + hear(y, condition) + time)),   y = convolution(h)

`hear` is MulT's causal cross-modal transformer; the condition is brought to each level's size by
convolutions of its own, the same way down and up. On the way up h goes in beside the h of the same
size on the way down. What comes out has no time, norm or swish, and is divided by std(t).

Deviation: one level alone is allowed, which has no way up.

Shapes: B samples, W width, S steps, a multiple of 2^(levels - 1).
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cross_encoder import CrossEncoder

SIGMA = 25.0
EMBEDDING_SCALE = 30.0


def marginal_std(t: Tensor) -> Tensor:
    """Return the noise of the variance-exploding process at time t, of the same shape.

    `sqrt((sigma^(2 t) - 1) / (2 log sigma))`, sigma = 25.
    """
    return ((SIGMA ** (2 * t) - 1) / (2 * math.log(SIGMA))).sqrt()


class Level(nn.Module):
    """A convolution of latents and one of the condition, hearing, and all but the last: time, norm.

    Args:
        convolution: Of latents, to the level's size.
        condition: Of the condition, to the same size.
        channels: That come out.
        num_heads: Attention heads.
        embedding: Width of the time's embedding; None for the last level.
        groups: Of the norm, at most.
    """

    def __init__(
        self,
        convolution: nn.Module,
        condition: nn.Module,
        channels: int,
        num_heads: int,
        embedding: int | None,
        groups: int = 32,
    ) -> None:
        super().__init__()
        self.convolution = convolution
        self.condition = condition
        self.hear = CrossEncoder(channels, num_heads, num_layers=2, dropout=0.0)
        self.time: nn.Linear | None = None
        if embedding is not None:
            self.time = nn.Linear(embedding, channels)
            self.norm = nn.GroupNorm(math.gcd(channels, groups), channels)

    def forward(self, h: Tensor, condition: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return h `[B, channels, S']` and the condition of the same size.

        Args:
            h: `[B, C, S]`.
            condition: `[B, C', S]`.
            time: `[B, embedding]`.
        """
        y: Tensor = self.convolution(h)
        condition = self.condition(condition)
        keys = condition.transpose(1, 2)
        every = torch.ones(keys.shape[:2], dtype=torch.bool, device=keys.device)
        y = y + self.hear(y.transpose(1, 2), keys, every, is_causal=True).transpose(1, 2)
        if self.time is None:
            return y, condition
        return F.silu(self.norm(y + self.time(time)[:, :, None])), condition


class ScoreNet(nn.Module):
    """A conditional score network.

    Args:
        width: W, of latents and condition; the first of `channels` in the released code.
        channels: Of each level, even; each after the first has half the steps.
        num_heads: Attention heads; they divide every number of channels, and W.
        embedding: Width of the time's embedding, even.
    """

    frequencies: Tensor

    def __init__(
        self, width: int, channels: Sequence[int], num_heads: int, embedding: int = 256
    ) -> None:
        super().__init__()
        random = torch.randn(embedding // 2) * EMBEDDING_SCALE
        self.register_buffer("frequencies", random)
        self.embed = nn.Linear(embedding, embedding)
        first, last = channels[0], len(channels) - 1
        # The released code hears the condition as it is at the first level, where its width fits.
        as_it_is = nn.Identity() if first == width else nn.Conv1d(width, first, 1, bias=False)
        into = nn.Conv1d(width, first, 3, padding=1, bias=False)
        self.down = nn.ModuleList([Level(into, as_it_is, first, num_heads, embedding, groups=4)])
        for wide, wider in pairwise(channels):
            halves = (_halve(wide, wider), _halve(wide, wider))
            self.down.append(Level(*halves, wider, num_heads, embedding))
        self.up = nn.ModuleList()
        for i in range(last, 0, -1):
            beside = channels[i] * (1 if i == last else 2)
            doubles = (_double(beside, channels[i - 1]), _double(channels[i], channels[i - 1]))
            self.up.append(Level(*doubles, channels[i - 1], num_heads, embedding))
        beside = first * (1 if last == 0 else 2)
        ends = (nn.Conv1d(beside, width, 3, padding=1), nn.Conv1d(first, width, 3, padding=1))
        self.out = Level(*ends, width, num_heads, None)

    def forward(self, x: Tensor, condition: Tensor, t: Tensor) -> Tensor:
        """Return the score `[B, W, S]` of x `[B, W, S]` at times t `[B]`."""
        angles = t[:, None] * self.frequencies[None] * 2 * math.pi
        time = F.silu(self.embed(torch.cat([angles.sin(), angles.cos()], dim=1)))
        skips, h = [], x
        for level in self.down:
            h, condition = level(h, condition, time)
            skips.append(h)
        skips.pop()  # the lowest level goes up itself
        for level in self.up:
            h, condition = level(h, condition, time)
            h = torch.cat([h, skips.pop()], dim=1)
        h, _ = self.out(h, condition, time)
        score: Tensor = h / marginal_std(t)[:, None, None]
        return score


def _halve(width: int, wider: int) -> nn.Conv1d:
    return nn.Conv1d(width, wider, 3, stride=2, padding=1, bias=False)


def _double(width: int, narrower: int) -> nn.ConvTranspose1d:
    return nn.ConvTranspose1d(width, narrower, 3, stride=2, padding=1, output_padding=1, bias=False)
