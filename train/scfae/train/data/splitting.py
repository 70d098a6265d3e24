"""Train, val and test by group: no identity, speaker or dialogue is on two sides.

The choice depends on the names of the groups, their strata and the seed alone: not on the order
of files, nor on how many samples a group has. Groups are shuffled within each stratum and taken at
even distances over all strata, so each stratum gives its share up to one group.

Shapes: G groups.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scfae.store import SampleRow
from scfae.store.errors import ConfigError, ManifestError


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of the groups goes where.

    Attributes:
        test: Share of all groups for the test split.
        val: Share of the remaining groups for the validation split.
        seed: Decides which.

    Raises:
        ConfigError: If a share is not in [0, 1).
    """

    test: float = 0.2
    val: float = 0.1
    seed: int = 1

    def __post_init__(self) -> None:
        for name, share in (("test", self.test), ("val", self.val)):
            if not 0 <= share < 1:
                raise ConfigError(f"--{name}: a share is at least 0 and below 1, not {share}.")

    def record(self, by: str) -> dict[str, Any]:
        """Return how the split was made, as plain JSON values; `by` says what a group is."""
        return {
            "by": by,
            "seed": self.seed,
            "test_share_of_groups": self.test,
            "val_share_of_other_groups": self.val,
        }


def split_by_group(
    rows: Sequence[SampleRow], shares: Shares, strata: Mapping[str, str]
) -> list[SampleRow]:
    """Return samples with `split` set to train, val or test; a sample without group is its own.

    Args:
        rows: The samples.
        shares: How much goes where.
        strata: Stratum of each group, e.g. its class; a group that is not in it is of none.

    Raises:
        ManifestError: If there are too few groups for the splits wanted.
    """
    names = sorted({group_of(row) for row in rows})
    wanted = 1 + (shares.test > 0) + (shares.val > 0)
    if len(names) < wanted:
        raise ManifestError(
            f"{len(names)} groups cannot be dealt to {wanted} splits: a group stays whole; set "
            "--test or --val to 0, or name groups otherwise."
        )
    ordered = sorted(names, key=lambda name: (strata.get(name, ""), _lot(name, shares.seed)))
    test = _chosen(ordered, shares.test)
    rest = [name for name in ordered if name not in test]
    val = _chosen(rest, shares.val)
    split = {name: "test" if name in test else "val" if name in val else "train" for name in names}
    return [replace(row, split=split[group_of(row)]) for row in rows]


def carve_val(rows: Sequence[SampleRow], shares: Shares) -> list[SampleRow]:
    """Return samples where some groups of train have become val; the other splits stay.

    Args:
        rows: The samples, with their splits.
        shares: `val` says how much of the train groups.
    """
    train = [row for row in rows if row.split == "train"]
    dealt = split_by_group(train, replace(shares, test=0.0), strata={})
    by_id = {row.id: row for row in dealt}
    return [by_id.get(row.id, row) for row in rows]


def group_of(row: SampleRow) -> str:
    """Return the group of a sample; without one, its id."""
    return row.group or row.id


def most_frequent(rows: Sequence[SampleRow], label: str) -> dict[str, str]:
    """Return the most frequent value of a label in each group; the first by name of equals."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(group_of(row), Counter())[str(row.labels.get(label))] += 1
    return {group: min(c, key=lambda value: (-c[value], value)) for group, c in counts.items()}


def _chosen(ordered: Sequence[str], share: float) -> set[str]:
    """Return a share of names, at even distances; at least one where any is wanted."""
    count = max(1, round(len(ordered) * share)) if share else 0
    count = min(count, len(ordered) - 1)
    size = len(ordered)
    return {name for i, name in enumerate(ordered) if (i + 1) * count // size > i * count // size}


def _lot(name: str, seed: int) -> str:
    """Return a group's lot: the same on every machine and with every Python."""
    return hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest()
