"""The global order: which sample comes when, from (seed, epoch) alone.

Shards are permuted, then the samples of each window of shards are permuted together (block and
buffer shuffle: CorgiPile, SIGMOD 2022, arXiv 2206.05830). A reader has at most two windows open,
and samples were dealt to shards at random when the store was made, so small windows shuffle well.
World size, number of workers and prefetch do not enter: rank r of W takes its slice of each global
batch. Philox's raw output and SeedSequence are the parts of numpy that are guaranteed not to change
between releases, so permutations here are stable sorts by raw keys and never `Generator.shuffle`.

A window's keys are drawn and sorted when a batch needs it (Philox is a counter, so any part of its
output can be had without the rest): resuming in the middle of a million samples takes no longer
than beginning, and no key a sample is kept.

Shapes: N samples, S shards, V windows.
"""

import math
import operator
from typing import Final, Protocol, SupportsIndex

import numpy as np
import numpy.typing as npt

from .errors import ConfigError
from .hashing import Keys
from .lazy import lazy_property

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

MIN_WINDOW_SHARDS: Final = 8
WINDOW_FRACTION: Final = 0.02
_MAX_SEED: Final = 2**63
_WINDOWS_KEPT: Final = 3
_PHILOX_BLOCK: Final = 4  # 64-bit numbers of one step of its counter


class Order(Protocol):
    """Positions in the order of an epoch, in windows that are read one after the other."""

    @property
    def window_ends(self) -> Integers:
        """Where the windows end in the order `[V]`, rising; the last is the end of the order."""

    def slice(self, start: int, end: int) -> Integers:
        """Return the positions at places `start` to `end` of the order."""


class ShardIndex:
    """Where the samples of each shard are; made once for all epochs of a view.

    Args:
        shard_of: Shard number of each sample `[N]`.
    """

    def __init__(self, shard_of: npt.ArrayLike) -> None:
        shards = np.asarray(shard_of, dtype=np.int64)
        self.num_samples = len(shards)
        is_sorted = bool((shards[1:] >= shards[:-1]).all())
        # None where they lie in the order of the shards, as those of a store do.
        self._members = None if is_sorted else np.argsort(shards, kind="stable")
        ordered = shards if self._members is None else shards[self._members]
        starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
        self.bounds: Integers = np.append(starts, len(ordered)).astype(np.int64)

    @property
    def num_shards(self) -> int:
        """Shards that have samples, S."""
        return len(self.bounds) - 1

    @property
    def is_in_order(self) -> bool:
        """Whether the samples lie in the order of the shards."""
        return self._members is None

    def ranges(self, shards: Integers) -> list[tuple[int, int]]:
        """Return where the samples of each of some shards begin and end in the order of shards."""
        return list(
            zip(self.bounds[shards].tolist(), self.bounds[shards + 1].tolist(), strict=True)
        )

    def samples_of(self, shards: Integers) -> Integers:
        """Return the positions of all samples of some shards, rising.

        Args:
            shards: Numbers 0 .. S-1 of shards, by rising shard number of the view.
        """
        ranges = [np.arange(first, last) for first, last in self.ranges(np.sort(shards))]
        places: Integers = np.concatenate(ranges) if ranges else np.zeros(0, dtype=np.int64)
        return places if self._members is None else np.sort(self._members[places])

    def each_sample(self, values: Integers) -> Integers:
        """Return for each sample `[N]` the value of its shard, of values `[S]`."""
        repeated = np.repeat(values, np.diff(self.bounds))
        if self._members is None:
            return repeated
        out = np.empty_like(repeated)
        out[self._members] = repeated
        return out


class ShuffledOrder:
    """A permutation of 0 .. N-1: shards permuted, then the samples of each window of shards.

    Args:
        index: The shards of the samples.
        seed: Another seed is another order.
        epoch: Every epoch has an order of its own.
        window_shards: How many shards are mixed; all of them or more is a full shuffle.
    """

    def __init__(self, index: ShardIndex, seed: int, *, epoch: int, window_shards: int) -> None:
        self._seed, self._epoch = seed, epoch
        self._index = index
        self._shards = np.argsort(self._bits().random_raw(index.num_shards), kind="stable")
        self._window_shards = window_shards
        sizes = np.diff(index.bounds)[self._shards]
        shard_ends = np.cumsum(sizes)
        last_shards = np.arange(window_shards, index.num_shards + window_shards, window_shards) - 1
        self.window_ends: Integers = shard_ends[np.minimum(last_shards, index.num_shards - 1)]
        self._sorted: dict[int, Integers] = {}

    @lazy_property
    def keys(self) -> Keys:
        """The raw key of each position `[N]`, all of them drawn."""
        bits, count = self._bits(), self._index.num_shards + self._index.num_samples
        return np.asarray(bits.random_raw(count)[self._index.num_shards :], dtype=np.uint64)

    @property
    def window_of_sample(self) -> Integers:
        """The window that each position is in `[N]`."""
        windows = np.empty(len(self._shards), dtype=np.int64)
        windows[self._shards] = np.arange(len(self._shards)) // self._window_shards
        return self._index.each_sample(windows)

    def window(self, number: int) -> Integers:
        """Return the positions of a window, permuted."""
        found = self._sorted.get(number)
        if found is None:
            first = number * self._window_shards
            shards = np.sort(self._shards[first : first + self._window_shards])
            inside = self._index.samples_of(shards)
            found = inside[np.argsort(self._keys_of(shards, inside), kind="stable")]
            # Another thread may do the same: both results are the same.
            self._sorted = dict([*self._sorted.items(), (number, found)][-_WINDOWS_KEPT:])
        return found

    def _bits(self) -> np.random.Philox:
        return np.random.Philox(np.random.SeedSequence([self._seed, self._epoch]))

    def _keys_of(self, shards: Integers, inside: Integers) -> Keys:
        """Return the keys of the samples `inside` some shards, whose numbers rise."""
        if not self._index.is_in_order:
            return self.keys[inside]
        bits, at = self._bits(), 0  # in blocks of four numbers
        parts = []
        for first, last in self._index.ranges(shards):
            block, skipped = divmod(self._index.num_shards + first, _PHILOX_BLOCK)
            count = skipped + last - first
            bits.advance(block - at)
            parts.append(bits.random_raw(count)[skipped:])
            at = block + -(-count // _PHILOX_BLOCK)
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint64)

    def slice(self, start: int, end: int) -> Integers:
        """Return the positions at places `start` to `end` of the order."""
        parts = []
        number = int(np.searchsorted(self.window_ends, start, side="right"))
        while start < end:
            window = self.window(number)
            first = int(self.window_ends[number]) - len(window)
            parts.append(window[start - first : end - first])
            start, number = int(self.window_ends[number]), number + 1
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


class GivenOrder:
    """The positions 0 .. N-1 as they are, for evaluation; windows are as many samples each.

    Args:
        index: The shards of the samples.
        window_shards: How many shards of mean size a window has.
    """

    def __init__(self, index: ShardIndex, *, window_shards: int) -> None:
        size = max(1, round(window_shards * index.num_samples / max(1, index.num_shards)))
        ends = np.arange(size, index.num_samples + size, size, dtype=np.int64)
        self.window_ends: Integers = np.minimum(ends, index.num_samples)

    def slice(self, start: int, end: int) -> Integers:
        """Return the positions at places `start` to `end` of the order."""
        return np.arange(start, end, dtype=np.int64)


def default_window(num_shards: int) -> int:
    """Return how many shards are shuffled together: 8, or 2 % of them where that is more."""
    return max(MIN_WINDOW_SHARDS, math.ceil(WINDOW_FRACTION * num_shards))


def global_order(
    shard_of: npt.ArrayLike, seed: int, *, epoch: int, window_shards: int, shuffle: bool = True
) -> Integers:
    """Return the order of an epoch: a permutation `[N]` of the positions 0 .. N-1.

    Args:
        shard_of: Shard number of each sample `[N]`.
        seed: Non-negative; another seed is another order.
        epoch: Non-negative; every epoch has an order of its own.
        window_shards: How many shards are mixed; all of them or more is a full shuffle.
        shuffle: False gives 0 .. N-1, for evaluation.

    Raises:
        ConfigError: If a number is out of range.
    """
    check_seed(seed, epoch=epoch)
    if window_shards < 1:
        raise ConfigError(f"window_shards: must be at least 1, not {window_shards}")
    index = ShardIndex(shard_of)
    if not shuffle:
        return np.arange(index.num_samples, dtype=np.int64)
    order = ShuffledOrder(index, seed, epoch=epoch, window_shards=window_shards)
    return order.slice(0, index.num_samples)


def rank_slice(num_samples: int, rank: int, *, world_size: int) -> slice:
    """Return a rank's contiguous part of a batch of `num_samples`, sized as by `np.array_split`.

    The parts of ranks 0 .. W-1 put together are the batch; the first ranks take one more sample
    where it does not divide, so some may be empty.
    """
    share, rest = divmod(num_samples, world_size)
    start = rank * share + min(rank, rest)
    return slice(start, start + share + (1 if rank < rest else 0))


def check_seed(seed: int, *, epoch: int) -> None:
    """Check that seed and epoch are integers that every generator here takes.

    Raises:
        ConfigError: If one is negative or does not fit into 63 bits.
    """
    for field, value in (("seed", seed), ("epoch", epoch)):
        if not 0 <= value < _MAX_SEED:
            raise ConfigError(f"{field}: must be an integer from 0 to 2**63 - 1, not {value}")


def integer(field: str, value: SupportsIndex, *, least: int) -> int:
    """Return a setting as an int.

    Raises:
        ConfigError: If it is none or less than `least`; names the field.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise ConfigError(f"{field}: must be an integer, not {value!r}") from None
    if number < least:
        raise ConfigError(f"{field}: must be at least {least}, not {number}")
    return number
