"""Reads one rank's part of an epoch. Refers to no stream, so a thread may own it.

Shapes: N samples of the view, B samples of a rank's part of a batch, M modalities, W ranks.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .batch import Batch
from .collate import Collator, DamagedRead
from .facts import Facts
from .hashing import Keys
from .order import Integers, rank_slice
from .plan import PADDING, EpochPlan
from .policies import MaskPolicy
from .units import Groups, natural_order


class ReadBatch(NamedTuple):
    """A batch, the stream's position behind it, and what could not be read of it."""

    batch: Batch
    position: int
    damage: list[DamagedRead]


@dataclass(frozen=True, slots=True, eq=False)
class EpochReader:
    """What is needed to read an epoch.

    Attributes:
        plan: The units of each global batch.
        groups: The samples of each unit; None where units are samples.
        facts: What is known of all samples.
        needs_keys: Whether masks or crops depend on the ids.
        policy: Which modalities are hidden.
        collator: Reads the rows.
        seed: Of the stream.
        epoch: Of the batches.
        rank: This process.
        world_size: Number of processes, W.
    """

    plan: EpochPlan
    groups: Groups | None
    facts: Facts
    needs_keys: bool
    policy: MaskPolicy
    collator: Collator
    seed: int
    epoch: int
    rank: int
    world_size: int

    def batches(self, position: int, *, part: int = 0, num_parts: int = 1) -> Iterator[ReadBatch]:
        """Yield the batches from a position on.

        Args:
            position: Where to begin.
            part: Yield only every `num_parts`-th batch, from this one on.
            num_parts: As many processes that take turns.
        """
        all_batches = self.plan.batches(position)
        for units, after in itertools.islice(all_batches, part, None, num_parts):
            mine = units[rank_slice(len(units), self.rank, world_size=self.world_size)]
            yield self._read(self._samples(mine), after)

    def _samples(self, units: Integers) -> Integers:
        if self.groups is None:
            return units
        parts = [self._members(unit) for unit in units.tolist()]
        return np.concatenate(parts) if parts else units

    def _members(self, unit: int) -> Integers:
        if self.groups is None or unit == PADDING:
            return np.array([PADDING], dtype=np.int64)
        members = self.groups.samples_of(unit)
        # What is said in a dialogue is in the order of the ids, not in that of the shards.
        return members[natural_order(self.facts.ids[members])]

    def _read(self, positions: Integers, after: int) -> ReadBatch:
        real = np.maximum(positions, 0)
        no_keys: Keys = np.zeros(len(real), dtype=np.uint64)
        keys = self.facts.keys[real] if self.needs_keys else no_keys
        present = self.policy.masks(
            keys, self.facts.available[real], seed=self.seed, epoch=self.epoch
        )
        batch, damage = self.collator.collate(
            positions, present, keys=keys, seed=self.seed, epoch=self.epoch, position=after
        )
        return ReadBatch(batch, after, damage)
