"""Whole shards of small samples, kept in memory while a shuffle window goes over them.

A sample of 64 bytes costs a system call and a look at a file that was not touched lately; with a
window of eighty shards a column, that is most of a batch. A shard of such samples is some
kilobytes, so it is read once a window and its samples are taken from memory. The oldest shards
make room, as windows do; a reader that goes to and fro between more shards than fit is told to read
its samples directly.

Shapes: n samples, S shards, R rows at most of a shard, D features.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .order import default_window

MAX_SHARD_BYTES: Final = 1 << 16
_MAX_BYTES: Final = 1 << 25
_FREE_LOADS: Final = 64
_SAMPLES_A_LOAD: Final = 4  # as many single reads cost as much as reading a shard

Integers = npt.NDArray[np.int64]


class SmallShards:
    """Keeps the rows of two shuffle windows of shards, for one thread.

    Args:
        num_shards: Shards of the column, S.
        shard_rows: Rows of its longest shard, R.
        dim: Features a row, D.
        dtype: Of the rows.
    """

    def __init__(self, num_shards: int, shard_rows: int, *, dim: int, dtype: np.dtype[Any]) -> None:
        room = _MAX_BYTES // (shard_rows * dim * dtype.itemsize)
        num_slots = min(num_shards, room, 2 * default_window(num_shards))
        self._rows = np.empty((num_slots, shard_rows, dim), dtype)
        self._slot_of = np.full(num_shards, -1, dtype=np.int64)
        self._shard_in = np.full(num_slots, -1, dtype=np.int64)
        self._next = 0
        self._loads = self._samples = 0

    def take(
        self,
        shards: Integers,
        load: Callable[[int, npt.NDArray[Any]], None],
        *,
        rows_at: Integers,
        counts: Integers,
        out: npt.NDArray[Any],
        at: Integers,
    ) -> bool:
        """Copy samples out of their shards; False, and nothing is copied, if that does not pay.

        Args:
            shards: The shard of each sample `[n]`.
            load: Fills `[R, D]` with the rows of a shard, as many as it has.
            rows_at: First row of each sample in its shard `[n]`.
            counts: Rows of each sample `[n]`, at least 1.
            out: Where they go, `[rows, D]`.
            at: First row of each sample in `out` `[n]`.
        """
        if self._loads > _FREE_LOADS + self._samples // _SAMPLES_A_LOAD:
            return False
        slots = self._slot_of[shards]
        if (slots < 0).any():
            if not self._load(np.unique(shards), load):
                return False
            slots = self._slot_of[shards]
        self._samples += len(shards)
        flat = self._rows.reshape(-1, self._rows.shape[2])
        source = slots * self._rows.shape[1] + rows_at
        if (counts == 1).all():
            out[at] = flat[source]
            return True
        ends = np.cumsum(counts)
        inside = np.arange(int(ends[-1])) - np.repeat(ends - counts, counts)
        out[np.repeat(at, counts) + inside] = flat[np.repeat(source, counts) + inside]
        return True

    def _load(self, shards: Integers, load: Callable[[int, npt.NDArray[Any]], None]) -> bool:
        """Bring in those of the shards that are not here; False if there is no room for all."""
        if len(shards) > len(self._shard_in):
            return False
        there = self._slot_of[shards]
        is_needed = np.zeros(len(self._shard_in), dtype=bool)
        is_needed[there[there >= 0]] = True
        for shard in shards[there < 0].tolist():
            while is_needed[self._next]:
                self._next = (self._next + 1) % len(is_needed)
            slot = self._next
            before = int(self._shard_in[slot])
            if before >= 0:
                self._slot_of[before] = -1
            self._shard_in[slot] = -1  # as long as the read may fail
            load(shard, self._rows[slot])
            self._shard_in[slot], self._slot_of[shard] = shard, slot
            is_needed[slot] = True
            self._loads += 1
        return True
