"""Where batches end: after so many units, or before their padded rows exceed a limit.

Shapes: n units in order, M modalities, B units of a batch at most.
"""

import numpy as np

from .order import Integers
from .units import Units


def cut(units: Units, order: Integers, *, batch_size: int, max_rows: int | None) -> Integers:
    """Return where the batches of an order end, rising; the last is its length.

    A batch's padded rows are its samples times the longest of them, summed over modalities. A unit
    that exceeds the limit by itself is a batch by itself, since no sample is left out.

    Args:
        units: What is known of all units.
        order: The units to cut, `[n]`.
        batch_size: Most units of a batch.
        max_rows: The limit; None is none.
    """
    if max_rows is None:
        ends = np.arange(batch_size, len(order) + batch_size, batch_size, dtype=np.int64)
        return np.minimum(ends, len(order))
    steps = _fitting(units, order, min(batch_size, len(order)), max_rows).tolist()
    found, place = [], 0
    while place < len(steps):
        place += steps[place]
        found.append(place)
    return np.array(found, dtype=np.int64)


def rows_of(units: Units, batch: Integers) -> tuple[int, int]:
    """Return a batch's samples, and the rows of one of them when padded, over all modalities."""
    samples = int(units.sizes[batch].sum()) if units.sizes is not None else len(batch)
    return samples, int(units.longest[batch].max(axis=0, initial=0).sum())


def _fitting(units: Units, order: Integers, batch_size: int, max_rows: int) -> Integers:
    """Return for each place how many units fit into a batch that begins there, at least 1.

    Found for all places together by halving: the longest of 2^k neighbours is that of two halves,
    and padded rows only grow with a batch. So it takes log2 B passes over n numbers.
    """
    longest = np.ascontiguousarray(units.longest[order].T)
    sizes = np.ones(len(order), dtype=np.int64) if units.sizes is None else units.sizes[order]
    before = np.append(0, np.cumsum(sizes))
    levels = [longest]
    while 2 ** len(levels) <= batch_size:
        half = 2 ** (len(levels) - 1)
        level = levels[-1].copy()
        np.maximum(level[:, :-half], levels[-1][:, half:], out=level[:, :-half])
        levels.append(level)
    places = np.arange(len(order))
    count = np.zeros(len(order), dtype=np.int64)
    maximum = np.zeros_like(longest)
    for power in reversed(range(len(levels))):
        wanted = count + 2**power
        end = np.minimum(places + wanted, len(order))
        begin = np.minimum(places + count, len(order) - 1)
        grown = np.maximum(maximum, levels[power][:, begin])
        rows = (before[end] - before[places]) * grown.sum(axis=0)
        fits = (wanted <= batch_size) & (places + wanted <= len(order)) & (rows <= max_rows)
        count = np.where(fits, wanted, count)
        maximum = np.where(fits, grown, maximum)
    return np.maximum(count, 1)
