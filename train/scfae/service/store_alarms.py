"""What looks wrong with a store's columns and labels.

Constant and non-finite features are looked for in some rows, spread over the store.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scfae.store import Column
from scfae.store.errors import ScfaeError

from .summary_views import MOST_CLASSES, Alarm, ColumnSummary, LabelSummary

LOOKED_AT: Final = 48
"""Samples whose rows are read of each column."""
ROWS_LOOKED_AT: Final = 64
MANY_MISSING: Final = 0.2
_LARGEST_SHARE: Final = 0.95


def column_alarms(column: Column, one: ColumnSummary) -> list[Alarm]:
    """Return what looks wrong with a column."""
    total = len(column)
    found: list[tuple[Any, str]] = []
    if one.error is not None:
        return [Alarm(kind="unreadable", about=one.name, text=one.error)]
    if one.num_pending:
        text = f"{one.num_pending} of {total} samples are not extracted yet; extract again."
        found.append(("incomplete", text))
    absent = one.counts["missing"] - one.num_pending
    if absent > MANY_MISSING * total:
        found.append(("missing", f"{absent} of {total} samples have no {one.modality}."))
    if one.counts["failed"]:
        why = next((each.reason for each in one.reasons if each.status == "failed"), "")
        number = one.counts["failed"]
        text = f"{number} {'sample' if number == 1 else 'samples'} failed"
        text += f": {why}." if why else "."
        found.append(("failed", text))
    if one.is_random:
        found.append(("noise", "its weights are random: what it says is noise."))
    found += [("stale", f"{why}.") for why in one.stale]
    try:
        found += _of_rows(column)
    except (ScfaeError, OSError) as error:
        found.append(("unreadable", str(error)))
    return [Alarm(kind=kind, about=one.name, text=text) for kind, text in found]


def _of_rows(column: Column) -> list[tuple[str, str]]:
    """Return what is wrong with the features in some rows, spread over the store."""
    has = np.flatnonzero(column.lengths > 0)
    if len(has) < 2:
        return []
    chosen = has[np.linspace(0, len(has) - 1, min(len(has), LOOKED_AT)).astype(int)]
    first: npt.NDArray[Any] | None = None
    varies = np.zeros(column.info.dim, dtype=bool)
    num_bad = 0
    for index in chosen.tolist():
        count = min(int(column.lengths[index]), ROWS_LOOKED_AT)
        rows = np.empty((count, column.info.dim), dtype=column.info.dtype)
        column.read_rows(index, rows)
        num_bad += int(not np.isfinite(rows).all())
        first = rows[0] if first is None else first
        varies |= (rows != first).any(axis=0)
    found = []
    same = int((~varies).sum())
    looked = f"in the rows of {len(chosen)} samples that were looked at"
    if same == column.info.dim:
        found.append(("constant", f"all rows are the same {looked}."))
    elif same:
        found.append(("constant", f"{same} of {column.info.dim} features never change {looked}."))
    if num_bad:
        text = f"{num_bad} of {len(chosen)} samples that were looked at hold NaN or infinity."
        found.append(("non-finite", text))
    return found


def label_alarms(label: LabelSummary) -> list[Alarm]:
    """Return what looks wrong with a label."""
    if label.kind == "float" or not label.counts or label.num_values > MOST_CLASSES:
        return []
    value, count = label.counts[0]
    if count > _LARGEST_SHARE * label.num_known:
        share = count / label.num_known
        text = f"{value} is the label of {share:.1%} of the samples that have one."
        return [Alarm(kind="unbalanced", about=label.name, text=text)]
    return []
