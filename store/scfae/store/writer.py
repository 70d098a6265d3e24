"""A column for writing: one process at a time, one shard at a time, whole or not at all.

Shapes: n samples of a shard, T rows, D features.
"""

import contextlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from .atomic import clean_temporaries, discard, fsync_folder, remove, size_of
from .column import BASIS_FILE, COLUMN_FILE, ColumnInfo, read_column, write_column
from .container import SUFFIXES, ShardContents, write_shard
from .errors import CorruptShard, FingerprintMismatch, SchemaMismatch
from .index import MIN_CACHED, read_index
from .lock import FolderLock
from .pins import refuse_pinned
from .receipt import (
    STATUSES,
    Receipt,
    Status,
    read_receipt,
    receipt_file,
    shard_file,
    write_receipt,
)
from .samples import SampleTable


@dataclass(frozen=True, slots=True, eq=False)
class ShardSample:
    """What an encoder said about one sample.

    Attributes:
        rows: Float `[T, D]`; None or T = 0 where missing or failed.
        times: Start and end of each row in seconds `[T, 2]`; None is unknown (NaN).
        status: Its fate.
        reason: Why, for everything but `ok`.
        media_sha256: Digest of the media file the rows come from.
    """

    rows: npt.NDArray[Any] | None = None
    times: npt.NDArray[Any] | None = None
    status: Status = "ok"
    reason: str | None = None
    media_sha256: str | None = None


class ColumnWriter:
    """Writes shards of one column; use it in a `with` block, which holds the column's lock.

    Args:
        folder: The column's folder; made on entering.
        info: What the column is.
        samples: The samples of the store.
        is_replacing: Throw away what is there under another fingerprint.

    Raises:
        StoreLocked: On entering, if another process writes this column.
        FingerprintMismatch: On entering, if the column is there by another encoder or recipe.
    """

    is_local: ClassVar[bool] = True  # what is put into `folder` is in the store

    def __init__(
        self, folder: Path, info: ColumnInfo, *, samples: SampleTable, is_replacing: bool = False
    ) -> None:
        self.folder = folder
        self.info = info
        self._samples = samples
        self._is_replacing = is_replacing
        self._held: ExitStack | None = None
        self._lock = FolderLock(folder, f"column '{info.name}'")
        self._num_committed = 0

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        fsync_folder(self.folder.parent)
        with ExitStack() as stack:
            stack.enter_context(self._lock)
            clean_temporaries(self.folder)
            self._begin()
            self._held = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._held is not None:
            if error is None and self._num_committed >= MIN_CACHED:
                # So that the first reader need not parse all receipts. It is no part of any commit,
                # and a damaged receipt is the business of whoever reads it.
                with contextlib.suppress(CorruptShard):
                    read_index(self.folder, self.info, self._samples)
            self._held.close()
            self._held = None

    def check(self) -> None:
        """Check that the column may be written.

        Raises:
            FingerprintMismatch: If it is there by another encoder, other weights or recipe.
            ColumnPinned: If it is to be replaced, and a run reads it.
        """
        if not (self.folder / COLUMN_FILE).exists():
            return
        there = read_column(self.folder)
        differences = self.info.differences(there)
        if not differences and there.fingerprint == self.info.fingerprint:
            return
        if self._is_replacing:
            self._refuse_pinned(there.fingerprint)
        else:
            raise FingerprintMismatch(
                f"column '{self.info.name}' is there already and was made differently "
                f"({'; '.join(differences) or 'the fingerprint'}). Use --replace to throw it away, "
                "or --as NEW_NAME to keep both."
            )

    def _refuse_pinned(self, fingerprint: str) -> None:
        refuse_pinned(self.folder, fingerprint)

    def missing_shards(self, media: Sequence[str | None] | None = None) -> list[int]:
        """Return the shards to extract: no receipt, or for other ids or media, or no file.

        Args:
            media: sha256 of each sample's media file, in the order of the sample table; None takes
                what was extracted for any media.
        """
        if media is not None and len(media) != len(self._samples):
            raise SchemaMismatch(f"{len(media)} media digests for {len(self._samples)} samples")
        return [
            shard for shard in range(self._samples.num_shards) if not self._is_done(shard, media)
        ]

    def commit(self, shard: int, samples: Sequence[ShardSample]) -> Receipt:
        """Write a shard and then its receipt.

        Rows that are not finite in the column's dtype make their sample `failed`.

        Args:
            shard: Number of the shard.
            samples: One for each sample of the shard, in its order.

        Raises:
            SchemaMismatch: If the number of samples, a shape or a status does not fit.
            StoreLocked: If another host has taken the column over; see `FolderLock`.
        """
        if self._held is None:
            raise SchemaMismatch("a ColumnWriter commits only inside its `with` block")
        here = self._samples.rows_of(shard)
        if len(samples) != len(here):
            raise SchemaMismatch(f"shard {shard} has {len(here)} samples, {len(samples)} given")
        ids = self._samples.ids
        fates = [self._settle(one, str(ids[i])) for i, one in zip(here, samples, strict=True)]
        self._lock.check()
        # From here on the old shard, if any, is not there: a kill must not leave a receipt
        # beside another shard's bytes.
        if (self.folder / receipt_file(shard)).exists():
            remove(self.folder / receipt_file(shard))
        lengths = [0 if one.rows is None else len(one.rows) for one in fates]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        data = np.zeros((int(offsets[-1]), self.info.dim), dtype=self.info.dtype)
        times = np.full((len(data), 2), np.nan, dtype=np.float64)
        for start, length, one in zip(offsets, lengths, fates, strict=False):
            if one.rows is not None:
                data[start : start + length] = one.rows
            if one.times is not None:
                times[start : start + length] = one.times
        reasons = {i: one.reason for i, one in enumerate(fates) if one.reason is not None}
        name = shard_file(shard, self.info.format)
        contents = ShardContents(
            data,
            offsets,
            times,
            modality=self.info.modality,
            first=here.start,
            ids=[str(ids[i]) for i in here],
            status=[one.status for one in fates],
            reasons=reasons,
        )
        written = write_shard(self.folder / name, contents, form=self.info.format)
        receipt = Receipt(
            column=self.info.name,
            shard=shard,
            fingerprint=self.info.fingerprint,
            file=name,
            bytes=written.num_bytes,
            sha256=written.sha256,
            rows=len(data),
            lengths=lengths,
            status=[one.status for one in fates],
            reasons={str(i): reason for i, reason in reasons.items()},
            media=[one.media_sha256 for one in fates],
            ids_sha256=self._samples.ids_sha256(shard),
        )
        write_receipt(self.folder, receipt)
        self._num_committed += 1
        return receipt

    def _begin(self) -> None:
        self.check()
        path = self.folder / COLUMN_FILE
        is_there = path.exists()
        if is_there:
            there = read_column(self.folder)
            if there.fingerprint == self.info.fingerprint:
                # Begun before, perhaps by a replacement that was cut off: what was recorded when
                # its first shard was made stays true.
                self.info = there
                return
        # The new column.json is the commit of a replacement: older receipts have another
        # fingerprint and so are not there from now on, whether or not they are removed below.
        write_column(self.folder, self.info)
        if is_there:
            self._drop_all()

    def _drop_all(self) -> None:
        discard(self.folder / BASIS_FILE)
        for suffix in (".json", *SUFFIXES.values()):
            for path in self.folder.glob(f"shard-*{suffix}"):
                discard(path)
        fsync_folder(self.folder)

    def _is_done(self, shard: int, media: Sequence[str | None] | None) -> bool:
        try:
            receipt = read_receipt(self.folder, shard)
        except CorruptShard:
            return False  # committing the shard again is the repair
        if receipt is None or receipt.fingerprint != self.info.fingerprint:
            return False
        here = self._samples.rows_of(shard)
        if receipt.ids_sha256 != self._samples.ids_sha256(shard):
            return False
        if media is not None and receipt.media != list(media[here.start : here.stop]):
            return False
        return self._has_file(receipt)

    def _has_file(self, receipt: Receipt) -> bool:
        path = self.folder / receipt.file
        return path.exists() and size_of(path) == receipt.bytes

    def _settle(self, sample: ShardSample, name: str) -> ShardSample:
        """Return the sample as it is stored: rows in the column's dtype, or none and why."""
        has_rows = sample.rows is not None and len(sample.rows) > 0
        if sample.status not in STATUSES:
            raise SchemaMismatch(f"sample {name!r} is {sample.status!r}, not {', '.join(STATUSES)}")
        if sample.status != "ok" and not sample.reason:
            raise SchemaMismatch(f"sample {name!r} is {sample.status} without a reason")
        if sample.status in ("missing", "failed"):
            if has_rows:
                raise SchemaMismatch(f"sample {name!r} is {sample.status} but has rows")
            return replace(sample, rows=None, times=None)
        if sample.rows is None or not has_rows:
            return replace(
                sample, rows=None, times=None, status="missing", reason="the encoder gave no rows"
            )
        if sample.rows.ndim != 2 or sample.rows.shape[1] != self.info.dim:
            raise SchemaMismatch(
                f"column '{self.info.name}', sample {name!r}: rows are {list(sample.rows.shape)}, "
                f"not [T, {self.info.dim}]"
            )
        if sample.times is not None and sample.times.shape != (len(sample.rows), 2):
            raise SchemaMismatch(
                f"column '{self.info.name}', sample {name!r}: times are "
                f"{list(sample.times.shape)}, not [{len(sample.rows)}, 2]"
            )
        why = _unfit(sample.rows, self.info.dtype)
        if why is not None:
            return replace(sample, rows=None, times=None, status="failed", reason=why)
        return sample


def _unfit(rows: npt.NDArray[Any], dtype: str) -> str | None:
    """Return why rows cannot be stored, None if they can."""
    with np.errstate(over="ignore"):
        stored = rows.astype(dtype, copy=False)
    if np.isfinite(stored).all():
        return None  # a cast makes no infinity or NaN finite
    if not np.isfinite(rows).all():
        return "the encoder gave values that are not finite"
    return f"values up to {np.abs(rows).max():.4g} do not fit into {dtype}"
