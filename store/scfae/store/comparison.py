"""Two columns of one store side by side: who made them, and how far their rows agree.

Shapes: N samples, T rows, D features.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .reader import Column
from .receipt import STATUSES
from .store import FeatureStore
from .tables import table

_FACTS: Final = (
    "modality", "encoder", "weights", "weights_sha256", "is_random", "recipe", "options", "layer",
    "dim", "dtype", "format", "rows_per_second", "licence", "versions", "fingerprint",
)  # fmt: skip
_EXAMPLES: Final = 5


def compare_columns(store: FeatureStore, one: str, other: str) -> dict[str, Any]:
    """Return what two columns are and how they differ, as plain JSON values.

    Reads all rows of both where their dims are equal, a sample at a time; otherwise only receipts.

    Args:
        store: The store.
        one: A column.
        other: Another.

    Returns:
        `columns` has what describes each; `differences` names the keys that differ;
        `samples` compares fates and lengths; `rows` compares values, None where dims differ.

    Raises:
        UnknownColumn: If there is no such column.
        CorruptShard: If a shard is damaged.
    """
    columns = [store.column(one), store.column(other)]
    facts = [_facts(column) for column in columns]
    return {
        "columns": dict(zip((one, other), facts, strict=True)),
        "differences": [key for key in _FACTS if facts[0][key] != facts[1][key]],
        "samples": _samples(store, *columns),
        "rows": _rows(*columns) if columns[0].info.dim == columns[1].info.dim else None,
    }


def comparison_text(report: dict[str, Any]) -> str:
    """Return a comparison as text for a terminal: what is the same is said once."""
    names = list(report["columns"])
    mine, theirs = report["columns"].values()
    lines = []
    for key in _FACTS:
        for part, left, right in _parts(key, mine[key], theirs[key]):
            lines.append((part, left, right if left != right else "same"))
    for key in ("rows", "bytes", "rows_per_sample"):
        lines.append((key.replace("_", " "), str(mine[key]), str(theirs[key])))
    lines += [(fate, str(mine["counts"][fate]), str(theirs["counts"][fate])) for fate in STATUSES]
    samples, rows = report["samples"], report["rows"]
    text = [
        *table(("", *names), lines),
        "",
        f"{samples['status_differs']} of {samples['count']} samples differ in status, "
        f"{samples['length_differs']} in the number of rows",
    ]
    if rows is None:
        return "\n".join([*text, "the dims differ, so rows are not compared"])
    return "\n".join(
        [
            *text,
            f"{rows['identical']} of {rows['compared']} samples with rows in both are identical",
            f"largest difference of a value: {rows['max_abs_difference']} "
            f"(over {rows['same_length']} samples of the same length)",
            f"mean cosine of pooled rows: {rows['mean_cosine']}",
        ]
    )


def _facts(column: Column) -> dict[str, Any]:
    body = column.info.model_dump(mode="json")
    fates, lengths = column.status, column.lengths
    num_rows = int(lengths.sum())
    num_with = int((lengths > 0).sum())
    return {
        **{key: body[key] for key in _FACTS},
        "complete": column.is_complete,
        "rows": num_rows,
        "bytes": column.num_bytes,
        "rows_per_sample": round(num_rows / num_with, 3) if num_with else None,
        "counts": {fate: int((fates == fate).sum()) for fate in STATUSES},
    }


def _samples(store: FeatureStore, one: Column, other: Column) -> dict[str, Any]:
    differs = one.status != other.status
    examples = store.samples.ids[np.flatnonzero(differs)[:_EXAMPLES]]
    return {
        "count": len(one),
        "status_differs": int(differs.sum()),
        "status_differs_in": examples.tolist(),
        "length_differs": int((one.lengths != other.lengths).sum()),
    }


def _rows(one: Column, other: Column) -> dict[str, Any]:
    identical = same_length = 0
    largest: float | None = None
    cosines: list[float] = []
    for mine, theirs in _pairs(one, other):
        identical += np.array_equal(mine, theirs)
        left, right = mine.astype(np.float64), theirs.astype(np.float64)
        if len(left) == len(right):
            same_length += 1
            largest = max(largest or 0.0, float(np.abs(left - right).max()))
        cosine = _cosine(left.mean(axis=0), right.mean(axis=0))
        if cosine is not None:
            cosines.append(cosine)
    num_pairs = int(((one.lengths > 0) & (other.lengths > 0)).sum())
    return {
        "compared": num_pairs,
        "identical": identical,
        "identical_share": round(identical / num_pairs, 6) if num_pairs else None,
        "same_length": same_length,
        "max_abs_difference": largest,
        "mean_cosine": round(float(np.mean(cosines)), 6) if cosines else None,
    }


def _pairs(one: Column, other: Column) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    for index in np.flatnonzero((one.lengths > 0) & (other.lengths > 0)).tolist():
        yield one.rows(index), other.rows(index)


def _cosine(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float | None:
    scale = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / scale if scale else None


def _parts(key: str, mine: Any, theirs: Any) -> Iterator[tuple[str, str, str]]:
    """Yield lines of a table: a dictionary gives one for each of its keys that differs."""
    if not isinstance(mine, dict) or not isinstance(theirs, dict):
        yield key.replace("_", " "), _word(mine), _word(theirs)
        return
    for name in sorted(mine.keys() | theirs.keys()):
        left, right = mine.get(name), theirs.get(name)
        if left != right:
            yield f"{key} {name}", _word(left), _word(right)


def _word(value: Any) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
