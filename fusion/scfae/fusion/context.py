"""What a sample stands beside: the samples of its dialogue, or else its own rows.

Methods made for dialogues see one vector a sample, in the order of its dialogue. Without dialogues
the same layers read the rows of each sample, so that samples stay independent.

Shapes: B samples, N sequences of at most L places: dialogues, or the samples themselves.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .pooling import masked_mean


@dataclass(frozen=True, slots=True)
class Dialogues:
    """Where each sample of a batch stands in its dialogue.

    Attributes:
        dialogue: int `[B]`, from 0 to N - 1.
        place: int `[B]`, from 0 to L - 1, by the order in the batch.
        shape: N and L.
    """

    dialogue: Tensor
    place: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, groups: Tensor) -> "Dialogues":
        """Return the dialogues that `groups`, int `[B]`, name."""
        _, dialogue, counts = torch.unique(groups, return_inverse=True, return_counts=True)
        order = torch.argsort(dialogue, stable=True)
        starts = counts.cumsum(0) - counts
        place = torch.empty_like(dialogue)
        place[order] = torch.arange(len(groups), device=groups.device) - starts[dialogue[order]]
        return cls(dialogue, place, (len(counts), int(counts.max())))

    @classmethod
    def single(cls, batch_size: int, device: torch.device) -> "Dialogues":
        """Return a dialogue for every sample."""
        every = torch.arange(batch_size, device=device)
        return cls(every, torch.zeros_like(every), (batch_size, 1))

    @property
    def held(self) -> Tensor:
        """Places that hold a sample, bool `[N, L]`."""
        places = torch.zeros(self.shape, dtype=torch.bool, device=self.dialogue.device)
        places[self.dialogue, self.place] = True
        return places

    def lay(self, x: Tensor) -> Tensor:
        """Return samples `[B, ...]` laid out as `[N, L, ...]`, zero (False) elsewhere."""
        laid = x.new_zeros((*self.shape, *x.shape[1:]))
        return laid.index_put((self.dialogue, self.place), x)

    def take(self, laid: Tensor) -> Tensor:
        """Return `[B, ...]` from `[N, L, ...]`."""
        return laid[self.dialogue, self.place]


def take_or_pool(rows: Tensor, valid: Tensor, dialogues: Dialogues | None) -> Tensor:
    """Return one vector a sample, `[B, W]`: its place in its dialogue, or the mean of its rows.

    Args:
        rows: `[N, L, W]`, zero where not valid.
        valid: bool `[N, L]`.
        dialogues: Where samples stand; None: rows are each sample's own, N = B.
    """
    return masked_mean(rows, valid) if dialogues is None else dialogues.take(rows)
