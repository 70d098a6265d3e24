"""Low-rank updates (LoRA): one for all samples, or one for each combination of modalities.

Shapes: r rank, K combinations.
"""

from torch import Tensor, nn


class LowRank(nn.Module):
    """`B (A dropout(x))`, zero when it begins (Hu et al., ICLR 2022).

    Args:
        in_width: Features of x.
        out_width: Features that come out.
        rank: r.
        dropout: Of x.
    """

    def __init__(self, in_width: int, out_width: int, rank: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.down = nn.Linear(in_width, rank, bias=False)
        self.up = nn.Linear(rank, out_width, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[..., out_width]` from `[..., in_width]`."""
        y: Tensor = self.up(self.down(self.dropout(x)))
        return y


class LowRankChoice(nn.Module):
    """`B_c (A_c x)`, each place with the matrices of its own combination c.

    All A lie side by side in one matrix, all B in another, and what is not c is zeroed between
    them: K r is small.

    Args:
        in_width: Features of x.
        out_width: Features that come out.
        rank: r.
        num_choices: Combinations K.
        up_std: Standard deviation of a new B; 0 is LoRA's own.
    """

    def __init__(
        self, in_width: int, out_width: int, rank: int, num_choices: int, up_std: float
    ) -> None:
        super().__init__()
        self.num_choices = num_choices
        self.down = nn.Linear(in_width, num_choices * rank, bias=False)
        self.up = nn.Linear(num_choices * rank, out_width, bias=False)
        nn.init.normal_(self.up.weight, std=up_std)

    def forward(self, x: Tensor, choice: Tensor) -> Tensor:
        """Return `[..., out_width]` from x `[..., in_width]` and one-hot bool `[..., K]`."""
        low = self.down(x).unflatten(-1, (self.num_choices, -1))
        y: Tensor = self.up(low.masked_fill(~choice[..., None], 0.0).flatten(-2))
        return y
