"""Reads one rank's part of an epoch. Refers to no stream, so a thread may own it.

Shapes: N samples of the view, B samples of a rank's part of a batch, M modalities, W ranks.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from .batch import Batch
from .collate import Collator, DamagedRead
from .facts import Facts
from .hashing import Keys
from .order import Booleans, Integers, rank_slice
from .plan import PADDING, EpochPlan
from .policies import MaskPolicy
from .units import Groups, natural_order

_PREPARED_TOGETHER: Final = 32
"""Batches that are prepared in one go: one by one, that costs as much as reading a modality."""


class ReadBatch(NamedTuple):
    """A batch, what could not be read of it, and the stream's position behind it."""

    batch: Batch
    damage: list[DamagedRead]
    position: int


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
        planned = itertools.islice(self.plan.batches(position), part, None, num_parts)
        count = 1  # the first batch comes at once
        while some := list(itertools.islice(planned, count)):
            count = _PREPARED_TOGETHER
            samples = [self._samples(self._mine(units)) for units, _ in some]
            keys, present = self._draw(np.concatenate(samples))
            prepared = self.collator.prepare(
                samples, present, keys=keys, seed=self.seed, epoch=self.epoch
            )
            for (_, after), one in zip(some, prepared, strict=True):
                # No name for it here: its memory is used again once the consumer has dropped it.
                yield ReadBatch(
                    *self.collator.collate(one, seed=self.seed, epoch=self.epoch, position=after),
                    after,
                )

    def _mine(self, units: Integers) -> Integers:
        return units[rank_slice(len(units), self.rank, world_size=self.world_size)]

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

    def _draw(self, positions: Integers) -> tuple[Keys, Booleans]:
        """Return the keys of samples `[n]`, and which modalities of theirs are read `[n, M]`."""
        real = np.maximum(positions, 0)
        no_keys: Keys = np.zeros(len(real), dtype=np.uint64)
        keys = self.facts.keys[real] if self.needs_keys else no_keys
        available = self.facts.available[real]
        return keys, self.policy.masks(keys, available, seed=self.seed, epoch=self.epoch)
