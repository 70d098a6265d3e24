"""SwiGLU as the paper's Table 12 counts it: three linear layers with bias, hidden width 8d/3.

8d² + 19d/3 parameters: W1 and W2 take d to 8d/3, W3 takes it back.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class SwiGLU(nn.Module):
    """`W3(silu(W1 x) * W2 x)`, from width to width (Shazeer, arXiv 2002.05202).

    Args:
        width: Features, d; the hidden width is `int(8 d / 3)`.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = max(1, int(8 * width / 3))
        self.gate = nn.Linear(width, hidden)
        self.value = nn.Linear(width, hidden)
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[..., d]` from `[..., d]`."""
        y: Tensor = self.out(F.silu(self.gate(x)) * self.value(x))
        return y
