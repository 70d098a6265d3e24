"""From rows to a vector: six ways to make `[B, D]` of `[B, T, D]` with ragged lengths.

All keep the width and start from the valid rows alone; a sample without valid rows pools to zero.

Shapes: B samples, T time steps, D features.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .attention import SelfAttentionLayer, even_width, time_code
from .recurrent import BiLSTM

_INNER_WIDTH = 256
"""The widest that a pooler's own layers are: a pooler is to stay small beside the fusion."""


def masked_mean(rows: Tensor, valid: Tensor) -> Tensor:
    """Return the mean over valid rows `[B, D]`.

    Args:
        rows: `[B, T, D]`, zero where not valid.
        valid: bool `[B, T]`.
    """
    if rows.shape[1] == 1:
        return rows[:, 0]
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


class MaxPooling(nn.Module):
    """The largest value of each feature over valid rows.

    Args:
        width: Features a row, D; unused.
    """

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, rows: Tensor, valid: Tensor) -> Tensor:
        """Return `[B, D]` from `[B, T, D]` and bool `[B, T]`."""
        lowest = torch.finfo(rows.dtype).min
        largest = rows.masked_fill(~valid[:, :, None], lowest).amax(dim=1)
        return largest.masked_fill(~valid.any(dim=1)[:, None], 0.0)


class LastPooling(nn.Module):
    """The last valid row.

    Args:
        width: Features a row, D; unused.
    """

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, rows: Tensor, valid: Tensor) -> Tensor:
        """Return `[B, D]` from `[B, T, D]` and bool `[B, T]`."""
        places = torch.arange(rows.shape[1], device=rows.device)
        last = torch.where(valid, places, 0).amax(dim=1)
        picked = rows[torch.arange(len(rows), device=rows.device), last]
        return picked.masked_fill(~valid.any(dim=1)[:, None], 0.0)


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


class TransformerPooling(nn.Module):
    """One transformer layer over a learned token and the rows with their time; the token is read.

    Args:
        width: Features a row, D; the layer is at most 256 wide, between two linear maps.
        num_heads: Attention heads.
    """

    def __init__(self, width: int, num_heads: int = 4) -> None:
        super().__init__()
        inner = even_width(min(width, _INNER_WIDTH), num_heads)
        self.project = nn.Linear(width, inner)
        self.token = nn.Parameter(torch.randn(1, 1, inner) * 0.02)
        self.layer = SelfAttentionLayer(inner, num_heads, dropout=0.0)
        self.norm = nn.LayerNorm(inner)
        self.out = nn.Linear(inner, width)

    def forward(self, rows: Tensor, valid: Tensor) -> Tensor:
        """Return `[B, D]` from `[B, T, D]` and bool `[B, T]`."""
        tokens = self.project(rows)
        tokens = tokens + time_code(tokens)
        token = self.token.to(tokens.dtype).expand(len(rows), -1, -1)
        seen = nn.functional.pad(valid, (1, 0), value=True)
        read = self.layer(torch.cat([token, tokens], dim=1), seen)[:, 0]
        pooled: Tensor = self.out(self.norm(read))
        return pooled.masked_fill(~valid.any(dim=1)[:, None], 0.0)


class BiLSTMPooling(nn.Module):
    """The final states of both directions of an LSTM, through a linear map.

    Args:
        width: Features a row, D; each direction is at most 128 wide.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = BiLSTM(width, max(1, min(width, _INNER_WIDTH) // 2))
        self.out = nn.Linear(self.lstm.output_dim, width)

    def forward(self, rows: Tensor, valid: Tensor) -> Tensor:
        """Return `[B, D]` from `[B, T, D]` and bool `[B, T]`."""
        pooled: Tensor = self.out(self.lstm(rows, valid)[1])
        return pooled.masked_fill(~valid.any(dim=1)[:, None], 0.0)


POOLINGS: dict[str, Callable[[int], nn.Module]] = {
    "mean": MeanPooling,
    "max": MaxPooling,
    "last": LastPooling,
    "attention": AttentionPooling,
    "transformer": TransformerPooling,
    "bilstm": BiLSTMPooling,
}


def make_poolings(name: str, dims: dict[str, int]) -> nn.ModuleDict:
    """Return a pooler for each modality.

    Raises:
        ValueError: If there is no pooling of this name.
    """
    if name not in POOLINGS:
        raise ValueError(f"pooling: must be one of {', '.join(POOLINGS)}, not {name!r}")
    return nn.ModuleDict({modality: POOLINGS[name](width) for modality, width in dims.items()})
