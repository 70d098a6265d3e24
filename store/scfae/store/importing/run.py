"""Features made elsewhere become a column: checked, then copied shard by shard, receipts last.

Shapes: T rows of a sample, D features.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..column import ColumnInfo, DType
from ..container import Format
from ..errors import ConfigError, SchemaMismatch, StoreNotFound
from ..receipt import STATUSES
from ..sample_row import SampleRow
from ..store import FeatureStore
from ..writer import ShardSample
from .labels import read_labels
from .report import ImportReport
from .sample_rows import merged, note_strangers, sample_rows
from .source import Source, UnusableSample, open_source

Nonfinite = Literal["fail", "zero"]
Progress = Callable[[int, int, str], None]
"""Receives (samples done, samples in all, what happens now)."""


def import_features(
    source: str | Path,
    store: str | Path,
    *,
    column: str,
    modality: str,
    labels: str | Path | None = None,
    key: str | None = None,
    shard_size: int = 256,
    dtype: DType | None = None,
    form: Format = "zarr",
    nonfinite: Nonfinite = "fail",
    add_samples: bool = False,
    replace_column: bool = False,
    max_bytes: int | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Make a column of a store from features made elsewhere; the same source again does nothing.

    A new store has the source's samples. In one that is there, ids are matched: samples that the
    source does not have become `missing`.

    Args:
        source: A folder or file; see `open_source`.
        store: The store's folder or URL, made if there is none.
        column: Name of the column.
        modality: What it says, e.g. `audio`.
        labels: A table of splits, groups and labels by id.
        key: Which array or entry of the source holds the rows.
        shard_size: Samples a shard, of a new store.
        dtype: Of the stored rows; None is the source's, float16 or float32.
        form: File format of the shards.
        nonfinite: What becomes of a sample with NaN or infinity: `fail` makes it failed, `zero`
            puts 0 in their place and makes it partial.
        add_samples: Add ids that the store does not know.
        replace_column: Throw away a column of this name that was made differently.
        max_bytes: What a compressed source may unpack to; None is 20 times its size, at least
            1 GiB.
        progress: Receives (samples done, samples in all, text).

    Raises:
        ManifestError: If the source or the labels hold nothing to read.
        ConfigError: If an argument is out of range.
        ImportRefused: If anything in the source cannot be taken; the store is not touched.
        SchemaMismatch: If the source has ids that the store does not know.
        FingerprintMismatch: If the column is there and was made differently.
    """
    path = Path(source)
    with open_source(path, modality=modality, key=key, max_bytes=max_bytes) as opened:
        given = {} if labels is None else read_labels(Path(labels), max_bytes=max_bytes)
        return import_source(
            opened,
            store,
            name=path.name or path.resolve().name,
            column=column,
            modality=modality,
            given=given,
            labels=labels,
            recipe={} if key is None else {"key": key},
            shard_size=shard_size,
            dtype=dtype,
            form=form,
            nonfinite=nonfinite,
            add_samples=add_samples,
            replace_column=replace_column,
            progress=progress,
        )


def import_source(
    source: Source,
    store: str | Path,
    *,
    name: str,
    column: str,
    modality: str,
    given: Mapping[str, SampleRow] | None = None,
    labels: str | Path | None = None,
    recipe: Mapping[str, Any] | None = None,
    shard_size: int = 256,
    dtype: DType | None = None,
    form: Format = "zarr",
    nonfinite: Nonfinite = "fail",
    add_samples: bool = False,
    replace_column: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Make a column of a store from an opened source; see `import_features`.

    Args:
        source: Features made elsewhere, inside its `with` block.
        store: The store's folder or URL, made if there is none.
        name: What the source is called, for people.
        column: Name of the column.
        modality: What it says.
        given: Splits, groups and labels by id, which go before the source's own.
        labels: What they were read from, for messages.
        recipe: What else decides the rows.
        shard_size: Samples a shard, of a new store.
        dtype: Of the stored rows; None is the source's.
        form: File format of the shards.
        nonfinite: What becomes of a sample with NaN or infinity.
        add_samples: Add ids that the store does not know.
        replace_column: Throw away a column of this name that was made differently.
        progress: Receives (samples done, samples in all, text).

    Raises:
        ConfigError: If an argument is out of range.
        SchemaMismatch: If the source has ids that the store does not know.
        FingerprintMismatch: If the column is there and was made differently.
    """
    if shard_size < 1:
        raise ConfigError(f"--shard-size must be at least 1, not {shard_size}.")
    if not modality:
        raise ConfigError("--modality: say what the column says, e.g. audio.")
    info = _describe(source, name, column, modality, recipe=recipe or {}, dtype=dtype, form=form)
    info = info.model_copy() if nonfinite == "fail" else _with_zeros(info)
    notices = list(source.notices)
    given = given or {}
    rows = sample_rows(source, given, labels, notices)
    target, added = _prepare(
        store,
        info,
        rows,
        given,
        shard_size=shard_size,
        add_samples=add_samples,
        replace_column=replace_column,
        notices=notices,
    )
    done, kept = _copy(
        source,
        target,
        info,
        name=name,
        nonfinite=nonfinite,
        replace_column=replace_column,
        progress=progress,
    )
    written = target.column(column)
    fates, ids = written.status, target.samples.ids
    return ImportReport(
        store=str(store),
        column=column,
        kind=source.kind,
        sha256=source.sha256,
        samples=len(ids),
        samples_added=added,
        shards_done=done,
        shards_kept=kept,
        counts={fate: int((fates == fate).sum()) for fate in STATUSES},
        rows=int(written.lengths.sum()),
        reasons=[(str(ids[i]), str(fates[i]), why) for i, why in sorted(written.reasons.items())],
        notices=notices,
    )


def _describe(
    source: Source,
    name: str,
    column: str,
    modality: str,
    *,
    recipe: Mapping[str, Any],
    dtype: DType | None,
    form: Format,
) -> ColumnInfo:
    chosen: DType = dtype or ("float16" if source.dtype == np.float16 else "float32")
    facts: dict[str, Any] = {
        "source": name,
        "source_kind": source.kind,
        "source_sha256": source.sha256,
        "source_dtype": source.dtype.name,
    }
    return ColumnInfo.create(
        column,
        modality,
        encoder=f"imported:{source.kind}",
        weights="none",
        recipe=facts | dict(recipe),
        dim=source.dim,
        dtype=chosen,
        format=form,
    )


def _with_zeros(info: ColumnInfo) -> ColumnInfo:
    fields = info.model_dump(exclude={"name", "modality", "encoder", "dim", "fingerprint"})
    fields["recipe"] = info.recipe | {"nonfinite": "zero"}
    return ColumnInfo.create(info.name, info.modality, encoder=info.encoder, dim=info.dim, **fields)


def _prepare(
    path: str | Path,
    info: ColumnInfo,
    rows: Sequence[SampleRow],
    given: Mapping[str, SampleRow],
    *,
    shard_size: int,
    add_samples: bool,
    replace_column: bool,
    notices: list[str],
) -> tuple[FeatureStore, int]:
    """Return the store with the samples in it, and how many are new; refuse before changing it."""
    by_id = {row.id: row for row in rows}
    try:
        store = FeatureStore.open(path)
    except StoreNotFound:
        note_strangers(given, by_id, notices)
        return FeatureStore.create(path, rows, shard_size=shard_size), len(rows)
    there = {row.id: row for row in store.samples.rows()}
    unknown = [name for name in by_id if name not in there]
    if unknown and not add_samples:
        shown = ", ".join(f"'{name}'" for name in unknown[:3])
        raise SchemaMismatch(
            f"{len(unknown)} of {len(rows)} samples of the source are not in {path}, e.g. {shown}; "
            "rename them as the store has them, or append them with --add-samples."
        )
    store.add_column(info, replace=replace_column)  # refuses before samples are added
    if store.samples.shard_size != shard_size:
        notices.append(
            f"{path} has shards of {store.samples.shard_size} samples; --shard-size is for new "
            "stores"
        )
    note_strangers(given, by_id | there, notices)
    store.append_samples(rows)
    changed = []
    for name, old in there.items():
        row = merged(old, by_id.get(name), is_new_first=False)
        row = merged(row, given.get(name), is_new_first=True)
        if row != old:
            changed.append(row)
    if changed:
        store.update_labels(changed)
        notices.append(f"{path}: split, group or labels of {len(changed)} samples were updated")
    return store, len(unknown)


def _copy(
    source: Source,
    store: FeatureStore,
    info: ColumnInfo,
    *,
    name: str,
    nonfinite: Nonfinite,
    replace_column: bool,
    progress: Progress | None,
) -> tuple[int, int]:
    """Write the shards that are not there; return how many were written and kept."""
    samples, known = store.samples, set(source.ids)
    ids = [str(one) for one in samples.ids]
    media = [source.sample_sha256(one) if one in known else None for one in ids]
    absent = ShardSample(status="missing", reason=f"not in the source {name}")
    with store.add_column(info, replace=replace_column) as writer:
        shards = writer.missing_shards(media)
        total = sum(len(samples.rows_of(shard)) for shard in shards)
        done = 0
        for shard in shards:
            here = samples.rows_of(shard)
            writer.commit(
                shard,
                [
                    replace(_taken(source, ids[i], nonfinite), media_sha256=media[i])
                    if ids[i] in known
                    else absent
                    for i in here
                ],
            )
            done += len(here)
            if progress is not None:
                progress(done, total, f"shard {shard}")
    return len(shards), samples.num_shards - len(shards)


def _taken(source: Source, name: str, nonfinite: Nonfinite) -> ShardSample:
    """Return one sample as it goes into the store."""
    try:
        rows, times = source.sample(name)
    except UnusableSample as error:
        return ShardSample(status="failed", reason=str(error))
    if len(rows) == 0:
        return ShardSample(status="missing", reason="the source has no rows for it")
    rows = _as_floats(rows)
    bad = ~np.isfinite(rows)
    count = int(bad.sum())
    if not count:
        return ShardSample(rows, times)
    if nonfinite == "zero":
        reason = f"{count} of {rows.size} values were not finite and are set to 0"
        return ShardSample(np.where(bad, 0, rows), times, status="partial", reason=reason)
    row, feature = np.argwhere(bad)[0].tolist()
    reason = (
        f"{count} of {rows.size} values are not finite, the first is {rows[row, feature]} at row "
        f"{row}, feature {feature}"
    )
    return ShardSample(status="failed", reason=reason)


def _as_floats(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return rows if rows.dtype.kind == "f" else rows.astype(np.float64)
