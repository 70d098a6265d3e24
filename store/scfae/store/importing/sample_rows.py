"""The samples of an import: ids of the source, with what is known of them from elsewhere."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..sample_row import SampleRow
from .source import Source


def sample_rows(
    source: Source,
    given: Mapping[str, SampleRow],
    labels: str | Path | None,
    notices: list[str],
) -> list[SampleRow]:
    """Return the source's samples; a table of labels goes before what the source says.

    Args:
        source: The features.
        given: What the table of labels says, by id.
        labels: The table's file, None if there is none.
        notices: Takes what the user should know.
    """
    own = source.labels
    rows = [
        merged(own.get(name, SampleRow(name)), given.get(name), is_new_first=True)
        for name in source.ids
    ]
    if labels is not None:
        without = [name for name in source.ids if name not in given]
        if without:
            notices.append(
                f"{labels}: has no line for {len(without)} of {len(rows)} samples, e.g. "
                f"'{without[0]}'"
            )
    return rows


def merged(row: SampleRow, new: SampleRow | None, *, is_new_first: bool) -> SampleRow:
    """Return a sample with what `new` adds to it.

    Args:
        row: The sample.
        new: What else is known of it, None if nothing.
        is_new_first: Where both know something, `new` is right.
    """
    if new is None:
        return row
    first, second = (new, row) if is_new_first else (row, new)
    known = {name: value for name, value in first.labels.items() if value is not None}
    return replace(
        row,
        media={**second.media, **first.media},
        split=first.split or second.split,
        group=first.group or second.group,
        labels={**first.labels, **second.labels, **known},
    )


def note_strangers(
    given: Mapping[str, SampleRow], known: Mapping[str, SampleRow], notices: list[str]
) -> None:
    """Take note of labels whose ids nobody knows."""
    strangers = [name for name in given if name not in known]
    if strangers:
        notices.append(
            f"the labels of {len(strangers)} ids without features were left, e.g. '{strangers[0]}'"
        )
