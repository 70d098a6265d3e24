"""Samples of a store, found by words and shown in pages.

A word is `LABEL=VALUE`, or one of `split:NAME`, `group:NAME`, `has:COLUMN`, `missing:COLUMN`,
`ok:COLUMN`, `partial:COLUMN` and `failed:COLUMN`; any other is looked for in ids. All must be true.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from scfae.store.config import Frozen
from scfae.store.errors import ConfigError, UnknownColumn
from scfae.store.receipt import STATUSES, Status
from scfae.store.sample_row import SampleRow

from .stores import OpenStore

_BY_FIELD: Final = ("split", "group")
_BY_FATE: Final[tuple[Status, ...]] = ("ok", "partial", "failed")


class SampleLine(Frozen):
    """A sample in a list.

    Attributes:
        key: Its id.
        split: Of the sample.
        group: Speaker, identity, dialogue.
        duration_s: Of its media, in seconds.
        labels: By name; null is unknown.
        rows: Rows in each column that can be read.
        status: Its fate in each column that can be read.
    """

    key: str
    split: str | None
    group: str | None
    duration_s: float | None
    labels: dict[str, JsonValue]
    rows: dict[str, int]
    status: dict[str, str]


class SamplePage(Frozen):
    """A page of samples.

    Attributes:
        samples: In the order of the store.
        cursor: Where the next page begins; null after the last.
        num_found: Samples that match.
    """

    samples: tuple[SampleLine, ...]
    cursor: str | None
    num_found: int


def page(
    opened: OpenStore, *, q: str = "", cursor: str | None = None, limit: int = 50
) -> SamplePage:
    """Return a page of the samples that match.

    Args:
        opened: The store.
        q: Words, see above.
        cursor: Where to begin, from the page before.
        limit: Samples a page.

    Raises:
        ConfigError: A value is none of its label's kind, or the cursor is not one of ours.
        UnknownColumn: A word names a column that is not there.
    """
    found = np.flatnonzero(_matching(opened, q.split()))
    begin = 0 if cursor is None else _read_cursor(cursor)
    first = int(np.searchsorted(found, begin))
    shown = found[first : first + limit]
    is_last = first + limit >= len(found)
    return SamplePage(
        samples=tuple(lines(opened, shown)),
        cursor=None if is_last else str(int(shown[-1]) + 1),
        num_found=len(found),
    )


def place_of(opened: OpenStore, key: str) -> int:
    """Return the place of a sample in the store's table.

    Raises:
        UnknownColumn: The store has no such sample.
    """
    found = np.flatnonzero(opened.store.samples.is_among("id", [key]))
    if not len(found):
        raise UnknownColumn(f"{opened.store.url} has no sample {key!r}.")
    return int(found[0])


def rows_at(opened: OpenStore, places: npt.NDArray[np.int64]) -> list[SampleRow]:
    """Return the samples at some places, rising, as rows of the table."""
    return opened.store.samples.select(places).rows()


def lines(opened: OpenStore, places: npt.NDArray[np.int64]) -> list[SampleLine]:
    """Return the samples at some places, rising, as lines of a list."""
    if not len(places):
        return []
    columns = opened.readable
    rows = {name: column.lengths[places].tolist() for name, column in columns.items()}
    codes = {name: column.status_codes[places].tolist() for name, column in columns.items()}
    return [
        SampleLine(
            key=row.id,
            split=row.split,
            group=row.group,
            duration_s=row.duration_s,
            labels=dict(row.labels),
            rows={name: each[i] for name, each in rows.items()},
            status={name: STATUSES[each[i]] for name, each in codes.items()},
        )
        for i, row in enumerate(rows_at(opened, places))
    ]


def _matching(opened: OpenStore, words: Sequence[str]) -> npt.NDArray[np.bool_]:
    samples = opened.store.samples
    found = np.ones(len(samples), dtype=bool)
    for word in words:
        label, is_equal, value = word.partition("=")
        key, colon, name = word.partition(":")
        if is_equal and label in samples.label_names:
            found &= samples.is_among(label, [_value(opened, label, value)])
        elif colon and key in _BY_FIELD:
            found &= samples.is_among(key, [name or None])
        elif colon and key in ("has", "missing", *_BY_FATE):
            found &= _of_column(opened, key, name)
        else:
            found &= samples.ids_with(word)
    return found


def _of_column(opened: OpenStore, key: str, name: str) -> npt.NDArray[np.bool_]:
    columns = opened.readable
    if name not in columns:
        there = ", ".join(columns) or "none"
        raise UnknownColumn(f"q: there is no column {name!r}; its columns: {there}.")
    for code, fate in enumerate(STATUSES):
        if key == fate and fate in _BY_FATE:
            return np.asarray(columns[name].status_codes == code, dtype=bool)
    has = np.asarray(columns[name].lengths > 0, dtype=bool)
    return has if key == "has" else ~has


def _value(opened: OpenStore, label: str, text: str) -> int | float | str | None:
    if not text:
        return None
    kind = opened.store.samples.label_kind(label)
    try:
        return int(text) if kind == "int" else float(text) if kind == "float" else text
    except ValueError:
        raise ConfigError(f"q: {label}={text}: the label holds numbers.") from None


def _read_cursor(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit():
        raise ConfigError("cursor: not one that a list has given.")
    return int(cursor)
