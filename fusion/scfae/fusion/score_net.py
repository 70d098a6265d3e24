"""The score of noisy latents, given what is seen: a one-dimensional U-Net with cross-attention.

IMDer's network (Wang et al., NeurIPS 2023), after Song's tutorial on score-based models: at every
level a convolution, the time's embedding, group norm and swish; then layers that attend to the
condition, brought to the same size by convolutions of its own. The output is divided by std(t). The
released network attends on its way up again, which doubles its cost; here it does on its way down.
There the first level hears the condition as it is, here through a convolution, and the last norm on
the way up has a group for each channel, here one for eight.

Shapes: B samples, W width, S steps, a multiple of 2^(levels - 1).
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import CrossAttentionLayer

SIGMA = 25.0
EMBEDDING_SCALE = 30.0


def marginal_std(t: Tensor) -> Tensor:
    """Return the noise of the variance-exploding process at time t, of the same shape.

    `sqrt((sigma^(2 t) - 1) / (2 log sigma))`, sigma = 25.
    """
    return ((SIGMA ** (2 * t) - 1) / (2 * math.log(SIGMA))).sqrt()


class Level(nn.Module):
    """A convolution with time, norm and swish.

    Args:
        convolution: From one level to the next.
        channels: Of its output.
        embedding: Width of the time's embedding.
    """

    def __init__(self, convolution: nn.Module, channels: int, embedding: int) -> None:
        super().__init__()
        self.convolution = convolution
        self.time = nn.Linear(embedding, channels)
        self.norm = nn.GroupNorm(math.gcd(channels, 32 if channels > 32 else 4), channels)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return `[B, channels, S']` from x and time `[B, embedding]`."""
        y: Tensor = self.norm(self.convolution(x) + self.time(time)[:, :, None])
        return F.silu(y)


class ScoreNet(nn.Module):
    """A conditional score network.

    Args:
        width: W, of latents and condition.
        channels: Of each level; each after the first has half the steps.
        num_heads: Attention heads; they divide every number of channels.
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
        ins = (width, *channels[:-1])
        self.down, self.condition = nn.ModuleList(), nn.ModuleList()
        self.attend = nn.ModuleList()
        for i, (into, out) in enumerate(zip(ins, channels, strict=True)):
            stride = 1 if i == 0 else 2
            convolution = nn.Conv1d(into, out, 3, stride=stride, padding=1, bias=False)
            self.down.append(Level(convolution, out, embedding))
            self.condition.append(nn.Conv1d(into, out, 3, stride=stride, padding=1, bias=False))
            self.attend.append(
                nn.ModuleList(CrossAttentionLayer(out, num_heads, dropout=0.0) for _ in range(2))
            )
        self.up = nn.ModuleList()
        for i in range(len(channels) - 1, 0, -1):
            into = channels[i] * (1 if i == len(channels) - 1 else 2)
            raised = nn.ConvTranspose1d(
                into, channels[i - 1], 3, stride=2, padding=1, output_padding=1, bias=False
            )
            self.up.append(Level(raised, channels[i - 1], embedding))
        last = channels[0] * (1 if len(channels) == 1 else 2)
        self.out = nn.Conv1d(last, width, 3, padding=1)

    def forward(self, x: Tensor, condition: Tensor, t: Tensor) -> Tensor:
        """Return the score `[B, W, S]` of x `[B, W, S]` at times t `[B]`."""
        angles = t[:, None] * self.frequencies[None] * 2 * math.pi
        time = F.silu(self.embed(torch.cat([angles.sin(), angles.cos()], dim=1)))
        levels, h = [], x
        for level, lower, attend in zip(self.down, self.condition, self.attend, strict=True):
            h = level(h, time)
            condition = lower(condition)
            h = _attend(attend, h, condition)
            levels.append(h)
        for level, skip in zip(self.up, reversed(levels[:-1]), strict=True):
            h = torch.cat([level(h, time), skip], dim=1)
        score: Tensor = self.out(h) / marginal_std(t)[:, None, None]
        return score


def _attend(layers: nn.Module, h: Tensor, condition: Tensor) -> Tensor:
    assert isinstance(layers, nn.ModuleList)
    tokens, keys = h.transpose(1, 2), condition.transpose(1, 2)
    every = torch.ones(keys.shape[:2], dtype=torch.bool, device=keys.device)
    for layer in layers:
        tokens = layer(tokens, keys, every)
    return tokens.transpose(1, 2)
