"""Rows of a shard, gathered in one growing array until their samples are whole.

One array and not one for each window: what stays between large blocks that come and go keeps the
allocator from using their place again, so that hours of media would cost their windows' memory.

Shapes: R rows of a window, D features, T rows of a sample.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from scfae.store.column import DType

Rows = npt.NDArray[Any]
Times = npt.NDArray[np.float64]
_LEAST_ROWS = 64


class GatheredRows:
    """Rows and times of windows, by sample.

    Args:
        dtype: How rows are kept: float32, or float16 where that holds them exactly.
    """

    def __init__(self, dtype: DType = "float32") -> None:
        self._rows: Rows = np.empty((0, 0), dtype=dtype)
        self._times: Times = np.empty((0, 2), dtype=np.float64)
        self._used = 0
        self._places: dict[str, dict[int, slice]] = {}

    def add(self, sample: str, number: int, rows: Rows, times: Times) -> None:
        """Copy the rows of one window.

        Args:
            sample: Whose.
            number: Of the window in the sample; windows may come in any order.
            rows: `[R, D]`.
            times: `[R, 2]` in seconds.
        """
        end = self._used + len(rows)
        if end > len(self._rows):
            self._grow(max(end, 2 * len(self._rows), _LEAST_ROWS), rows.shape[1])
        self._rows[self._used : end] = rows
        self._times[self._used : end] = times
        self._places.setdefault(sample, {})[number] = slice(self._used, end)
        self._used = end

    def take(self, sample: str) -> tuple[Rows, Times] | None:
        """Return a sample's rows `[T, D]` and times `[T, 2]` in order; None if it has none.

        They are views where they lie in order, so nothing may be added afterwards.
        """
        places = self._places.pop(sample, None)
        if not places:
            return None
        pieces = [places[number] for number in sorted(places)]
        if all(one.stop == after.start for one, after in pairwise(pieces)):
            pieces = [slice(pieces[0].start, pieces[-1].stop)]
        if len(pieces) == 1:
            return self._rows[pieces[0]], self._times[pieces[0]]
        rows = np.concatenate([self._rows[one] for one in pieces])
        return rows, np.concatenate([self._times[one] for one in pieces])

    def _grow(self, capacity: int, dim: int) -> None:
        rows: Rows = np.empty((capacity, dim), dtype=self._rows.dtype)
        times = np.empty((capacity, 2), dtype=np.float64)
        if self._used:
            rows[: self._used] = self._rows[: self._used]
            times[: self._used] = self._times[: self._used]
        self._rows, self._times = rows, times
