"""What is in a store, for people: columns, labels, presence, lengths, and what looks wrong.

Everything is told from the sample table and the receipts, but for constant and non-finite features,
for which some rows are read, spread over the store.

Shapes: N samples, C columns, B bins, D features.
"""

from collections import Counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from scfae.store import Column, FeatureStore
from scfae.store.derivation.lineage import is_derived, why_stale
from scfae.store.errors import ScfaeError
from scfae.store.receipt import STATUSES

from .store_alarms import LOOKED_AT, column_alarms, label_alarms
from .stores import OpenStore
from .summary_views import (
    MOST_CLASSES,
    Alarm,
    ColumnSummary,
    Combination,
    Histogram,
    LabelSummary,
    PresenceMap,
    ReasonCount,
    StoreSummary,
)

MAP_BINS: Final = 200
MOST_VALUES: Final = 50
MOST_COMBINATIONS: Final = 40
MOST_REASONS: Final = 5


def summary(opened: OpenStore) -> StoreSummary:
    """Return the summary of a store; it is worked out once for each state of the store."""
    return opened.once("summary", lambda: _summary(opened))


def _summary(opened: OpenStore) -> StoreSummary:
    store, samples = opened.store, opened.store.samples
    splits = {name: samples.is_among("split", [name]) for name in samples.splits}
    in_none = len(samples) - sum(int(mask.sum()) for mask in splits.values())
    columns = [_column(store, column) for column in opened.columns.values()]
    readable = {
        one.name: opened.columns[one.name].lengths > 0 for one in columns if one.error is None
    }
    labels = tuple(_label(store, name, splits) for name in samples.label_names)
    combinations = _combinations(readable, len(samples))
    known = samples.duration_s[~np.isnan(samples.duration_s)]
    alarms = [alarm for one in columns for alarm in column_alarms(opened.columns[one.name], one)]
    alarms += [alarm for one in labels for alarm in label_alarms(one)]
    if splits and in_none:
        text = f"{in_none} of {len(samples)} samples are in no split."
        alarms.append(Alarm(kind="split", about="", text=text))
    return StoreSummary(
        id=opened.id,
        path=str(opened.path),
        fingerprint=store.fingerprint,
        format_version=store.format_version,
        num_samples=len(samples),
        num_shards=samples.num_shards,
        shard_size=samples.shard_size,
        size_bytes=opened.size_bytes,
        duration_s=float(known.sum()),
        splits={name: int(mask.sum()) for name, mask in splits.items()}
        | ({"": in_none} if in_none else {}),
        labels=labels,
        columns=tuple(columns),
        combinations=tuple(combinations[:MOST_COMBINATIONS]),
        num_combinations=len(combinations),
        presence=_presence(readable, len(samples)),
        alarms=tuple(alarms),
        num_looked_at=LOOKED_AT,
    )


def _column(store: FeatureStore, column: Column) -> ColumnSummary:
    info = column.info
    shared = set(ColumnSummary.model_fields) & set(type(info).model_fields)
    facts = {name: getattr(info, name) for name in shared}
    try:
        lengths, codes = column.lengths, column.status_codes
        samples = store.samples
        pending = sum(len(samples.rows_of(shard)) for shard in column.missing_shards)
        often: Counter[tuple[str, str]] = Counter()
        for place, why in column.reasons.items():
            often[STATUSES[codes[place]], why] += 1
        return ColumnSummary(
            size_bytes=column.num_bytes,
            num_rows=int(lengths.sum(dtype=np.int64)),
            num_present=int((lengths > 0).sum()),
            num_pending=pending,
            counts={name: int((codes == code).sum()) for code, name in enumerate(STATUSES)},
            reasons=tuple(
                ReasonCount(status=fate, reason=why, count=count)
                for (fate, why), count in often.most_common(MOST_REASONS)
            ),
            lengths=Histogram.of(lengths[lengths > 0]),
            stale=tuple(why_stale(store, info)) if is_derived(info) else (),
            **facts,
        )
    except (ScfaeError, OSError) as error:
        return ColumnSummary(error=str(error), **facts)


def _label(
    store: FeatureStore, name: str, splits: dict[str, npt.NDArray[np.bool_]]
) -> LabelSummary:
    array = store.samples.label_array(name)
    known = array.drop_null()
    kind = store.samples.label_kind(name)
    counted = pc.value_counts(known)
    values, often = counted.field(0).to_pylist(), counted.field(1).to_numpy()
    facts: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "num_known": len(known),
        "num_values": len(values),
    }
    if kind != "str" and (kind == "float" or len(values) > MOST_VALUES):
        numbers = np.asarray(known)
        finite = numbers[np.isfinite(numbers)] if kind == "float" else numbers
        facts["histogram"] = Histogram.of(finite)
    if kind == "float":
        return LabelSummary(**facts)
    order = sorted(range(len(values)), key=lambda i: (-int(often[i]), values[i]))[:MOST_VALUES]
    facts["counts"] = tuple((values[i], int(often[i])) for i in order)
    if len(values) <= MOST_CLASSES:
        has = {i: store.samples.is_among(name, [values[i]]) for i in order}
        facts["splits"] = {
            split: tuple(int((has[i] & mask).sum()) for i in order)
            for split, mask in splits.items()
        }
    return LabelSummary(**facts)


def _combinations(
    readable: dict[str, npt.NDArray[np.bool_]], num_samples: int
) -> list[Combination]:
    names = list(readable)[:62]  # bits of a code; nobody reads a table of more
    codes = np.zeros(num_samples, dtype=np.int64)
    for bit, name in enumerate(names):
        codes |= readable[name].astype(np.int64) << bit
    distinct, counts = np.unique(codes, return_counts=True)
    found = [
        Combination(
            columns=tuple(name for bit, name in enumerate(names) if code >> bit & 1), count=count
        )
        for code, count in zip(distinct.tolist(), counts.tolist(), strict=True)
    ]
    return sorted(found, key=lambda one: (-one.count, one.columns))


def _presence(readable: dict[str, npt.NDArray[np.bool_]], num_samples: int) -> PresenceMap:
    bins = min(MAP_BINS, num_samples)
    edges = np.arange(bins + 1) * num_samples // max(1, bins)
    sizes = np.diff(edges)
    shares = {
        name: tuple(np.round(np.add.reduceat(has.astype(np.int64), edges[:-1]) / sizes, 4).tolist())
        for name, has in readable.items()
    }
    return PresenceMap(edges=tuple(edges.tolist()), shares=shares)
