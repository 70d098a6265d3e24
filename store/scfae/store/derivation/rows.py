"""The steps on one sample's rows, in float64.

Shapes: T rows, D features, U rows of the other column whose clock is taken, K features made.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .chain import Chain, Pool


class Rows(NamedTuple):
    """One sample's rows: `values [T, D]` float64 and `times [T, 2]`, start and end in seconds."""

    values: npt.NDArray[np.float64]
    times: npt.NDArray[np.float64]


def prepare(
    rows: npt.NDArray[Any],
    times: npt.NDArray[np.float64],
    chain: Chain,
    clock: npt.NDArray[np.float64] | None = None,
) -> Rows:
    """Take the steps of a chain before its projection.

    Args:
        rows: `[T, D]`, at least one.
        times: `[T, 2]` in seconds.
        chain: The steps.
        clock: Times of the other column's rows `[U, 2]`, at least one, where the chain resamples.
    """
    found = Rows(rows.astype(np.float64), times)
    if chain.layer is not None and chain.layers is not None:
        dim = rows.shape[1] // chain.layers
        found = found._replace(values=found.values[:, chain.layer * dim : (chain.layer + 1) * dim])
    if clock is not None:
        found = Rows(resample(found, clock), clock)
    return found if chain.pool is None else pool(found, chain.pool)


def pool(rows: Rows, how: Pool) -> Rows:
    """Return one row for all, from the first start to the last end.

    Args:
        rows: `[T, D]`, at least one.
        how: `std` is that of the population, 0 for one row; `mean+std` puts both side by side.
    """
    by_name: dict[str, Callable[..., Any]] = {"mean": np.mean, "max": np.max, "std": np.std}
    values = np.concatenate([by_name[name](rows.values, axis=0) for name in how.split("+")])
    # fmin and fmax pass over unknown times, which are NaN.
    times = [np.fmin.reduce(rows.times[:, 0]), np.fmax.reduce(rows.times[:, 1])]
    return Rows(values[None], np.array([times]))


def resample(rows: Rows, clock: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return values `[U, D]`: the mean of the rows that overlap each interval of a clock.

    Intervals hold their start and not their end; one of no length holds its start. Where no row
    overlaps, the nearest speaks, and of two that are as near, the earlier.

    Args:
        rows: `[T, D]`, at least one, with known times in any order.
        clock: Start and end in seconds `[U, 2]`.
    """
    order = np.argsort(rows.times[:, 0], kind="stable")
    values, starts, stops = rows.values[order], rows.times[order, 0], rows.times[order, 1]
    ends = _ends(rows.times[order])
    # Rows before `first` have ended, those from `last` on have not begun; between them, rows that
    # lie inside others may have ended too.
    first = np.searchsorted(np.maximum.accumulate(ends), clock[:, 0], side="right")
    last = np.searchsorted(starts, _ends(clock), side="left")
    out = np.empty((len(clock), values.shape[1]))
    for i, (start, end) in enumerate(clock):
        here = slice(int(first[i]), int(last[i]))
        overlaps = ends[here] > start
        if overlaps.any():
            out[i] = values[here][overlaps].mean(axis=0)
        else:
            out[i] = values[int(np.argmin(np.maximum(starts - end, start - stops)))]
    return out


def _ends(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.maximum(times[:, 1], np.nextafter(times[:, 0], np.inf))
