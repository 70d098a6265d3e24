"""Branches: `modality`, or `modality:NAME` where a modality has several columns beside each other.

`video=dinov3-vits16 video:motion=videomaev2-s` are two branches of one modality. A model sees each
as an input of its own; but it is the medium that is missing, so what hides a modality hides all of
its branches, and an evaluation shows or hides them together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .hashing import Keys
from .order import Booleans
from .policies import MaskPolicy

SEPARATOR = ":"


def modality_of(branch: str) -> str:
    """Return the modality of a branch: what stands before the colon, or all of it."""
    return branch.partition(SEPARATOR)[0]


def modalities_of(branches: Sequence[str]) -> tuple[str, ...]:
    """Return the modalities of branches, each once, in order."""
    return tuple(dict.fromkeys(map(modality_of, branches)))


def branches_of(modalities: Sequence[str], branches: Sequence[str]) -> tuple[str, ...]:
    """Return the branches of some modalities, in the order of `branches`."""
    return tuple(branch for branch in branches if modality_of(branch) in modalities)


def place_of_modality(branches: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return for each branch the place of its modality in `modalities_of`, `[M]`."""
    there = modalities_of(branches)
    return np.array([there.index(modality_of(branch)) for branch in branches], dtype=np.int64)


def any_branch(present: npt.NDArray[Any], branches: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which modalities have a branch that is present `[N, G]`, of branches `[N, M]`."""
    place = place_of_modality(branches)
    found = np.zeros((len(present), len(modalities_of(branches))), dtype=bool)
    for column, group in enumerate(place.tolist()):
        found[:, group] |= present[:, column]
    return found


@dataclass(frozen=True, slots=True)
class BranchMasks:
    """What a policy says of modalities, said of their branches.

    Attributes:
        branches: The M branches.
        policy: The policy over their modalities.
    """

    branches: tuple[str, ...]
    policy: MaskPolicy

    def __str__(self) -> str:
        return str(self.policy)

    @property
    def is_random(self) -> bool:
        """Whether masks depend on the sample."""
        return self.policy.is_random

    @property
    def changes(self) -> bool:
        """Whether masks differ between epochs."""
        return self.policy.changes

    def may_keep(self, epoch: int) -> tuple[bool, ...]:
        """Return for each branch whether any sample may keep it."""
        kept = self.policy.may_keep(epoch)
        return tuple(kept[place] for place in place_of_modality(self.branches).tolist())

    def masks(self, keys: Keys, available: Booleans, *, seed: int, epoch: int) -> Booleans:
        """Return what remains `[N, M]`: a modality that is kept keeps the branches it has."""
        there = any_branch(available, self.branches)
        kept = self.policy.masks(keys, there, seed=seed, epoch=epoch)
        return np.logical_and(available, kept[:, place_of_modality(self.branches)])
