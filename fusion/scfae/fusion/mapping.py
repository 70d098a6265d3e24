"""SwiGLU as the paper's Table 12 counts it: three linear layers with bias, hidden width 8d/3.

8d² + 19d/3 parameters: W1 and W2 take d to 8d/3, W3 takes it back. The low-rank linear map is ours.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LowRankLinear(nn.Module):
    """A linear map through a narrow middle: `B (A x) + bias`, r (D + E) + E parameters.

    It begins with outputs as large as those of `nn.Linear`.

    Args:
        width_in: D.
        width_out: E.
        rank: r.
    """

    def __init__(self, width_in: int, width_out: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(width_in, rank, bias=False)
        self.up = nn.Linear(rank, width_out)
        with torch.no_grad():
            self.down.weight.mul_(math.sqrt(3.0))  # uniform weights keep a third of the variance

    def forward(self, x: Tensor) -> Tensor:
        """Return `[..., E]` from `[..., D]`."""
        y: Tensor = self.up(self.down(x))
        return y


def make_linear(width_in: int, width_out: int, rank_share: float | None) -> nn.Module:
    """Return a linear map with bias, or one of low rank.

    Args:
        width_in: D.
        width_out: E.
        rank_share: Share of the full rank `min(D, E)` that is kept; None is `nn.Linear`.
    """
    if rank_share is None:
        return nn.Linear(width_in, width_out)
    rank = max(1, round(rank_share * min(width_in, width_out)))
    return LowRankLinear(width_in, width_out, rank)


class SwiGLU(nn.Module):
    """`W3(silu(W1 x) * W2 x)`, from width to width (Shazeer, arXiv 2002.05202).

    Args:
        width: Features, d; the hidden width is `int(8 d / 3)`.
        rank_share: Share of the rank that its maps keep; None is all, the paper's.
    """

    def __init__(self, width: int, rank_share: float | None = None) -> None:
        super().__init__()
        hidden = max(1, int(8 * width / 3))
        self.gate = make_linear(width, hidden, rank_share)
        self.value = make_linear(width, hidden, rank_share)
        self.out = make_linear(hidden, width, rank_share)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[..., d]` from `[..., d]`."""
        y: Tensor = self.out(F.silu(self.gate(x)) * self.value(x))
        return y
