"""Two columns of one store side by side: who made them, and how far their rows agree.

Shapes: N samples, T rows, D features.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .errors import SchemaMismatch
from .reader import Column
from .receipt import STATUSES
from .similarity import (
    NEIGHBOURS,
    linear_cka,
    majority_share,
    neighbour_overlap,
    probe_accuracy,
)
from .store import FeatureStore
from .tables import table

_FACTS: Final = (
    "modality", "encoder", "weights", "weights_sha256", "is_random", "recipe", "options", "layer",
    "dim", "dtype", "format", "rows_per_second", "licence", "versions", "fingerprint",
)  # fmt: skip
_EXAMPLES: Final = 5
MOST_SAMPLES: Final = 2000


def compare_columns(
    store: FeatureStore,
    one: str,
    other: str,
    *,
    label: str | None = None,
    most_samples: int = MOST_SAMPLES,
) -> dict[str, Any]:
    """Return what two columns are and how they differ, as plain JSON values.

    Reads all rows of both where their dims are equal, a sample at a time; otherwise those of
    `most_samples` at most, which are also what similarity is measured on.

    Args:
        store: The store.
        one: A column.
        other: Another.
        label: Measure how well a linear probe names it from each column; samples of the split
            `test` are left out.
        most_samples: Similarity is measured on so many, evenly spaced, that have rows in both.

    Returns:
        `columns` has what describes each; `differences` names the keys that differ;
        `samples` compares fates and lengths; `coverage` counts samples with rows in both, one or
        neither; `rows` compares values, None where dims differ; `similarity` is of whatever dims.

    Raises:
        UnknownColumn: If there is no such column or label.
        SchemaMismatch: If a probe cannot be fitted to the label.
        CorruptShard: If a shard is damaged.
    """
    columns = [store.column(one), store.column(other)]
    facts = [_facts(column) for column in columns]
    return {
        "columns": dict(zip((one, other), facts, strict=True)),
        "differences": [key for key in _FACTS if facts[0][key] != facts[1][key]],
        "samples": _samples(store, *columns),
        "coverage": _coverage(*columns),
        "rows": _rows(*columns) if columns[0].info.dim == columns[1].info.dim else None,
        "similarity": _similarity(store, columns, label=label, most_samples=most_samples),
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
    both = report["coverage"]
    text.append(
        f"rows in both: {both['both']} samples; only in {names[0]}: {both['only_first']}; only in "
        f"{names[1]}: {both['only_second']}; in neither: {both['neither']}"
    )
    if rows is None:
        text.append("the dims differ, so values are not compared one by one")
    else:
        text += [
            f"{rows['identical']} of {rows['compared']} samples with rows in both are identical",
            f"largest difference of a value: {rows['max_abs_difference']} "
            f"(over {rows['same_length']} samples of the same length)",
            f"mean cosine of pooled rows: {rows['mean_cosine']}",
        ]
    return "\n".join([*text, *_similarity_lines(report["similarity"], names)])


def _similarity_lines(found: dict[str, Any], names: list[str]) -> list[str]:
    norms = ", ".join(f"{name} {_figure(found['mean_norm'][name])}" for name in names)
    lines = [
        f"over {found['samples']} samples: mean norm of a row: {norms}; linear CKA "
        f"{_figure(found['linear_cka'])}; shared among {found['neighbours']} nearest neighbours "
        f"{_figure(found['neighbour_overlap'])}"
    ]
    probe = found["probe"]
    if probe is not None:
        right = ", ".join(f"{name} {_figure(probe['accuracy'][name])}" for name in names)
        lines.append(
            f"linear probe of '{probe['label']}' over {probe['samples']} samples: {right}; the "
            f"most frequent value alone {_figure(probe['majority'])}"
        )
    return lines


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _coverage(one: Column, other: Column) -> dict[str, int]:
    mine, theirs = one.lengths > 0, other.lengths > 0
    return {
        "both": int((mine & theirs).sum()),
        "only_first": int((mine & ~theirs).sum()),
        "only_second": int((~mine & theirs).sum()),
        "neither": int((~mine & ~theirs).sum()),
    }


def _similarity(
    store: FeatureStore, columns: Sequence[Column], *, label: str | None, most_samples: int
) -> dict[str, Any]:
    one, other = columns
    if label is not None and store.samples.label_kind(label) == "float":
        raise SchemaMismatch(f"label '{label}' is a real number; a probe needs classes")
    shared = np.flatnonzero((one.lengths > 0) & (other.lengths > 0))
    chosen = shared[np.linspace(0, len(shared) - 1, min(len(shared), most_samples)).astype(int)]
    pooled, norms = {}, {}
    for column in columns:
        rows = [column.rows(index).astype(np.float64) for index in chosen.tolist()]
        pooled[column.info.name] = np.array([each.mean(axis=0) for each in rows])
        lengths = [float(np.linalg.norm(each, axis=1).mean()) for each in rows]
        norms[column.info.name] = round(float(np.mean(lengths)), 6) if lengths else None
    mine, theirs = (pooled[column.info.name] for column in columns)
    has_any = len(chosen) > 0
    return {
        "samples": len(chosen),
        "mean_norm": norms,
        "linear_cka": _rounded(linear_cka(mine, theirs)) if has_any else None,
        "neighbours": NEIGHBOURS,
        "neighbour_overlap": _rounded(neighbour_overlap(mine, theirs)) if has_any else None,
        "probe": None if label is None else _probe(store, label, chosen, pooled),
    }


def _probe(
    store: FeatureStore,
    label: str,
    chosen: npt.NDArray[np.int64],
    pooled: dict[str, npt.NDArray[np.float64]],
) -> dict[str, Any]:
    table_of = store.samples
    values, splits, groups = table_of.label(label), table_of.split, table_of.group
    known = [
        place
        for place, index in enumerate(chosen.tolist())
        if values[index] is not None and splits[index] != "test"
    ]
    labels = [values[chosen[place]] for place in known]
    of_group = [str(groups[chosen[p]] or table_of.ids[chosen[p]]) for p in known]
    accuracy = {
        name: round(probe_accuracy(features[known], labels, of_group), 6)
        for name, features in pooled.items()
    }
    return {
        "label": label,
        "samples": len(known),
        "accuracy": accuracy,
        "majority": round(majority_share(labels), 6),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


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
