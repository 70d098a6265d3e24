"""One sample of a store: its fate and its rows in each column, small enough for a picture.

Shapes: T rows, D features, and fewer of both in a map.
"""

import itertools
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scfae.store import Column
from scfae.store.config import Frozen
from scfae.store.errors import ScfaeError
from scfae.store.reader import NOT_EXTRACTED
from scfae.store.samples import SampleTable

from .store_search import SampleLine, lines, place_of
from .stores import OpenStore

MAP_ROWS: Final = 200
MAP_FEATURES: Final = 64
_READ_ROWS: Final = 512


class FeatureMap(Frozen):
    """The rows of a sample, averaged over blocks of rows and of features.

    Attributes:
        values: `[T', D']`, rows first; null where a block holds no finite value.
        starts_s: When each of its rows starts, in seconds; null where that is unknown.
        ends_s: When it ends.
        low: The lowest value of the map.
        high: The highest.
    """

    values: tuple[tuple[float | None, ...], ...]
    starts_s: tuple[float | None, ...]
    ends_s: tuple[float | None, ...]
    low: float
    high: float


class SampleColumn(Frozen):
    """A sample in a column.

    Attributes:
        name: Of the column.
        modality: What it says.
        encoder: Who said it.
        dim: Features a row, D.
        status: ok, partial, missing or failed.
        reason: Why, where it is not ok.
        num_rows: T.
        map: Its rows; null where it has none or they were not asked for.
        error: Why they cannot be read.
    """

    name: str
    modality: str
    encoder: str
    dim: int
    status: str
    reason: str | None
    num_rows: int
    map: FeatureMap | None = None
    error: str | None = None


class SampleFeatures(SampleLine):
    """A sample with its rows.

    Attributes:
        columns: It in each column.
        before: Id of the sample before it in the store.
        after: Id of the one after it.
        shard: Which shard it is in.
        media: The store's references, by kind of media.
    """

    columns: tuple[SampleColumn, ...]
    before: str | None
    after: str | None
    shard: int
    media: dict[str, str]


def sample(opened: OpenStore, key: str, *, maps: Sequence[str] | None = None) -> SampleFeatures:
    """Return a sample with its rows.

    Args:
        opened: The store.
        key: Its id.
        maps: Columns whose rows are shown; all if None.

    Raises:
        UnknownColumn: The store has no such sample.
    """
    table = opened.store.samples
    place = place_of(opened, key)
    (line,) = lines(opened, np.array([place]))
    (row,) = table.select(np.array([place])).rows()
    near = [i for i in (place - 1, place + 1) if 0 <= i < len(table)]
    names = dict(zip(near, table.ids_at(near), strict=True))
    columns = tuple(
        _column(
            column,
            place,
            table,
            status=line.status[name],
            is_shown=maps is None or name in maps,
        )
        for name, column in opened.readable.items()
    )
    return SampleFeatures(
        **line.model_dump(),
        columns=columns,
        before=names.get(place - 1),
        after=names.get(place + 1),
        shard=int(table.shard_of[place]),
        media=dict(row.media),
    )


def _column(
    column: Column, place: int, samples: SampleTable, *, status: str, is_shown: bool
) -> SampleColumn:
    info = column.info
    facts: dict[str, Any] = {
        "name": info.name,
        "modality": info.modality,
        "encoder": info.encoder,
        "dim": info.dim,
        "status": status,
        "num_rows": int(column.lengths[place]),
        "reason": None if status == "ok" else _reason(column, place, samples),
    }
    if not is_shown or not facts["num_rows"]:
        return SampleColumn(**facts)
    try:
        return SampleColumn(**facts, map=feature_map(column, place))
    except (ScfaeError, OSError) as error:
        return SampleColumn(**facts, error=str(error))


def _reason(column: Column, place: int, samples: SampleTable) -> str | None:
    shard = int(samples.shard_of[place])
    number = place - samples.rows_of(shard).start
    receipt = column.receipt(shard)  # one, and not the reasons of all samples
    return NOT_EXTRACTED if receipt is None else receipt.reasons.get(str(number))


def feature_map(column: Column, place: int) -> FeatureMap:
    """Return the rows of a sample, averaged; a long sample is read in parts.

    Args:
        column: The column.
        place: Of the sample in the store; it has rows.
    """
    num_rows, dim = int(column.lengths[place]), column.info.dim
    edges = np.arange(min(num_rows, MAP_ROWS) + 1) * num_rows // min(num_rows, MAP_ROWS)
    cuts = np.arange(min(dim, MAP_FEATURES)) * dim // min(dim, MAP_FEATURES)
    values = np.stack(
        [
            _mean(column, place, range(int(begin), int(end)), cuts)
            for begin, end in itertools.pairwise(edges)
        ]
    )
    times = column.times(place)
    starts, ends = times[edges[:-1], 0], times[edges[1:] - 1, 1]
    finite = values[np.isfinite(values)]
    return FeatureMap(
        values=tuple(map(_numbers, values)),
        starts_s=_numbers(starts),
        ends_s=_numbers(ends),
        low=float(f"{finite.min():.4g}") if finite.size else 0.0,
        high=float(f"{finite.max():.4g}") if finite.size else 0.0,
    )


def _mean(
    column: Column, place: int, wanted: range, cuts: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the mean of some rows over blocks of features `[D']`; of the finite ones."""
    total = np.zeros(len(cuts))
    count = np.zeros(len(cuts))
    for begin in range(wanted.start, wanted.stop, _READ_ROWS):
        size = min(_READ_ROWS, wanted.stop - begin)
        rows = np.empty((size, column.info.dim), dtype=column.info.dtype)
        column.read_rows(place, rows, first=begin)
        is_finite = np.isfinite(rows)
        known = np.where(is_finite, rows.astype(np.float64), 0.0)
        total += np.add.reduceat(known.sum(axis=0), cuts)
        count += np.add.reduceat(is_finite.sum(axis=0), cuts)
    return np.asarray(np.divide(total, count, out=np.full(len(cuts), np.nan), where=count > 0))


def _numbers(values: npt.NDArray[np.float64]) -> tuple[float | None, ...]:
    # Four digits: a picture shows no more, and an answer is half as long.
    return tuple(float(f"{one:.4g}") if np.isfinite(one) else None for one in values.tolist())
