"""Make a store of an export again, equal in every bit: rows, times, fates, media, descriptions.

Everything is read against its checksum before anything is written. A restored shard has the
format of the column it came from, and where its samples are all there, the same bytes. A restore
that was cut off is completed by another.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CorruptShard, SchemaMismatch, StoreNotFound, UnknownColumn
from ..reader import Column
from ..receipt import Receipt
from ..samples import SampleTable
from ..shard import ShardReader
from ..store import FeatureStore
from .adoption import commit
from .export import Progress
from .fates import ShardFates, fates_file
from .forms import form_of
from .manifest import SAMPLES_FILE, ExportedColumn, Manifest, check_files, read_manifest
from .reading import ExportedRows, open_column
from .source import gather


def restore(
    path: str | Path,
    store_path: str | Path,
    columns: Sequence[str] | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Make a store of an export, or add its columns to a store of the same samples.

    Args:
        path: The export's folder.
        store_path: A store whose samples are those of the export, a folder that is empty or does
            not exist, or a URL.
        columns: Names of columns; None is all.
        progress: Called with shards done, shards to write, and the column at hand.

    Returns:
        What was restored, as JSON values: `export`, `form`, `store`, `samples`, and for each of
        `columns`: `shards` (written now), `kept` (there before), `rows`, and `same_bytes`: every
        shard written now has the bytes that it had in the exported store.

    Raises:
        StoreNotFound: If there is no finished export.
        CorruptShard: If a file is damaged or missing; the message names all of them.
        StoreError: If the export names files outside itself or holds links, or if there is
            something else at `store_path`.
        UnknownColumn: If it does not hold a column.
        SchemaMismatch: If the store has other samples, or other rows in a column of that name.
        FingerprintMismatch: If the store has a column of that name that was made differently.
    """
    root = Path(path).expanduser()
    manifest = read_manifest(root)
    chosen = [_column(manifest, name) for name in columns] if columns else manifest.columns
    form = form_of(manifest.form, joined=manifest.joined)
    needed = [name for one in chosen for name in form.files(manifest, one)]
    needed += [SAMPLES_FILE, *(fates_file(one.info.name) for one in chosen)]
    check_files(root, manifest, list(dict.fromkeys(needed)))
    data = (root / SAMPLES_FILE).read_bytes()
    samples = _samples(root, manifest, data)
    store = _store_there(store_path, samples)
    plans = [_plan(root, manifest, one, samples=samples, store=store) for one in chosen]
    if store is None:
        store = FeatureStore.create_with(store_path, samples, data)
    done, total = 0, sum(map(len, plans))
    report = {}
    for one, plan in zip(chosen, plans, strict=True):
        facts = {"shards": 0, "kept": 0, "rows": 0, "same_bytes": True}
        with (
            store.add_column(one.info) as writer,
            open_column(root, manifest, one, samples=samples) as exported,
        ):
            for fates in exported.fates():
                facts["rows"] += fates.rows
                if fates.shard not in plan:
                    facts["kept"] += 1
                    continue
                if progress is not None:
                    progress(done, total, one.info.name)
                receipt = commit(writer, exported, fates)
                facts["same_bytes"] &= receipt.sha256 == fates.source_sha256
                facts["shards"] += 1
                done += 1
        report[one.info.name] = facts
    return {
        "export": str(root),
        "form": manifest.form,
        "store": store.url,
        "samples": len(samples),
        "columns": report,
    }


def _column(manifest: Manifest, name: str) -> ExportedColumn:
    column = manifest.column(name)
    if column is None:
        there = ", ".join(one.info.name for one in manifest.columns)
        raise UnknownColumn(f"the export has no column '{name}'; its columns: {there}.")
    return column


def _samples(root: Path, manifest: Manifest, data: bytes) -> SampleTable:
    path = root / SAMPLES_FILE
    try:
        samples = SampleTable.from_bytes(data, shard_size=manifest.shard_size, seed=manifest.seed)
        ids, shards = samples.ids.tolist(), samples.shard_of
        samples.rows()
    except Exception as error:  # bytes from outside make the parser raise a dozen kinds
        raise CorruptShard(f"{path} is no sample table ({error}).") from None
    if (len(samples), samples.num_shards) != (manifest.num_samples, manifest.num_shards):
        raise CorruptShard(f"{path} has {len(samples)} samples, not {manifest.num_samples}.")
    steps = np.diff(shards)
    if shards[0] != 0 or ((steps != 0) & (steps != 1)).any():
        raise CorruptShard(f"{path} is no sample table: its shards do not follow one another.")
    if len(set(ids)) < len(ids) or "" in ids:
        raise CorruptShard(f"{path} is no sample table: ids are empty or repeat.")
    return samples


def _store_there(path: str | Path, samples: SampleTable) -> FeatureStore | None:
    try:
        store = FeatureStore.open(path)
    except StoreNotFound:
        return None  # whether the place is free is found when the store is made
    mine = store.samples
    if not (
        np.array_equal(mine.ids, samples.ids) and np.array_equal(mine.shard_of, samples.shard_of)
    ):
        raise SchemaMismatch(
            f"the store {path} has other samples than the export, or has them in other shards; "
            "restore into a new folder."
        )
    return store


def _plan(
    root: Path,
    manifest: Manifest,
    column: ExportedColumn,
    *,
    samples: SampleTable,
    store: FeatureStore | None,
) -> set[int]:
    """Return the shards to write; refuse a column that is there with other contents."""
    there: Column | None = None
    if store is not None and column.info.name in store.columns:
        store.add_column(column.info)  # refuses another fingerprint, and writes nothing yet
        there = store.column(column.info.name)
    shards = set()
    with open_column(root, manifest, column, samples=samples) as exported:
        for fates in exported.fates():
            receipt = None if there is None else there.receipt(fates.shard)
            if there is None or receipt is None:
                shards.add(fates.shard)
            elif not _is_same(there, receipt, exported, fates):
                raise SchemaMismatch(
                    f"column '{column.info.name}', shard {fates.shard}: {there.folder} holds "
                    "other rows or fates than the export. Restore into a new folder."
                )
    return shards


def _is_same(there: Column, receipt: Receipt, exported: ExportedRows, fates: ShardFates) -> bool:
    mine = ShardFates.of(receipt, shard=fates.shard, places=None, ids_sha256=receipt.ids_sha256)
    if mine.model_copy(update={"source_sha256": fates.source_sha256}) != fates:
        return False
    if receipt.sha256 == fates.source_sha256:
        return True
    reader = ShardReader(there.local_file(receipt), receipt)
    rows = gather(reader, range(len(fates.lengths)))
    return all(
        one.tobytes() == other.tobytes()
        for one, other in zip(rows, exported.rows(fates), strict=True)
    )
