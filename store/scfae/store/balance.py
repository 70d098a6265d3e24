"""Class-balanced epochs: every class equally often, evenly spread inside the shuffle windows.

An epoch has as many samples as the view. A class with fewer than its share is gone through again
and again, one with more gives a random part of itself, another in every epoch. A sample stays in
the window of its shard, so reading is as local as without balance; where windows hold the classes
in other shares than the view (see `skew`), batches do so too, while the epoch is exact.

Shapes: N samples, C classes, S shards, V windows.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import ConfigError
from .hashing import splitmix64
from .order import Booleans, Integers, ShuffledOrder
from .sample_view import SampleView


@dataclass(frozen=True, slots=True, eq=False)
class FixedOrder:
    """An order that was made as a whole.

    Attributes:
        positions: The order; a position may come more than once.
        window_ends: Where its windows end `[V]`.
    """

    positions: Integers
    window_ends: Integers

    def slice(self, start: int, end: int) -> Integers:
        """Return the positions at places `start` to `end` of the order."""
        return self.positions[start:end]


def class_codes(view: SampleView, label: str) -> Integers:
    """Return the class of each sample as a number 0 .. C-1 `[N]`.

    Raises:
        ConfigError: If the view was not asked for the label, or it is no class, or some samples
            have none.
    """
    if label not in view.label_names:
        there = ", ".join(view.label_names) or "none"
        raise ConfigError(f"balance: the view has no label '{label}'; its labels are: {there}")
    found = view.label(label)
    if found.kind == "float":
        raise ConfigError(f"balance: label '{label}' holds fractions, which are no classes")
    has: Booleans = np.asarray(found.present, dtype=bool)
    if not has.all():
        raise ConfigError(
            f"balance: {int((~has).sum())} of {len(view)} samples have no label '{label}'; make "
            "the view of those that have one"
        )
    _, codes = np.unique(found.values, return_inverse=True)
    return codes.astype(np.int64)


def balanced_order(classes: Integers, base: ShuffledOrder) -> FixedOrder:
    """Return an order of N samples in which each class comes N / C times, give or take one.

    In a run of n samples inside a window, a class is there as often as its share of the window
    says, give or take one, and a sample does not come again before the rest of its class did.

    Args:
        classes: Number of each sample's class, 0 .. C-1, `[N]`.
        base: The order of the epoch without balance: its keys and windows are used.
    """
    total = len(classes)
    if total == 0:
        return FixedOrder(np.zeros(0, dtype=np.int64), base.window_ends)
    sizes = np.bincount(classes)
    num_classes = len(sizes)
    shares = np.full(num_classes, total // num_classes)
    # Which classes get one more is as random as the first keys.
    shares[np.argsort(base.keys[:num_classes], kind="stable")[: total % num_classes]] += 1
    by_class = np.lexsort((base.keys, classes))
    place = _place_in_run(np.repeat(np.arange(num_classes), sizes))
    copies = shares[classes[by_class]] // sizes[classes[by_class]]
    copies += place < shares[classes[by_class]] % sizes[classes[by_class]]
    chosen = np.repeat(by_class, copies)
    round_number = _place_in_run(np.repeat(np.arange(total), copies))
    window = base.window_of_sample[chosen]
    run = window * num_classes + classes[chosen]
    # Rounds through a class, each in an order of its own.
    rounds = splitmix64(base.keys[chosen] + round_number.astype(np.uint64))
    ordered = np.lexsort((rounds, run * (int(round_number.max()) + 1) + round_number))
    chosen, window, run = chosen[ordered], window[ordered], run[ordered]
    # The k-th of n of a class goes to (k + u) / n of the window, with one u for the whole run.
    count = np.bincount(run)[run]
    offset = splitmix64(run.astype(np.uint64) + base.keys[0]) >> np.uint64(11)
    at = (_place_in_run(run) + offset.astype(np.float64) * 2.0**-53) / count
    positions = chosen[np.lexsort((at, window))].astype(np.int64)
    in_window = np.bincount(window, minlength=len(base.window_ends))
    return FixedOrder(positions, np.cumsum(in_window))


def _place_in_run(sorted_values: npt.NDArray[np.int64]) -> Integers:
    """Return 0, 1, 2 … within each run of equal values."""
    starts = np.flatnonzero(np.diff(sorted_values, prepend=sorted_values[:1] - 1))
    lengths = np.diff(np.append(starts, len(sorted_values)))
    return np.arange(len(sorted_values)) - np.repeat(starts, lengths)
