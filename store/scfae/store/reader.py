"""A column for reading: rows and times by sample, lengths and fates as arrays.

Shapes: N samples, S shards, T rows, D features.
"""

from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from .column import ColumnInfo
from .config import digest
from .errors import CorruptShard, SchemaMismatch
from .files import FilePool
from .receipt import STATUSES, Receipt, read_receipt, receipt_file
from .samples import SampleTable
from .shard import ShardReader

NOT_EXTRACTED: Final = "not extracted yet"
_MISSING: Final = STATUSES.index("missing")


class Column:
    """One encoder's rows for every sample, as they were when first looked at.

    Nothing is read on construction; `rows` reads one receipt, `lengths` and the like read all.

    Args:
        folder: The column's folder.
        info: What the column is.
        samples: The samples of the store.
        pool: Keeps shard files open.
    """

    def __init__(
        self, folder: Path, info: ColumnInfo, *, samples: SampleTable, pool: FilePool | None = None
    ) -> None:
        self.folder = folder
        self.info = info
        self._samples = samples
        self._pool = FilePool() if pool is None else pool
        self._readers: dict[int, ShardReader] = {}
        self._first_seen: dict[int, str | None] = {}

    def __len__(self) -> int:
        return len(self._samples)

    def receipt(self, shard: int) -> Receipt | None:
        """Return the receipt of a shard; None if it is not extracted, or by another fingerprint.

        What was seen first stays true for this object: a shard written since is not there, and
        one that was replaced is an error, so that old and new rows never mix.

        Raises:
            CorruptShard: If the receipt is damaged, or another one since it was first looked at.
        """
        receipt = read_receipt(self.folder, shard)
        if receipt is not None and receipt.fingerprint != self.info.fingerprint:
            receipt = None
        now = None if receipt is None else receipt.sha256
        before = self._first_seen.setdefault(shard, now)
        if before is None:
            return None
        if receipt is None or before != now:
            raise CorruptShard(
                f"column '{self.info.name}', shard {shard}: {self.folder / receipt_file(shard)} "
                "has been replaced since it was first looked at. Open the store again."
            )
        if receipt.ids_sha256 != self._samples.ids_sha256(shard):
            raise CorruptShard(
                f"column '{self.info.name}', shard {shard}: {self.folder / receipt_file(shard)} "
                "is the receipt of other samples. Remove it and extract again."
            )
        return receipt

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Rows of each sample, T, `[N]`; 0 where missing, failed or not extracted yet."""
        return self._index.lengths

    @property
    def status(self) -> npt.NDArray[np.str_]:
        """Fate of each sample `[N]`: `ok`, `partial`, `missing` or `failed`."""
        return np.array(STATUSES, dtype=np.str_)[self._index.codes]

    @property
    def reasons(self) -> dict[int, str]:
        """Why a sample is partial, missing or failed, by sample index."""
        reasons = dict(self._index.reasons)
        for shard in self.missing_shards:
            reasons.update(dict.fromkeys(self._samples.rows_of(shard), NOT_EXTRACTED))
        return reasons

    @property
    def missing_shards(self) -> list[int]:
        """Shards that are not extracted yet."""
        return [int(shard) for shard in np.flatnonzero(~self._index.is_committed)]

    @property
    def is_complete(self) -> bool:
        """Every shard is extracted."""
        return bool(self._index.is_committed.all())

    @property
    def num_shards(self) -> int:
        """Shards of the store, S."""
        return self._samples.num_shards

    @property
    def num_bytes(self) -> int:
        """Bytes of all shard files."""
        return self._index.num_bytes

    @cached_property
    def content_sha256(self) -> str:
        """Digest of all rows and times: of the digests of the shards."""
        return digest(self._index.sha256)

    def rows(self, index: int) -> npt.NDArray[Any]:
        """Return the rows `[T, D]` of a sample, float32 or float16 as stored.

        Raises:
            CorruptShard: If the shard's file is not what its receipt says.
            SchemaMismatch: If the sample's shard is not extracted yet.
        """
        shard, place = self._locate(index)
        return self._reader(shard).rows(place)

    def read_rows(self, index: int, out: npt.NDArray[Any], *, first: int = 0) -> None:
        """Read rows `first` to `first + len(out)` of a sample into a part of a batch, uncopied.

        Args:
            index: Place in the sample table.
            out: C-contiguous `[T', D]` in the column's dtype.
            first: The first row.

        Raises:
            CorruptShard: If the shard's file is not what its receipt says.
            SchemaMismatch: If the sample's shard is not extracted yet.
            ValueError: If `out` does not fit the sample.
        """
        shard, place = self._locate(index)
        self._reader(shard).read_rows(place, out, first=first)

    def times(self, index: int) -> npt.NDArray[np.float64]:
        """Return start and end of each row of a sample, in seconds, float64 `[T, 2]`."""
        shard, place = self._locate(index)
        return self._reader(shard).times(place)

    def _locate(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        shard = int(self._samples.shard_of[index])
        return shard, index - int(self._samples.bounds[shard])

    def _reader(self, shard: int) -> ShardReader:
        reader = self._readers.get(shard)
        if reader is None:
            receipt = self.receipt(shard)
            if receipt is None:
                raise SchemaMismatch(
                    f"column '{self.info.name}': shard {shard} is {NOT_EXTRACTED}; extract again."
                )
            path = self.folder / receipt.file
            reader = ShardReader(path, receipt, pool=self._pool, is_shared=True)
            if (reader.dim, reader.dtype.name) != (self.info.dim, self.info.dtype):
                raise CorruptShard(
                    f"column '{self.info.name}', shard {shard}: {reader.path} holds {reader.dtype} "
                    f"[R, {reader.dim}], not {self.info.dtype} [R, {self.info.dim}]."
                )
            # Threads may both get here; the later reader wins and is as good.
            self._readers[shard] = reader
        return reader

    @cached_property
    def _index(self) -> "_Index":
        num_samples, num_shards = len(self._samples), self._samples.num_shards
        lengths = np.zeros(num_samples, dtype=np.int64)
        codes = np.full(num_samples, _MISSING, dtype=np.uint8)
        is_committed = np.zeros(num_shards, dtype=bool)
        reasons: dict[int, str] = {}
        sha256: list[str | None] = [None] * num_shards
        num_bytes = 0
        for shard in range(num_shards):
            receipt = self.receipt(shard)
            if receipt is None:
                continue
            here = self._samples.rows_of(shard)
            lengths[here.start : here.stop] = receipt.lengths
            codes[here.start : here.stop] = [STATUSES.index(status) for status in receipt.status]
            reasons.update({here[int(place)]: why for place, why in receipt.reasons.items()})
            is_committed[shard] = True
            sha256[shard] = receipt.sha256
            num_bytes += receipt.bytes
        return _Index(lengths, codes, is_committed, reasons, sha256, num_bytes)


class _Index(NamedTuple):
    lengths: npt.NDArray[np.int64]
    codes: npt.NDArray[np.uint8]
    is_committed: npt.NDArray[np.bool_]
    reasons: dict[int, str]
    sha256: list[str | None]
    num_bytes: int
