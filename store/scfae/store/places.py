"""Where the rows of a column lie in the files of the shards that were opened.

Nearly every shard holds its samples one after the other, as the table has them: where the first
begins and the lengths say all. Only a file that has something between them (a tar) needs a position
a sample, so the memory of a column does not grow as its shards are read.

Shapes: N samples, S shards, n some of the samples.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


class Places:
    """Where rows lie in their files, as far as shards were opened.

    Args:
        lengths: Rows of each sample, T, `[N]`.
        bounds: Where shards begin, `[S + 1]`.
        row_bytes: Bytes of a row.

    Attributes:
        is_known: Which shards were opened, bool `[S]`.
        is_dense: Which of them hold their samples one after the other, bool `[S]`.
    """

    def __init__(self, lengths: npt.NDArray[Any], bounds: Integers, *, row_bytes: int) -> None:
        num_shards = len(bounds) - 1
        self._bounds, self._row_bytes = bounds, row_bytes
        totals = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=totals[1:])
        in_shard = np.diff(totals[bounds])
        self.rows_of_longest = int(in_shard.max(initial=0))
        is_small = self.rows_of_longest < 1 << 32
        totals[:-1] -= np.repeat(totals[bounds[:-1]], np.diff(bounds))
        self._first_rows = totals[:-1].astype(np.uint32 if is_small else np.int64)
        self._begins = np.zeros(num_shards, dtype=np.int64)
        self._spread: Integers | None = None
        self.is_known = np.zeros(num_shards, dtype=bool)
        self.is_dense = np.zeros(num_shards, dtype=bool)

    def learn(self, shard: int, rows_at: Integers) -> None:
        """Take note of where the rows of each sample of a shard begin in its file, in bytes."""
        here = slice(int(self._bounds[shard]), int(self._bounds[shard + 1]))
        follows = rows_at[0] + self._first_rows[here].astype(np.int64) * self._row_bytes
        is_dense = np.array_equal(rows_at, follows)
        if not is_dense:
            if self._spread is None:
                self._spread = np.zeros(len(self._first_rows), dtype=np.int64)
            self._spread[here] = rows_at
        self._begins[shard] = rows_at[0]
        self.is_dense[shard] = is_dense
        self.is_known[shard] = True  # last: another thread may look at it

    def begin(self, shard: int) -> int:
        """Return where the rows of a shard's first sample begin in its file, in bytes."""
        return int(self._begins[shard])

    def first_rows(self, samples: Integers) -> Integers:
        """Return the first row of each of some samples among the rows of its shard, `[n]`."""
        return self._first_rows[samples].astype(np.int64)

    def starts(self, samples: Integers, shards: Integers) -> Integers:
        """Return where the rows of some samples begin in the files of their shards, in bytes.

        Args:
            samples: Places in the sample table `[n]`.
            shards: The shard of each, which is known, `[n]`.
        """
        found = self._begins[shards] + self.first_rows(samples) * self._row_bytes
        if self._spread is None:
            return found
        return np.where(self.is_dense[shards], found, self._spread[samples])
