"""Damaged shards whose samples a stream goes on without: counted, and warned of once each."""

import warnings
from collections.abc import Iterable

from .collate import DamagedRead


class DamagedShardWarning(UserWarning):
    """A shard cannot be read; its samples lack the modality. Names column, shard and file."""


def count_damage(
    counts: dict[tuple[str, int], int], reads: Iterable[DamagedRead], *, stacklevel: int
) -> None:
    """Add to the counts, and warn of shards that were not in them.

    Args:
        counts: Samples masked so far, by modality and shard.
        reads: What could not be read now.
        stacklevel: As `warnings.warn` takes it, counted from the caller.
    """
    for read in reads:
        shard = (read.modality, read.shard)
        if shard not in counts:
            warnings.warn(
                f"{read.modality} is masked for the samples of a damaged shard: {read.message}",
                DamagedShardWarning,
                stacklevel=stacklevel + 1,
            )
        counts[shard] = counts.get(shard, 0) + 1
