"""LSTMs over ragged sequences: padding changes nothing, in neither direction.

Packed sequences want lengths on the CPU and none of them zero; here the backward direction reads
each sequence turned round within its own length, so that nothing waits for the device and what is
absent comes out as zero.

Shapes: B samples, T time steps, D features, H hidden width.
"""

import torch
from torch import Tensor, nn


def reverse_rows(rows: Tensor, valid: Tensor) -> Tensor:
    """Return each sequence turned round within its valid rows; padding stays where it is.

    Args:
        rows: `[B, T, D]`.
        valid: bool `[B, T]`, a prefix of each row.
    """
    places = torch.arange(rows.shape[1], device=rows.device).expand(valid.shape)
    turned = torch.where(valid, valid.sum(dim=1, keepdim=True) - 1 - places, places)
    return rows.gather(1, turned[:, :, None].expand_as(rows))


class BiLSTM(nn.Module):
    """A bidirectional LSTM, as `nn.LSTM` with `bidirectional=True` on packed sequences.

    Args:
        width: Features a row, D.
        hidden: Width of each direction, H.
        num_layers: Layers; each reads both directions of the one before.
        dropout: Between layers.
        bidirectional: False leaves out the backward direction.

    Attributes:
        output_dim: 2 H, or H of one direction.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        num_layers: int = 1,
        dropout: float = 0.0,
        bidirectional: bool = True,
    ) -> None:
        super().__init__()
        self.output_dim = 2 * hidden if bidirectional else hidden
        widths = [width] + [self.output_dim] * (num_layers - 1)
        self.forwards = nn.ModuleList(nn.LSTM(w, hidden, batch_first=True) for w in widths)
        self.backwards = nn.ModuleList(
            nn.LSTM(w, hidden, batch_first=True) for w in widths if bidirectional
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, rows: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Run over the valid rows.

        Args:
            rows: `[B, T, D]`.
            valid: bool `[B, T]`, a prefix of each row.

        Returns:
            The states of the last layer `[B, T, 2 H]`, zero at padding, and each direction's final
            state of the last layer `[B, 2 H]`, zero for a sample without rows.
        """
        last = (valid.sum(dim=1) - 1).clamp(min=0)
        padding = ~valid[:, :, None]
        final = rows
        for i, forwards in enumerate(self.forwards):
            if i:
                rows = self.dropout(rows)
            states = [_run(forwards, rows)]
            ends = [_at(states[0], last)]
            if self.backwards:
                backward = _run(self.backwards[i], reverse_rows(rows, valid))
                ends.append(_at(backward, last))
                states.append(reverse_rows(backward, valid))
            rows = torch.cat(states, dim=2).masked_fill(padding, 0.0)
            final = torch.cat(ends, dim=1).masked_fill(~valid.any(dim=1)[:, None], 0.0)
        return rows, final


def _run(lstm: nn.Module, rows: Tensor) -> Tensor:
    """Return the states `[B, T, H]`, in float32: not every CPU has an LSTM in bfloat16."""
    with torch.autocast(rows.device.type, enabled=False):
        states: Tensor = lstm(rows.float())[0]
        return states


def _at(rows: Tensor, places: Tensor) -> Tensor:
    """Return row `places[b]` of each sample, `[B, D]`."""
    return rows[torch.arange(len(rows), device=rows.device), places]
