"""One shard of one column: a stored zip that is a plain Zarr v3 group, read by positioned reads.

The group holds `data [R, D]`, `times [R, 2]` and `offsets [n + 1]`: sample i has the rows
`offsets[i]:offsets[i + 1]`. Every array is one uncompressed chunk, so its bytes lie in the file as
they lie in memory, and a sample is one read. zarr-python opens the file with `ZipStore`. Floats are
filled with NaN, since Zarr returns the fill value for a missing chunk without a word. Nothing in
the file depends on the clock: the same features give the same bytes.

Shapes: n samples of the shard, R rows of all of them, T rows of one, D features.
"""

import io
import json
import struct
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from .atomic import atomic_file, sha256_file
from .errors import CorruptShard
from .files import FilePool, OpenFile
from .receipt import Receipt

ALIGNMENT_BYTES: Final = 64
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold
_LOCAL_HEADER_BYTES = 30
_ALIGNMENT_TAG = 0xD935  # the extra field that zipalign uses for padding
_AXES = {"offsets": ["sample"], "times": ["row", "bound"], "data": ["row", "feature"]}


class Written(NamedTuple):
    """A shard's file as it was written."""

    num_bytes: int
    sha256: str


class _Place(NamedTuple):
    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def write_shard(
    path: Path,
    data: npt.NDArray[Any],
    *,
    offsets: npt.NDArray[np.int64],
    times: npt.NDArray[np.float64],
) -> Written:
    """Write a shard atomically.

    Args:
        path: The file.
        data: float32 or float16 `[R, D]`, the rows of all samples, one after the other.
        offsets: int64 `[n + 1]`, where each sample's rows begin, and R.
        times: float64 `[R, 2]`, start and end of each row in seconds.
    """
    # The chunk of `data` comes last, so that everything else is near the front.
    arrays: dict[str, npt.NDArray[Any]] = {"offsets": offsets, "times": times, "data": data}
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "zarr.json", _json({"zarr_format": 3, "node_type": "group"}))
        for name, array in arrays.items():
            _add(archive, f"{name}/zarr.json", _json(_metadata(array, _AXES[name])))
        for name, array in arrays.items():
            if array.size:
                little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
                _add(archive, _chunk(name, array.ndim), memoryview(little.data).cast("B"))
    return Written(path.stat().st_size, sha256_file(path))


def _chunk(name: str, num_axes: int) -> str:
    return f"{name}/c/" + "/".join("0" * num_axes)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps({**document, "attributes": {}}, sort_keys=True).encode()


def _metadata(array: npt.NDArray[Any], axes: list[str]) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(array.shape),
        "data_type": array.dtype.name,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [max(1, size) for size in array.shape]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN" if array.dtype.kind == "f" else 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "dimension_names": axes,
    }


def _add(archive: zipfile.ZipFile, name: str, contents: bytes | memoryview) -> None:
    member = zipfile.ZipInfo(name, date_time=_EPOCH)
    member.external_attr = 0o644 << 16
    member.file_size = len(contents)
    start = archive.start_dir + _LOCAL_HEADER_BYTES + len(name.encode())
    # An extra field is 4 bytes and its payload: pad so that the contents start aligned.
    padding = -(start + 4) % ALIGNMENT_BYTES
    member.extra = struct.pack("<HH", _ALIGNMENT_TAG, padding) + bytes(padding)
    with archive.open(member, "w") as entry:
        entry.write(contents)


class ShardReader:
    """Reads a committed shard.

    Nothing is opened before the first read, so a reader may cross a fork; `pread` has no shared
    position, so several threads may use one reader.

    Args:
        path: The shard's file.
        receipt: Its receipt; the file's size is compared with it before anything is read.
        pool: Keeps files open; one of its own if not given.
    """

    def __init__(self, path: Path, receipt: Receipt, *, pool: FilePool | None = None) -> None:
        self.path = path
        self._receipt = receipt
        self._pool = FilePool(capacity=1) if pool is None else pool

    @property
    def dim(self) -> int:
        """Features a row, D."""
        return self._places["data"].shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored rows."""
        return self._places["data"].dtype

    def rows(self, number: int) -> npt.NDArray[Any]:
        """Return the rows `[T, D]` of the shard's sample `number`, as stored.

        Raises:
            CorruptShard: If the file is not what its receipt says.
        """
        return self._read("data", int(self._offsets[number]), int(self._offsets[number + 1]))

    def times(self, number: int) -> npt.NDArray[np.float64]:
        """Return the times `[T, 2]` in seconds of the shard's sample `number`."""
        return self._read("times", int(self._offsets[number]), int(self._offsets[number + 1]))

    def verify(self) -> None:
        """Read the whole file.

        Raises:
            CorruptShard: If a byte differs from what the receipt says.
        """
        self._open()
        if sha256_file(self.path) != self._receipt.sha256:
            raise self._corrupt("differs from the sha256 of its receipt")
        _ = self._offsets  # the receipt and the file may both be whole and not belong together

    @cached_property
    def _offsets(self) -> npt.NDArray[np.int64]:
        offsets = self._read("offsets", 0, self._places["offsets"].shape[0])
        if not np.array_equal(offsets, np.cumsum([0, *self._receipt.lengths])):
            raise self._corrupt("has other lengths than its receipt")
        return offsets

    @cached_property
    def _places(self) -> dict[str, _Place]:
        """Where each array's chunk lies in the file."""
        file = self._open()
        whole = _Window(file)
        try:
            with zipfile.ZipFile(whole) as archive:
                places = {name: self._place(archive, file, name) for name in _AXES}
        except Exception as error:  # altered bytes make zipfile and its codecs raise a dozen kinds
            raise self._corrupt(f"is not a readable shard ({error})") from None
        num_rows = places["data"].shape[0]
        if num_rows != self._receipt.rows or places["times"].shape != (num_rows, 2):
            raise self._corrupt(f"holds {num_rows} rows, not {self._receipt.rows}")
        if places["offsets"].shape != (len(self._receipt.lengths) + 1,):
            raise self._corrupt("holds another number of samples than its receipt")
        return places

    def _place(self, archive: zipfile.ZipFile, file: OpenFile, name: str) -> _Place:
        metadata = json.loads(archive.read(f"{name}/zarr.json"))
        shape = tuple(int(size) for size in metadata["shape"])
        if len(shape) != len(_AXES[name]):
            raise ValueError(f"{name} has {len(shape)} axes")
        dtype = np.dtype(str(metadata["data_type"])).newbyteorder("<")
        num_bytes = int(np.prod(shape)) * dtype.itemsize
        if num_bytes == 0:
            return _Place(0, shape, dtype)
        chunk = archive.getinfo(_chunk(name, len(shape)))
        if chunk.file_size != num_bytes or chunk.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"the chunk of {name} has {chunk.file_size} bytes")
        # The local header's own lengths count: its extra field may differ from the directory's.
        header = np.empty(_LOCAL_HEADER_BYTES, dtype=np.uint8)
        if not file.read_into(header, chunk.header_offset):
            raise ValueError(f"the chunk of {name} is cut off")
        name_bytes, extra_bytes = struct.unpack_from("<HH", header.tobytes(), 26)
        start = chunk.header_offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes
        return _Place(start, shape, dtype)

    def _read(self, name: str, first: int, last: int) -> npt.NDArray[Any]:
        start, shape, dtype = self._places[name]
        if not 0 <= first <= last <= shape[0]:
            raise self._corrupt(f"has offsets beyond its {shape[0]} rows")
        out = np.empty((last - first, *shape[1:]), dtype=dtype)
        if out.size and not self._open().read_into(out, start + first * out[:1].nbytes):
            raise self._corrupt(f"ends inside {name}")
        return out

    def _open(self) -> OpenFile:
        try:
            file = self._pool.get(self.path, self._receipt.sha256)
        except FileNotFoundError:
            raise self._corrupt("is gone") from None
        if file.num_bytes != self._receipt.bytes:
            self._pool.forget(self.path, self._receipt.sha256)
            raise self._corrupt(
                f"has {file.num_bytes} bytes where its receipt says {self._receipt.bytes}"
            )
        return file

    def _corrupt(self, what: str) -> CorruptShard:
        return CorruptShard(
            f"column '{self._receipt.column}', shard {self._receipt.shard}: {self.path} {what}. "
            "Run `scfae store verify`, remove the shard's receipt and extract again."
        )


class _Window(io.RawIOBase):
    """A seekable file over an open descriptor, with a position of its own."""

    def __init__(self, file: OpenFile) -> None:
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.num_bytes}
        if base[whence] + offset < 0:
            raise ValueError("a seek before the beginning")
        self._position = base[whence] + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._file.num_bytes - self._position)
        out = np.empty(left if size < 0 else min(size, left), dtype=np.uint8)
        if out.size and not self._file.read_into(out, self._position):
            raise EOFError("the file is shorter than when it was opened")
        self._position += out.size
        return out.tobytes()
