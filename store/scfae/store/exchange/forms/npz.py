"""npz: one `.npz` a column, which `numpy.load` opens and `scfae store import` takes.

It holds `data [R, D]`, `offsets [N + 1]`, `ids [N]`, `times [R, 2]`, `status [N]` and `reasons [N]`
(empty for ok). It is written shard by shard, so a column larger than memory is no difficulty; data
and times are stored as they are, so a shard is read back by its position.

Shapes: N samples, R rows, D features.
"""

import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...atomic import atomic_file
from ...files import FileWindow, OpenFile
from ...samples import SampleTable
from ..fates import ShardFates
from ..manifest import COLUMNS_FOLDER, ExportedColumn, Manifest
from ..pieces import Piece
from ..source import ColumnSource, ShardRows, Source
from .npy import check_npy_header, npy_header

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold
_LOCAL_HEADER_BYTES = 30
_INT64: Final = np.dtype(np.int64)
_FLOAT64: Final = np.dtype(np.float64)


class Npz:
    """A `.npz` a column; see the module."""

    def pieces(self, source: Source) -> Iterator[Piece]:
        """Yield a file for each column."""
        for column in source.columns:
            mark = source.mark([column], range(source.num_shards))
            yield Piece(_file(column.info.name), mark, _writer(source, column))

    def files(self, manifest: Manifest, column: ExportedColumn) -> list[str]:
        """Return the file of a column."""
        return [_file(column.info.name)]

    @contextmanager
    def open(
        self, root: Path, manifest: Manifest, column: ExportedColumn, *, samples: SampleTable
    ) -> Iterator["NpzReader"]:
        """Open a column; see `ExportForm.open`."""
        yield NpzReader(root / _file(column.info.name), column, samples=samples)


class NpzReader:
    """Reads the rows of one column by their place in the file.

    Args:
        path: The `.npz`.
        column: What it holds.
        samples: The export's sample table.

    Raises:
        ValueError: If its arrays are of another kind or shape, or compressed.
    """

    def __init__(self, path: Path, column: ExportedColumn, *, samples: SampleTable) -> None:
        self._file = OpenFile(path)
        self._bounds = samples.bounds
        self._dim = column.info.dim
        self._dtype = np.dtype(column.info.dtype)
        with zipfile.ZipFile(FileWindow(self._file)) as archive:
            starts = _array_start(archive, self._file, "offsets", _INT64, (len(samples) + 1,))
            self._offsets = self._read(starts, np.empty(len(samples) + 1, dtype=_INT64))
            rows = int(self._offsets[-1])
            self._data = _array_start(archive, self._file, "data", self._dtype, (rows, self._dim))
            self._times = _array_start(archive, self._file, "times", _FLOAT64, (rows, 2))

    def read(self, fates: ShardFates) -> ShardRows:
        """Return the rows of a shard."""
        first, last = self._bounds[fates.shard], self._bounds[fates.shard + 1]
        offsets = self._offsets[first : last + 1]
        if not np.array_equal(np.diff(offsets), fates.lengths):
            raise ValueError(f"its offsets of shard {fates.shard} are not those of its fates")
        start, rows = int(offsets[0]), int(offsets[-1] - offsets[0])
        data = np.empty((rows, self._dim), dtype=self._dtype)
        self._read(self._data + start * self._dim * self._dtype.itemsize, data)
        times = np.empty((rows, 2), dtype=_FLOAT64)
        self._read(self._times + start * 2 * _FLOAT64.itemsize, times)
        return ShardRows(data, offsets - start, times)

    def _read(self, position: int, out: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if out.size and not self._file.read_into(out, position):
            raise ValueError("it ends inside an array")
        return out


def _file(column: str) -> str:
    return f"{COLUMNS_FOLDER}/{column}.npz"


def _writer(source: Source, column: ColumnSource) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        num_samples, rows = len(source.samples), column.rows
        texts = _Texts(source, column)
        with atomic_file(path) as file, zipfile.ZipFile(file, "w") as archive:
            ids = source.samples.ids
            _add(archive, "ids", ids.dtype, (num_samples,), [ids])
            _add(archive, "offsets", _INT64, (num_samples + 1,), _offsets(source, column))
            for name, kind in (("status", texts.status), ("reasons", texts.reasons)):
                _add(archive, name, kind, (num_samples,), texts.of(name))
            times = (source.rows(column, k, is_checked=False).times for k in source.shards())
            _add(archive, "times", _FLOAT64, (rows, 2), times)
            data = (source.rows(column, k).data for k in source.shards())
            dtype = np.dtype(column.info.dtype)
            _add(archive, "data", dtype, (rows, column.info.dim), data)

    return write


class _Texts:
    """Statuses and reasons of a column as arrays of fixed width, shard by shard."""

    def __init__(self, source: Source, column: ColumnSource) -> None:
        self._source = source
        self._column = column
        width = {"status": 1, "reasons": 1}
        for shard in source.shards():
            for name, texts in zip(width, self._told(shard), strict=True):
                width[name] = max(width[name], *map(len, texts))
        self.status = np.dtype(f"<U{width['status']}")
        self.reasons = np.dtype(f"<U{width['reasons']}")

    def of(self, name: str) -> Iterator[npt.NDArray[Any]]:
        for shard in self._source.shards():
            status, reasons = self._told(shard)
            yield (
                np.array(status, dtype=self.status)
                if name == "status"
                else np.array(reasons, dtype=self.reasons)
            )

    def _told(self, shard: int) -> tuple[Sequence[str], Sequence[str]]:
        status, reasons = self._source.told(self._column, shard)
        return status, [why or "" for why in reasons]


def _offsets(source: Source, column: ColumnSource) -> Iterator[npt.NDArray[np.int64]]:
    start = np.zeros(1, dtype=np.int64)
    yield start
    for shard in source.shards():
        fates = source.fates(column, shard)
        count = len(source.samples.rows_of(shard))
        lengths = np.zeros(count) if fates is None else np.asarray(fates.lengths)
        offsets = start[-1] + np.cumsum(lengths, dtype=np.int64)
        yield offsets
        start = offsets


def _add(
    archive: zipfile.ZipFile,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    parts: Iterable[npt.NDArray[Any]],
) -> None:
    member = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
    member.external_attr = 0o644 << 16
    # Text of fixed width is mostly zeros; numbers are stored, to be read by their position.
    member.compress_type = zipfile.ZIP_DEFLATED if dtype.kind == "U" else zipfile.ZIP_STORED
    little = dtype.newbyteorder("<")
    with archive.open(member, "w", force_zip64=True) as entry:
        entry.write(npy_header(dtype, shape))
        for part in parts:
            if part.size:
                entry.write(np.ascontiguousarray(part, dtype=little).tobytes())


def _array_start(
    archive: zipfile.ZipFile,
    file: OpenFile,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
) -> int:
    """Return where an array's bytes begin in the file."""
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as entry:
        header_bytes = check_npy_header(entry, dtype, shape)
    num_bytes = header_bytes + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != num_bytes:
        raise ValueError(f"{name}.npy is not stored as it is, in {num_bytes} bytes")
    # The local header's own lengths count: its extra field may differ from the directory's.
    header = np.empty(_LOCAL_HEADER_BYTES, dtype=np.uint8)
    if not file.read_into(header, member.header_offset):
        raise ValueError(f"it ends before {name}.npy")
    name_bytes, extra_bytes = struct.unpack_from("<HH", header.tobytes(), 26)
    start: int = member.header_offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes
    return start + header_bytes
