"""Constraints on SCFAE's parts in place of its reconstruction: the rows of Tables 6 and 8.

Table 6, row 3 (`infonce`): the losses of VFD (InfoNCE, temperature 0.1), on the shared parts; the
same is Table 8's contrastive replacement. Row 2 (`misa_drfuse`): "losses consistent with MISA and
DrFuse", read as orthogonality and |cos| of specific and shared parts, CMD and Jensen-Shannon of the
shared ones. `club` is the bound that the row's title, mutual information minimisation, suggests;
the paper does not say that it was used.

Which modality's shared part is which: `shared_from`. M modalities, l_m widths, l* the least.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .losses import (
    CLUB,
    central_moment_discrepancy,
    cosine_overlap,
    info_nce,
    jensen_shannon,
    mean_over_present,
    orthogonality,
)

Vectors = Mapping[str, Tensor]


class Constraint(nn.Module, ABC):
    """What is asked of specific and shared parts.

    Args:
        dims: l_m of each modality.
    """

    def __init__(self, dims: Mapping[str, int]) -> None:
        super().__init__()
        self.dims = dict(dims)
        self.pairs = list(combinations(enumerate(dims), 2))

    @abstractmethod
    def forward(self, specific: Vectors, shared: Vectors, present: Tensor) -> dict[str, Tensor]:
        """Return losses by name.

        Args:
            specific: `[N, l_m]` of each modality.
            shared: `[N, l*]`, by the modality that each comes from.
            present: bool `[N, M]`.
        """


class InfoNCEConstraint(Constraint):
    """InfoNCE of the shared parts, summed over pairs, each over samples that have both.

    Args:
        dims: l_m of each modality.

    Raises:
        ValueError: If there is only one, which has no pair.
    """

    def __init__(self, dims: Mapping[str, int]) -> None:
        super().__init__(dims)
        if not self.pairs:
            raise ValueError("constraint: infonce compares modalities, and dims has only one")

    def forward(self, specific: Vectors, shared: Vectors, present: Tensor) -> dict[str, Tensor]:
        """Return `info_nce`."""
        total = _nothing(shared)
        for (i, m), (j, k) in self.pairs:
            both = present[:, i] & present[:, j]
            total = total + info_nce(shared[m], shared[k], temperature=0.1, valid=both)
        return {"info_nce": total}


class MisaDrFuseConstraint(Constraint):
    """MISA's and DrFuse's losses.

    `orthogonality` sums over specific with shared of each modality and over pairs of specific
    parts; `overlap`, |cos| of specific and shared, only over modalities of width l*, since a cosine
    needs equal widths; `cmd` (mean over pairs) and `jsd` (sum) take sigmoids of the shared parts.
    """

    def forward(self, specific: Vectors, shared: Vectors, present: Tensor) -> dict[str, Tensor]:
        """Return `orthogonality`, `overlap`, `cmd` and `jsd`."""
        nothing = _nothing(shared)
        losses = dict.fromkeys(("orthogonality", "overlap", "cmd", "jsd"), nothing)
        for i, m in enumerate(self.dims):
            here = present[:, i]
            losses["orthogonality"] = losses["orthogonality"] + orthogonality(
                specific[m], shared[m], valid=here
            )
            if specific[m].shape[1] == shared[m].shape[1]:
                overlaps = cosine_overlap(specific[m], shared[m])
                losses["overlap"] = losses["overlap"] + mean_over_present(overlaps, here, present)
        chances = {m: x.sigmoid() for m, x in shared.items()}
        for (i, m), (j, k) in self.pairs:
            both = present[:, i] & present[:, j]
            losses["orthogonality"] = losses["orthogonality"] + orthogonality(
                specific[m], specific[k], valid=both
            )
            apart = central_moment_discrepancy(
                chances[m], chances[k], valid_first=present[:, i], valid_second=present[:, j]
            )
            losses["cmd"] = losses["cmd"] + apart / len(self.pairs)
            divergence = jensen_shannon(chances[m], chances[k])
            losses["jsd"] = losses["jsd"] + mean_over_present(divergence, both, present)
        return losses


class CLUBConstraint(Constraint):
    """CLUB's bound of what specific and shared, and the specific parts of pairs, have in common.

    `club` reaches the model and `club_learning` only the estimators. Vectors are taken at unit
    length, on which the bound is stable.

    Args:
        dims: l_m of each modality.
        hidden: Width of the estimators' hidden layers.
    """

    def __init__(self, dims: Mapping[str, int], hidden: int = 64) -> None:
        super().__init__(dims)
        least = min(dims.values())
        self.to_shared = nn.ModuleDict({m: CLUB(d, least, hidden=hidden) for m, d in dims.items()})
        self.to_specific = nn.ModuleDict(
            {f"{m}|{k}": CLUB(dims[m], dims[k], hidden=hidden) for (_, m), (_, k) in self.pairs}
        )

    def forward(self, specific: Vectors, shared: Vectors, present: Tensor) -> dict[str, Tensor]:
        """Return `club` and `club_learning`."""
        unit = {m: F.normalize(x, dim=1) for m, x in specific.items()}
        terms = [
            (self.to_shared[m], unit[m], F.normalize(shared[m], dim=1), present[:, i])
            for i, m in enumerate(self.dims)
        ]
        terms += [
            (self.to_specific[f"{m}|{k}"], unit[m], unit[k], present[:, i] & present[:, j])
            for (i, m), (j, k) in self.pairs
        ]
        bound = learning = _nothing(shared)
        for club, x, y, valid in terms:
            assert isinstance(club, CLUB)
            bound = bound + club.bound(x, y, valid=valid)
            learning = learning + club.learning_loss(x, y, valid=valid)
        return {"club": bound, "club_learning": learning}


CONSTRAINTS: dict[str, type[Constraint]] = {
    "infonce": InfoNCEConstraint,
    "misa_drfuse": MisaDrFuseConstraint,
    "club": CLUBConstraint,
}


def _nothing(vectors: Vectors) -> Tensor:
    """Return 0 with a graph."""
    return 0.0 * torch.stack([x.sum() for x in vectors.values()]).sum()
