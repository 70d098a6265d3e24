"""A column for reading: rows and times by sample, lengths and fates as arrays.

Shapes: N samples, S shards, T rows, D features.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from .column import ColumnInfo
from .config import digest
from .errors import CorruptShard, SchemaMismatch
from .files import FilePool
from .index import ColumnIndex, check_receipt, read_index
from .lazy import lazy_property
from .places import Places
from .receipt import STATUSES, Receipt, read_receipt, receipt_file
from .samples import SampleTable
from .shard import ShardFacts, ShardLine, ShardReader
from .small_shards import MAX_SHARD_BYTES, SmallShards

NOT_EXTRACTED: Final = "not extracted yet"
_MAX_READERS = 512  # a reader holds where its samples lie, a few kilobytes


class Cache(Protocol):
    """Local copies of shards that are elsewhere."""

    def plan(self, windows: Sequence[Sequence[Path]]) -> None:
        """Take note of the order of reading; see remote.ShardCache.plan."""


@runtime_checkable
class Fetched(Protocol):
    """A column whose shards are copied to this machine before they are read."""

    cache: Cache

    def shard_path(self, shard: int) -> Path | None:
        """Return where the copy of a shard will lie, None if the shard is not extracted yet."""


class Column:
    """One encoder's rows for every sample, as they were when first looked at.

    Nothing is read on construction; `rows` reads one receipt, `lengths` and the like read all.

    Args:
        folder: The column's folder.
        info: What the column is.
        samples: The samples of the store.
        pool: Keeps shard files open.
    """

    _is_shared: ClassVar[bool] = True  # writers may replace a shard's file

    def __init__(
        self, folder: Path, info: ColumnInfo, *, samples: SampleTable, pool: FilePool | None = None
    ) -> None:
        self.folder = folder
        self.info = info
        self._samples = samples
        self._pool = FilePool() if pool is None else pool
        self._dtype = np.dtype(info.dtype)
        self._of_thread = threading.local()
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
        receipt = check_receipt(receipt, self.info, samples=self._samples, folder=self.folder)
        now = None if receipt is None else receipt.sha256
        before = self._seen(shard, now)
        if before is None:
            return None
        if before != now:
            raise self._replaced(shard)
        return receipt

    @property
    def lengths(self) -> npt.NDArray[np.int32]:
        """Rows of each sample, T, `[N]`; 0 where missing, failed or not extracted yet."""
        return self._index.lengths

    @property
    def status(self) -> npt.NDArray[np.str_]:
        """Fate of each sample `[N]`: `ok`, `partial`, `missing` or `failed`."""
        return np.array(STATUSES, dtype=np.str_)[self._index.codes]

    @property
    def status_codes(self) -> npt.NDArray[np.uint8]:
        """The same as places in `STATUSES` `[N]`, which takes a byte a sample and not 28."""
        return self._index.codes

    @property
    def reasons(self) -> dict[int, str]:
        """Why a sample is partial, missing or failed, by sample index."""
        reasons = self._index.why()
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
        return int(self._index.num_bytes.sum())

    @lazy_property
    def content_sha256(self) -> str:
        """Digest of all rows and times: of the digests of the shards."""
        return digest([sha256 or None for sha256 in self._index.sha256])

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

    def read_batch(
        self,
        indices: npt.NDArray[np.int64],
        out: npt.NDArray[Any],
        *,
        at: npt.NDArray[np.int64],
        counts: npt.NDArray[np.integer[Any]],
        first: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Read many samples into a batch, each file front to back, without a copy.

        Padded or packed is only another `at`: `b * T` for the padded batch `[B, T, D]` seen as
        `[B * T, D]`, the sum of the counts before for a packed one. Neighbours in the file are one
        system call.

        Args:
            indices: Places in the sample table `[B]`, in any order.
            out: C-contiguous `[R, D]` in the column's dtype; only the rows asked for are written.
            at: For each sample the first row of `out` that it fills, `[B]`.
            counts: Rows to read of each sample `[B]`; 0 reads nothing.
            first: First row to read of each sample `[B]`; 0 if not given.

        Raises:
            CorruptShard: If a shard's file is not what its receipt says.
            SchemaMismatch: If a sample's shard is not extracted yet.
            ValueError: If `out` does not fit the samples.
        """
        wanted: npt.NDArray[np.int64] = counts.astype(np.int64, copy=False)
        taken = np.flatnonzero(wanted)
        if len(taken) == 0:
            return
        taken = taken[np.argsort(indices[taken], kind="stable")]
        place = indices[taken]
        skip = None if first is None else first[taken]
        memory = self._check(place, out, rows=wanted[taken], skip=skip)
        shards = self._samples.shard_of[place]
        is_known = self._places.is_known[shards]
        if not is_known.all():
            for shard in np.unique(shards[~is_known]).tolist():
                self._find(shard, self._reader(shard))
        row_bytes = self.info.dim * out.dtype.itemsize
        small = self._small_shards()
        if small is not None and self._places.is_dense[shards].all():
            to, rows = at[taken], wanted[taken]
            if to.min() < 0 or (to + rows).max() > len(out):
                raise ValueError(
                    f"rows from {to.min()} to {(to + rows).max()} of {len(out)} in out"
                )
            inside = self._places.first_rows(place)
            if skip is not None:
                inside += skip
            if small.take(shards, self._load, rows_at=inside, counts=rows, out=out, at=to):
                return
        starts = self._places.starts(place, shards)
        if skip is not None:
            starts += skip * row_bytes
        begins = at[taken] * row_bytes
        sizes = wanted[taken] * row_bytes
        if int(begins.min()) < 0 or int((begins + sizes).max()) > len(memory):
            raise ValueError(f"rows from {at.min()} to {(at + wanted).max()} of {len(out)} in out")
        # A run of samples that follow each other in a file is one system call.
        is_new = np.ones(len(taken) + 1, dtype=bool)
        is_new[1:-1] = (shards[1:] != shards[:-1]) | (starts[1:] != starts[:-1] + sizes[:-1])
        edges = np.flatnonzero(is_new)
        runs = (edges[:-1], shards[edges[:-1]], starts[edges[:-1]], np.diff(edges))
        # Lists from here on: numpy takes a microsecond for what costs a list a tenth a sample.
        begin_of, end_of = begins.tolist(), (begins + sizes).tolist()
        number = -1
        read: Callable[[list[memoryview], int], bool] | None = None
        for i, shard, start, num_samples in zip(*(part.tolist() for part in runs), strict=True):
            if shard != number or read is None:
                number, read = shard, self._reader(shard).open().read_into_many
            if num_samples == 1:
                buffers = [memory[begin_of[i] : end_of[i]]]
            else:
                run = slice(i, i + num_samples)
                buffers = _buffers(memory, begin_of[run], end_of[run])
            if not read(buffers, start):
                raise self._reader(number).corrupt("ends inside data")

    def _small_shards(self) -> SmallShards | None:
        """Return this thread's copies of small shards; None where shards are too large for it."""
        rows = self._places.rows_of_longest
        if rows * self.info.dim * self._dtype.itemsize > MAX_SHARD_BYTES or rows == 0:
            return None
        found: SmallShards | None = getattr(self._of_thread, "small", None)
        if found is None:
            found = SmallShards(self.num_shards, rows, dim=self.info.dim, dtype=self._dtype)
            self._of_thread.small = found
        return found

    def _load(self, shard: int, out: npt.NDArray[Any]) -> None:
        here = self._samples.rows_of(shard)
        rows = out[: int(self._index.lengths[here.start : here.stop].sum())]
        reader = self._reader(shard)
        if not reader.open().read_into(rows, self._places.begin(shard)):
            raise reader.corrupt("ends inside data")

    def __getstate__(self) -> dict[str, Any]:
        """Return what goes to another process: what a thread holds stays behind."""
        return {key: value for key, value in self.__dict__.items() if key != "_of_thread"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what came from another process."""
        self.__dict__.update(state)
        self._of_thread = threading.local()

    def will_need(self, shards: Sequence[int]) -> None:
        """Ask the operating system to read the files of shards ahead; it returns at once.

        Raises:
            CorruptShard: If a shard's file is gone or of another size.
            SchemaMismatch: If a shard is not extracted yet.
        """
        for shard in shards:
            self._reader(shard).open().will_need()

    def times(self, index: int) -> npt.NDArray[np.float64]:
        """Return start and end of each row of a sample, in seconds, float64 `[T, 2]`."""
        shard, place = self._locate(index)
        return self._reader(shard).times(place)

    def _seen(self, shard: int, now: str | None) -> str | None:
        """Return the digest of a shard when it was first looked at, which is now if never before.

        None is a shard that is not there.
        """
        if "_index" in self.__dict__:
            return self._index.sha256[shard] or None
        return self._first_seen.setdefault(shard, now)

    def _replaced(self, shard: int) -> CorruptShard:
        return CorruptShard(
            f"column '{self.info.name}', shard {shard}: {self.folder / receipt_file(shard)} "
            "has been replaced since it was first looked at. Open the store again."
        )

    def over(self, samples: SampleTable) -> "Column":
        """Return the column with another table of the same store, and files of its own."""
        return Column(self.folder, self.info, samples=samples)

    def local_file(self, facts: ShardFacts) -> Path:
        """Return where a shard's file lies on this machine; a copy is made first if it is remote.

        Raises:
            CorruptShard: If a copy is not what the receipt says.
        """
        return Path(self._shard_path(facts))

    def _shard_path(self, facts: ShardFacts) -> Path | str:
        return f"{self.folder}/{facts.file}"  # a Path keeps kilobytes, of each of many shards

    def _locate(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        shard = int(self._samples.shard_of[index])
        return shard, index - int(self._samples.bounds[shard])

    def _check(
        self,
        place: npt.NDArray[np.int64],
        out: npt.NDArray[Any],
        *,
        rows: npt.NDArray[np.int64],
        skip: npt.NDArray[np.int64] | None,
    ) -> memoryview:
        """Return the bytes of `out`, if it and the rows `[n]` of samples fit the column."""
        if out.dtype != self._dtype or out.shape[1:] != (self.info.dim,):
            raise ValueError(
                f"out is {out.dtype} {list(out.shape)}, "
                f"rows are {self.info.dtype} [R, {self.info.dim}]"
            )
        if not out.flags.c_contiguous:
            raise ValueError("out is not C-contiguous")
        if place[0] < 0 or place[-1] >= len(self):  # in rising order
            raise IndexError(f"samples {place[0]} to {place[-1]} of {len(self)}")
        last = rows if skip is None else rows + skip
        is_less = min(rows.tolist()) < 0 or (skip is not None and min(skip.tolist()) < 0)
        if is_less or (last > self._index.lengths[place]).any():
            raise ValueError("more rows than a sample has, or less than none")
        return out.reshape(-1).view(np.uint8).data

    def _reader(self, shard: int) -> ShardReader:
        reader = self._readers.get(shard)
        if reader is None:
            line = self._line(shard)
            if line is None:
                raise SchemaMismatch(
                    f"column '{self.info.name}': shard {shard} is {NOT_EXTRACTED}; extract again."
                )
            reader = ShardReader(
                self._shard_path(line), line, pool=self._pool, is_shared=self._is_shared
            )
            # One sample is not worth an index, nor what is made of it.
            if "_places" not in self.__dict__ or not self._places.is_known[shard]:
                self._find(shard, reader)
            # Threads may both get here; the later reader wins and is as good.
            if len(self._readers) >= _MAX_READERS:
                self._readers = {}
            self._readers[shard] = reader
        return reader

    def _find(self, shard: int, reader: ShardReader) -> None:
        """Learn where the samples of a shard lie in its file."""
        layout = reader.locate()
        if (layout.dim, layout.dtype.name) != (self.info.dim, self.info.dtype):
            raise CorruptShard(
                f"column '{self.info.name}', shard {shard}: {reader.path} holds {layout.dtype} "
                f"[R, {layout.dim}], not {self.info.dtype} [R, {self.info.dim}]."
            )
        if "_places" in self.__dict__:
            self._places.learn(shard, layout.rows_at)

    def _line(self, shard: int) -> ShardFacts | None:
        """Return what is known of a shard; None if it is not extracted."""
        if "_index" not in self.__dict__:
            return self.receipt(shard)  # one sample is not worth an index
        index, here = self._index, self._samples.rows_of(shard)
        if not index.is_committed[shard]:
            return None
        return ShardLine(
            column=self.info.name,
            shard=shard,
            file=index.files[shard],
            bytes=int(index.num_bytes[shard]),
            sha256=index.sha256[shard],
            lengths=index.lengths[here.start : here.stop],
        )

    @lazy_property
    def _index(self) -> ColumnIndex:
        index = read_index(self.folder, self.info, self._samples)
        for shard, sha256 in self._first_seen.items():
            if sha256 is None:
                index.leave_out(shard, self._samples.rows_of(shard))  # written since
            elif index.sha256[shard] != sha256:
                raise self._replaced(shard)
        return index

    @lazy_property
    def _places(self) -> Places:
        row_bytes = self.info.dim * self._dtype.itemsize
        return Places(self._index.lengths, self._samples.bounds, row_bytes=row_bytes)


def _buffers(memory: memoryview, begins: list[int], ends: list[int]) -> list[memoryview]:
    """Return parts of `memory`, those that follow each other as one."""
    buffers: list[memoryview] = []
    begin, runs_to = begins[0], ends[0]
    for first, last in zip(begins[1:], ends[1:], strict=True):
        if first != runs_to:
            buffers.append(memory[begin:runs_to])
            begin = first
        runs_to = last
    buffers.append(memory[begin:runs_to])
    return buffers
