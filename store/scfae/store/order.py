"""The global order: which sample comes when, from (seed, epoch) alone.

Shards are permuted, then the samples of each window of shards are permuted together (block and
buffer shuffle: CorgiPile, SIGMOD 2022, arXiv 2206.05830). A reader has at most two windows open,
and samples were dealt to shards at random when the store was made, so small windows shuffle well.
World size, number of workers and prefetch do not enter: rank r of W takes its slice of each global
batch. Philox's raw output and SeedSequence are the parts of numpy that are guaranteed not to change
between releases, so permutations here are stable sorts by raw keys and never `Generator.shuffle`.

Shapes: N samples, M modalities, T rows, D features a row.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from .errors import ConfigError

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

MIN_WINDOW_SHARDS: Final = 8
WINDOW_FRACTION: Final = 0.02
_MAX_SEED: Final = 2**63


class Labels(Protocol):
    """One label of every sample: `values [N]`, int64 or float; `classes` name codes of strings."""

    @property
    def values(self) -> npt.NDArray[Any]:
        """Integers, floats (null is NaN) or the codes of strings (null is -1)."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """What the codes stand for, None for numbers."""

    @property
    def kind(self) -> str:
        """`int`, `float` or `str`."""


class SampleView(Protocol):
    """What a stream reads: samples by position 0 .. N-1, each with rows of several modalities."""

    def __len__(self) -> int: ...

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in the order of the user, which is the order of masks' columns."""

    @property
    def dims(self) -> Mapping[str, int]:
        """Features a row, D, of each modality."""

    @property
    def ids(self) -> npt.NDArray[Any]:
        """Sample ids `[N]`, strings."""

    @property
    def indices(self) -> npt.NDArray[Any]:
        """Places in the store `[N]`; samples of one shard lie together, in file order."""

    @property
    def shard_of(self) -> npt.NDArray[Any]:
        """Shard number of each sample `[N]`."""

    @property
    def available(self) -> Booleans:
        """Which modalities a sample has `[N, M]`, i.e. T > 0."""

    @property
    def fingerprint(self) -> str:
        """Changes when samples, columns or their contents change."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels this view was asked for."""

    def lengths(self, modality: str, /) -> npt.NDArray[Any]:
        """Rows of each sample, T, `[N]`."""

    def rows(self, i: int, modality: str, /) -> npt.NDArray[Any]:
        """Rows `[T, D]` of the sample at position `i`, float16 or float32."""

    def label(self, name: str, /) -> Labels:
        """One label of every sample."""


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
    shards = np.asarray(shard_of, dtype=np.int64)
    if not shuffle or len(shards) == 0:
        return np.arange(len(shards), dtype=np.int64)
    bits = np.random.Philox(np.random.SeedSequence([seed, epoch]))
    distinct, which = np.unique(shards, return_inverse=True)
    rank_of_shard = np.empty(len(distinct), dtype=np.int64)
    rank_of_shard[_by_keys(bits, len(distinct))] = np.arange(len(distinct))
    window = rank_of_shard[which] // window_shards
    keys = bits.random_raw(len(shards))
    # One sort for all windows; lexsort is stable and its last key is the first criterion.
    return np.lexsort((keys, window)).astype(np.int64)


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


def _by_keys(bits: np.random.Philox, n: int) -> Integers:
    return np.argsort(bits.random_raw(n), kind="stable").astype(np.int64)
