"""SwiGLU as the paper's Table 12 counts it: three linear layers with bias, hidden width 8d/3.

8d² + 19d/3 parameters: W1 and W2 take d to 8d/3, W3 takes it back. Maps in groups are ours.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GroupedLinear(nn.Module):
    """A linear map in groups: each reads its share of the input and writes its share of the output.

    Outputs come interleaved, so that the groups of a map behind it read from all of these. Widths
    that groups do not divide are padded: `ceil(D / g) ceil(E / g) g + E` parameters.

    Args:
        width_in: D.
        width_out: E.
        groups: g.
    """

    def __init__(self, width_in: int, width_out: int, groups: int) -> None:
        super().__init__()
        self.width_out = width_out
        each_in, each_out = math.ceil(width_in / groups), math.ceil(width_out / groups)
        self.padding = each_in * groups - width_in
        bound = 1 / math.sqrt(each_in)  # as nn.Linear of this many inputs
        self.weight = nn.Parameter(torch.empty(groups, each_in, each_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(width_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Return `[..., E]` from `[..., D]`."""
        rows = x.reshape(-1, x.shape[-1])
        shares = F.pad(rows, (0, self.padding)).view(len(rows), len(self.weight), -1)
        products = torch.bmm(shares.transpose(0, 1), self.weight.to(x.dtype))
        y = products.permute(1, 2, 0).flatten(1)[:, : self.width_out] + self.bias
        return y.view(*x.shape[:-1], self.width_out)


def make_linear(width_in: int, width_out: int, groups: int) -> nn.Module:
    """Return a linear map with bias, in groups if there is more than one.

    Args:
        width_in: D.
        width_out: E.
        groups: How many.
    """
    if groups == 1:
        return nn.Linear(width_in, width_out)
    return GroupedLinear(width_in, width_out, groups)


class SwiGLU(nn.Module):
    """`W3(silu(W1 x) * W2 x)`, from width to width (Shazeer, arXiv 2002.05202).

    Args:
        width: Features, d; the hidden width is `int(8 d / 3)`.
        groups: Of its maps; 1 is the paper's.
    """

    def __init__(self, width: int, groups: int = 1) -> None:
        super().__init__()
        hidden = max(1, int(8 * width / 3))
        self.gate = make_linear(width, hidden, groups)
        self.value = make_linear(width, hidden, groups)
        self.out = make_linear(hidden, width, groups)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[..., d]` from `[..., d]`."""
        y: Tensor = self.out(F.silu(self.gate(x)) * self.value(x))
        return y
