"""What batches are made of: samples, or groups of samples that stay together.

Shapes: N samples, U units, M modalities.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .order import Integers

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What a plan knows of its units.

    Attributes:
        longest: Most rows of any sample of a unit, for each modality that is read, `[U, M]`.
        widths: Features a row of each modality `[M]`.
        sizes: Samples of each unit `[U]`; None where each is one sample.
    """

    longest: Integers
    widths: Integers
    sizes: Integers | None = None

    @classmethod
    def unknown(cls) -> "Units":
        """Return what a plan needs that looks at no lengths."""
        nothing = np.zeros(0, dtype=np.int64)
        return cls(nothing[:, None], nothing)


class Groups:
    """The samples of each group.

    Args:
        group_of: Number of each sample's group `[N]`.
    """

    def __init__(self, group_of: npt.ArrayLike) -> None:
        _, numbers = np.unique(np.asarray(group_of, dtype=np.int64), return_inverse=True)
        self._members = np.argsort(numbers, kind="stable").astype(np.int64)
        starts = np.flatnonzero(np.diff(numbers[self._members], prepend=-1))
        self.bounds: Integers = np.append(starts, len(numbers)).astype(np.int64)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def first(self) -> Integers:
        """A sample of each group `[U]`: the one that comes first in the view."""
        return self._members[self.bounds[:-1]]

    def samples_of(self, group: int) -> Integers:
        """Return the positions of a group's samples, in the order of the view."""
        return self._members[self.bounds[group] : self.bounds[group + 1]]

    def each_sample(self, values: Integers) -> Integers:
        """Return for each sample `[N]` the value of its group, of values `[U]`."""
        out = np.empty(len(self._members), dtype=np.int64)
        out[self._members] = np.repeat(values, np.diff(self.bounds))
        return out

    def of_samples(self, samples: Units) -> Units:
        """Return what is known of the groups, from what is known of the samples."""
        starts = self.bounds[:-1]
        if len(starts) == 0:
            return Units(samples.longest[:0], samples.widths, np.zeros(0, dtype=np.int64))
        return Units(
            longest=np.maximum.reduceat(samples.longest[self._members], starts, axis=0),
            widths=samples.widths,
            sizes=np.diff(self.bounds),
        )


def natural_order(ids: npt.NDArray[Any]) -> Integers:
    """Return how to sort ids so that numbers in them count: `utt2` comes before `utt10`."""
    split = [
        [int(part) if part.isdecimal() else part for part in _DIGITS.split(str(name))]
        for name in ids
    ]
    return np.array(sorted(range(len(ids)), key=lambda i: split[i]), dtype=np.int64)
