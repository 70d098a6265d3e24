"""What is in a store, for people: columns, labels, presence, lengths, and what looks wrong.

Everything is told from the sample table and the receipts, but for constant and non-finite features,
for which some rows are read, spread over the store.

Shapes: N samples, C columns, B bins, D features.
"""

from collections import Counter
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from pydantic import Field, JsonValue

from scfae.store import Column, FeatureStore
from scfae.store.config import Frozen
from scfae.store.derivation.lineage import is_derived, why_stale
from scfae.store.errors import ScfaeError
from scfae.store.receipt import STATUSES

from .stores import OpenStore

MAP_BINS: Final = 200
HISTOGRAM_BINS: Final = 30
MOST_VALUES: Final = 50
MOST_COMBINATIONS: Final = 40
MOST_REASONS: Final = 5
MOST_CLASSES: Final = 20
"""Of a label, and it is counted in each split."""
LOOKED_AT: Final = 48
"""Samples whose rows are read of each column, for the alarms."""
ROWS_LOOKED_AT: Final = 64
MANY_MISSING: Final = 0.2
_LARGEST_SHARE: Final = 0.95


class Histogram(Frozen):
    """How often values lie in bins.

    Attributes:
        edges: Of the bins, one more than there are.
        counts: In each bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> "Histogram | None":
        """Return the histogram of values; None of none. Few different whole numbers get a bin each.

        Args:
            values: Finite ones.
        """
        if not len(values):
            return None
        low, high = float(values.min()), float(values.max())
        if np.issubdtype(values.dtype, np.integer) and high - low < HISTOGRAM_BINS:
            edges = np.arange(low, high + 2) - 0.5
        else:
            edges = np.linspace(low, high if high > low else low + 1.0, HISTOGRAM_BINS + 1)
        counts, _ = np.histogram(values, edges)
        return cls(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))


class ReasonCount(Frozen):
    """Why samples are not whole in a column.

    Attributes:
        status: partial, missing or failed.
        reason: In words.
        count: Samples.
    """

    status: str
    reason: str
    count: int


class ColumnSummary(Frozen):
    """A column.

    Attributes:
        name: Its name.
        modality: What it says.
        encoder: The encoder's string.
        weights: Where its weights came from.
        weights_sha256: Digest of the weights file, None where there is none.
        is_random: The weights are noise.
        dim: Features a row, D.
        rows_per_second: Rows a second of media, None where it has no meaning.
        dtype: How rows are stored.
        format: File format of its shards.
        licence: Of the weights.
        fingerprint: Digest of all that decides its rows.
        size_bytes: Of all shards.
        num_rows: In all samples.
        num_present: Samples that have rows.
        num_pending: Samples that are not extracted yet.
        counts: Samples by fate; those not extracted yet are missing.
        reasons: The most frequent reasons.
        lengths: Rows of the samples that have some.
        stale: Why a derived column no longer agrees with what it was derived from.
        error: Why it cannot be read, or None.
    """

    name: str
    modality: str
    encoder: str
    weights: str
    weights_sha256: str | None
    is_random: bool
    dim: int
    rows_per_second: float | None
    dtype: str
    format: str
    licence: str | None
    fingerprint: str
    size_bytes: int = 0
    num_rows: int = 0
    num_present: int = 0
    num_pending: int = 0
    counts: dict[str, int] = Field(default_factory=dict)
    reasons: tuple[ReasonCount, ...] = ()
    lengths: Histogram | None = None
    stale: tuple[str, ...] = ()
    error: str | None = None


class LabelSummary(Frozen):
    """A label.

    Attributes:
        name: Its name.
        kind: int, float or str.
        num_known: Samples that have it.
        num_values: Different values.
        counts: Value and samples, the most frequent first; empty for fractions.
        histogram: Of numbers with many different values.
        splits: Samples of each split by value, in the order of `counts`, where values are few.
    """

    name: str
    kind: str
    num_known: int
    num_values: int
    counts: tuple[tuple[JsonValue, int], ...] = ()
    histogram: Histogram | None = None
    splits: dict[str, tuple[int, ...]] = Field(default_factory=dict)


class Combination(Frozen):
    """Samples that have exactly these columns.

    Attributes:
        columns: Their names; none for samples without any rows.
        count: Samples.
    """

    columns: tuple[str, ...]
    count: int


class PresenceMap(Frozen):
    """Which samples have rows, over the store in its order.

    Attributes:
        edges: Where bins begin in the sample table, and where the last one ends `[B + 1]`.
        shares: Of each column, which part of each bin has rows `[B]`.
    """

    edges: tuple[int, ...]
    shares: dict[str, tuple[float, ...]]


class Alarm(Frozen):
    """Something that looks wrong.

    Attributes:
        kind: What.
        about: Name of the column or label; empty for the store.
        text: In a sentence.
    """

    kind: Literal[
        "unreadable", "incomplete", "missing", "failed", "constant", "non-finite", "noise",
        "stale", "unbalanced", "split",
    ]  # fmt: skip
    about: str
    text: str


class StoreSummary(Frozen):
    """A store.

    Attributes:
        id: A digest of its path.
        path: Its folder.
        fingerprint: Digest of samples and columns.
        format_version: Of the format on disk.
        num_samples: N.
        num_shards: Shards a column.
        shard_size: Samples a shard.
        size_bytes: Of the sample table and all shards.
        duration_s: Of all media together, as far as it is known.
        splits: Samples of each split; those of none under an empty name.
        labels: Its labels.
        columns: Its columns.
        combinations: Samples by which columns they have, the most frequent first.
        num_combinations: How many there are, also those left out above.
        presence: Over the store.
        alarms: What looks wrong.
        num_looked_at: Samples whose rows were read for that, of each column at most.
    """

    id: str
    path: str
    fingerprint: str
    format_version: int
    num_samples: int
    num_shards: int
    shard_size: int
    size_bytes: int
    duration_s: float
    splits: dict[str, int]
    labels: tuple[LabelSummary, ...]
    columns: tuple[ColumnSummary, ...]
    combinations: tuple[Combination, ...]
    num_combinations: int
    presence: PresenceMap
    alarms: tuple[Alarm, ...]
    num_looked_at: int


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
    alarms = [alarm for one in columns for alarm in _alarms(opened.columns[one.name], one)]
    alarms += [alarm for one in labels for alarm in _label_alarms(one)]
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


def _alarms(column: Column, one: ColumnSummary) -> list[Alarm]:
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


def _label_alarms(label: LabelSummary) -> list[Alarm]:
    if label.kind == "float" or not label.counts or label.num_values > MOST_CLASSES:
        return []
    value, count = label.counts[0]
    if count > _LARGEST_SHARE * label.num_known:
        share = count / label.num_known
        text = f"{value} is the label of {share:.1%} of the samples that have one."
        return [Alarm(kind="unbalanced", about=label.name, text=text)]
    return []
