"""What a store holds and what became of each sample, as JSON values and as tables."""

from collections import Counter
from typing import Any

from .derivation import is_derived, parents_now, why_stale
from .reader import Column
from .receipt import STATUSES
from .store import FeatureStore
from .tables import table


def info(store: FeatureStore) -> dict[str, Any]:
    """Return what is in a store: samples, splits, labels and columns, as plain JSON values."""
    samples = store.samples
    return {
        "path": store.url,
        "format_version": store.format_version,
        "fingerprint": store.fingerprint,
        "samples": len(samples),
        "shards": samples.num_shards,
        "shard_size": samples.shard_size,
        "splits": {name: int((samples.split == name).sum()) for name in samples.splits},
        "labels": {name: _label(store, name) for name in samples.label_names},
        "columns": {name: _column(store, store.column(name)) for name in store.columns},
    }


def status(store: FeatureStore) -> dict[str, Any]:
    """Return each sample's fate in each column, and the counts, as plain JSON values.

    Every sample has an entry for every column, so the counts of a column add up to the number of
    samples. Where a shard is not extracted yet its samples count as `missing`, with the reason
    `not extracted yet`, and are also counted under `not_extracted`.
    """
    columns = {name: store.column(name) for name in store.columns}
    fates = {name: _fates(column) for name, column in columns.items()}
    return {
        "samples": [
            {"id": str(name), "columns": {key: fate[i] for key, fate in fates.items()}}
            for i, name in enumerate(store.samples.ids)
        ],
        "counts": {name: _counts(column) for name, column in columns.items()},
        "not_extracted": {
            name: sum(len(store.samples.rows_of(shard)) for shard in column.missing_shards)
            for name, column in columns.items()
        },
    }


def info_text(store: FeatureStore) -> str:
    """Return `info` as text for a terminal."""
    facts = info(store)
    splits = ", ".join(f"{name} {count}" for name, count in facts["splits"].items())
    labels = ", ".join(f"{name} ({label['kind']})" for name, label in facts["labels"].items())
    lines = [
        f"{facts['path']}: {facts['samples']} samples in {facts['shards']} shards",
        f"splits: {splits or 'none'}",
        f"labels: {labels or 'none'}",
        "",
    ]
    rows = [
        (
            name,
            column["modality"],
            column["format"],
            f"{column['dtype']} x {column['dim']}",
            str(column["rows"]),
            f"{column['bytes'] / 1e6:.1f} MB",
            f"{column['shards_done']}/{facts['shards']}",
            _origin(column),
        )
        for name, column in facts["columns"].items()
    ]
    head = ("column", "modality", "format", "row", "rows", "size", "shards", "weights")
    stale = [
        f"{name} is stale: {why}{'' if why.endswith('gone') else '; derive it with --replace'}"
        for name, column in facts["columns"].items()
        for why in column.get("stale", ())
    ]
    return "\n".join([*lines, *table(head, rows), *([""] if stale else []), *stale])


def status_text(store: FeatureStore) -> str:
    """Return the counts of `status`, and every reason with how often it occurs, as text."""
    head = ("column", *STATUSES, "not extracted yet")
    rows, reasons = [], []
    for name in store.columns:
        column = store.column(name)
        counts = _counts(column)
        pending = sum(len(store.samples.rows_of(shard)) for shard in column.missing_shards)
        counts["missing"] -= pending
        rows.append((name, *(str(counts[one]) for one in STATUSES), str(pending)))
        fates = column.status
        often = Counter((fates[i], why) for i, why in column.reasons.items())
        reasons += [
            f"{name}: {count} {fate}: {why}" for (fate, why), count in sorted(often.items())
        ]
    lines = [f"{store.url}: {len(store.samples)} samples", "", *table(head, rows)]
    return "\n".join([*lines, "", *reasons] if reasons else lines)


def _column(store: FeatureStore, column: Column) -> dict[str, Any]:
    body = column.info.model_dump(mode="json")
    lineage: dict[str, Any] = {}
    if is_derived(column.info):
        parents = parents_now(store.columns, column.info)
        lineage = {"parents": parents, "stale": why_stale(store, column.info)}
    return {
        **{key: body[key] for key in body if key != "name"},
        "complete": column.is_complete,
        "shards_done": column.num_shards - len(column.missing_shards),
        "rows": int(column.lengths.sum()),
        "bytes": column.num_bytes,
        "counts": _counts(column),
        **lineage,
    }


def _origin(column: dict[str, Any]) -> str:
    weights = "random weights" if column["is_random"] else str(column["weights"])
    if "stale" not in column:
        return weights
    return f"{weights}; {column['encoder']} of {' and '.join(column['parents'])}"


def _label(store: FeatureStore, name: str) -> dict[str, Any]:
    values = [value for value in store.samples.label(name) if value is not None]
    facts: dict[str, Any] = {"kind": store.samples.label_kind(name), "known": len(values)}
    if facts["kind"] != "float":
        facts["classes"] = len(set(values))
    return facts


def _fates(column: Column) -> list[dict[str, Any]]:
    reasons = column.reasons
    return [
        {"status": str(fate), "reason": reasons.get(i), "rows": int(length)}
        for i, (fate, length) in enumerate(zip(column.status, column.lengths, strict=True))
    ]


def _counts(column: Column) -> dict[str, int]:
    fates = column.status
    return {name: int((fates == name).sum()) for name in STATUSES}
