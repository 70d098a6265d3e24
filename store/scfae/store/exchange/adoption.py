"""Commit shards of an export to a column: the file itself if it is a store's, else its rows."""

from pathlib import Path

from ..atomic import copy_atomic, remove, sha256_file, size_of
from ..receipt import Receipt, receipt_file, shard_file, write_receipt
from ..writer import ColumnWriter, ShardSample
from .fates import ShardFates
from .reading import ExportedRows
from .source import ShardRows


def commit(writer: ColumnWriter, exported: ExportedRows, fates: ShardFates) -> Receipt:
    """Write a shard and then its receipt.

    Args:
        writer: The column's writer, inside its `with` block.
        exported: The column of the export.
        fates: Which shard, and what became of its samples.

    Raises:
        CorruptShard: If the export's rows are not what the fates say.
    """
    rows = exported.rows(fates)
    file = exported.file(fates)
    if (
        writer.is_local
        and file is not None
        and file.name == shard_file(fates.shard, writer.info.format)
    ):
        receipt = _adopt(writer, file, fates)
        if receipt is not None:
            return receipt
    return writer.commit(fates.shard, _shard_samples(rows, fates))


def _adopt(writer: ColumnWriter, file: Path, fates: ShardFates) -> Receipt | None:
    """Take the file as it is; None if it is not the one that the exported store had."""
    # As in ColumnWriter.commit: no receipt may stand beside another shard's bytes.
    if (writer.folder / receipt_file(fates.shard)).exists():
        remove(writer.folder / receipt_file(fates.shard))
    path = writer.folder / file.name
    copy_atomic(file, path)
    sha256 = sha256_file(path)
    if sha256 != fates.source_sha256:
        return None  # made anew by the export, so the rows are written in this store's own way
    receipt = Receipt(
        column=writer.info.name,
        shard=fates.shard,
        fingerprint=writer.info.fingerprint,
        file=file.name,
        bytes=size_of(path),
        sha256=sha256,
        rows=fates.rows,
        lengths=fates.lengths,
        status=fates.status,
        reasons=fates.reasons,
        media=fates.media,
        ids_sha256=fates.ids_sha256,
    )
    write_receipt(writer.folder, receipt)
    return receipt


def _shard_samples(rows: ShardRows, fates: ShardFates) -> list[ShardSample]:
    samples = []
    for place, status in enumerate(fates.status):
        part = slice(int(rows.offsets[place]), int(rows.offsets[place + 1]))
        has_rows = fates.lengths[place] > 0
        samples.append(
            ShardSample(
                rows=rows.data[part] if has_rows else None,
                times=rows.times[part] if has_rows else None,
                status=status,
                reason=fates.reason(place),
                media_sha256=fates.media[place],
            )
        )
    return samples
