"""From rows to a vector: masked mean and attention over time.

Shapes: B samples, T time steps, D features. A sample without valid rows pools to zero.
"""

import torch
from torch import Tensor, nn


def masked_mean(rows: Tensor, valid: Tensor) -> Tensor:
    """Return the mean over valid rows `[B, D]`.

    Args:
        rows: `[B, T, D]`, zero where not valid.
        valid: bool `[B, T]`.
    """
    count = valid.sum(dim=1, keepdim=True).clamp(min=1).to(rows.dtype)
    return rows.sum(dim=1) / count


class MeanPooling(nn.Module):
    """The masked mean as a module.

    Args:
        width: Features a row, D; unused, so that poolers are made alike.
    """

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, rows: Tensor, valid: Tensor) -> Tensor:
        """Return `[B, D]` from `[B, T, D]` and bool `[B, T]`."""
        return masked_mean(rows, valid)


class AttentionPooling(nn.Module):
    """A softmax over time of one learned score a row (self-attentive pooling).

    Args:
        width: Features a row, D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, max(8, width // 4))
        # No bias: the softmax over time would cancel it, and it would never learn.
        self.score = nn.Linear(max(8, width // 4), 1, bias=False)

    def forward(self, rows: Tensor, valid: Tensor) -> Tensor:
        """Return `[B, D]` from `[B, T, D]` and bool `[B, T]`."""
        scores = self.score(torch.tanh(self.hidden(rows))).squeeze(-1)
        # The lowest finite number and not -inf: a row without valid steps stays finite.
        scores = scores.masked_fill(~valid, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=1).masked_fill(~valid, 0.0)
        pooled: Tensor = (weights[:, :, None] * rows).sum(dim=1)
        return pooled


POOLINGS: dict[str, type[MeanPooling] | type[AttentionPooling]] = {
    "mean": MeanPooling,
    "attention": AttentionPooling,
}


def make_poolings(name: str, dims: dict[str, int]) -> nn.ModuleDict:
    """Return a pooler for each modality.

    Raises:
        ValueError: If there is no pooling of this name.
    """
    if name not in POOLINGS:
        raise ValueError(f"pooling: must be one of {', '.join(POOLINGS)}, not {name!r}")
    return nn.ModuleDict({modality: POOLINGS[name](width) for modality, width in dims.items()})
