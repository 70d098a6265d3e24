"""Shards as zips of Zarr v3 whose chunks are compressed by zstd: for archives and slow links.

`data` and `times` are cut into chunks of about 64 KiB of rows, so that a sample decompresses the
chunks it lies in and no more; the zip itself stores them as they are. Each chunk is checked against
the zip's CRC before it is decompressed, so an altered byte of rows is an error when it is read. The
same features give the same bytes, by the same version of zstd (which comes with pyarrow).

Readers address rows by byte as in any other format: positions count in the three arrays, unpacked
and one after the other.

Shapes: n samples of the shard, R rows of all of them, D features.
"""

import itertools
import math
import threading
import zipfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .atomic import atomic_file
from .container import Layout, Place, ShardContents, flat_layout, little_endian
from .files import BorrowedFile, OpenFile, SpreadFile
from .stored_zip import StoredZip
from .zarr_meta import (
    AXES,
    GROUP_FILE,
    Described,
    array_json,
    array_key,
    arrays_of,
    chunk_key,
    described,
    group_json,
)
from .zarr_zip import add_member

LEVEL: Final = 1
CHUNK_BYTES: Final = 64 << 10
_MOST_CHUNK_BYTES = 16 << 20  # of a row that is larger than a chunk should be
_CODECS = ("bytes", "zstd")
_KEPT = threading.local()  # the chunk of each array that this thread has decompressed last
_NUMBERS = itertools.count()
_Kept = dict[str, tuple[tuple[int, int], npt.NDArray[np.uint8]]]


class ZarrZstd:
    """The format for archives; see the module."""

    def write(self, path: Path, contents: ShardContents) -> None:
        """Write a shard atomically."""
        arrays = arrays_of(contents)
        rows = {name: _chunk_rows(array) for name, array in arrays.items()}
        codec = pa.Codec("zstd", compression_level=LEVEL)
        with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            add_member(archive, GROUP_FILE, group_json())
            for name, array in arrays.items():
                text = array_json(name, array, chunk_rows=rows[name], zstd_level=LEVEL)
                add_member(archive, array_key(name), text)
            for name, array in arrays.items():
                for number, first in enumerate(range(0, _rows_of(array), rows[name])):
                    # Zarr's chunks are all of one shape: the last is filled up.
                    chunk = np.zeros((rows[name], *array.shape[1:]), dtype=array.dtype)
                    part = array[first : first + rows[name]]
                    chunk[: len(part)] = part
                    packed = codec.compress(little_endian(chunk).tobytes(), asbytes=True)
                    add_member(archive, chunk_key(name, number), packed)

    def open(self, path: Path) -> OpenFile:
        """Open a shard's file for reading."""
        return ZstdFile(path)

    def locate(self, file: OpenFile) -> Layout:
        """Parse the zip's directory and the arrays' metadata, and read `offsets`."""
        if not isinstance(file, ZstdFile):
            raise TypeError(f"{file} was not opened by its format")
        return flat_layout(file, **{name: array.place for name, array in file.arrays.items()})


class ZstdFile(SpreadFile):
    """A shard's file, open; positions are those of its arrays, unpacked."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self._number = next(_NUMBERS)
        # No cached_property: in Python 3.11 its lock may be held in another thread at a fork.
        self._archive: StoredZip | None = None
        self._arrays: dict[str, _Chunks] | None = None

    @property
    def end(self) -> int:
        """Where positions end."""
        return max(array.end for array in self.arrays.values())

    @property
    def arrays(self) -> "dict[str, _Chunks]":
        """The shard's arrays by name.

        Raises:
            ValueError: If the file is damaged, or its arrays are not chunked as ours are.
        """
        if self._arrays is not None:
            return self._arrays
        archive = self.archive
        found: dict[str, _Chunks] = {}
        start = 0
        for name in AXES:
            array = described(name, archive.read(array_key(name)))
            found[name] = _Chunks(name, array, start)
            _check(found[name], archive)
            start = found[name].end
        self._arrays = found
        return found

    @property
    def archive(self) -> StoredZip:
        """The zip; raises ValueError if it is damaged."""
        if self._archive is None:
            self._archive = StoredZip(BorrowedFile(self))
        return self._archive

    def read_part(self, out: npt.NDArray[np.uint8], offset: int) -> bool:
        """Fill `out` from position `offset` on, as far as one chunk goes and more."""
        for array in self.arrays.values():
            if array.start <= offset < array.end:
                return self._fill(array, out, offset)
        return False

    def sha256(self) -> str:
        """Return the digest of the file as it lies on disk."""
        return BorrowedFile(self).sha256()

    def _fill(self, array: "_Chunks", out: npt.NDArray[np.uint8], offset: int) -> bool:
        if offset + len(out) > array.end:
            return False
        done = 0
        while done < len(out):
            number, skip = divmod(offset + done - array.start, array.chunk_bytes)
            part = self._chunk(array, number)[skip : skip + len(out) - done]
            out[done : done + len(part)] = part
            done += len(part)
        return True

    def _chunk(self, array: "_Chunks", number: int) -> npt.NDArray[np.uint8]:
        kept: _Kept = _KEPT.__dict__.setdefault("chunks", {})
        key = (self._number, number)
        if array.name in kept and kept[array.name][0] == key:
            return kept[array.name][1]
        packed = self.archive.read(chunk_key(array.name, number))  # checked against its CRC
        codec = pa.Codec("zstd")
        unpacked = codec.decompress(packed, array.chunk_bytes, asbytes=True)
        chunk = np.frombuffer(unpacked, dtype=np.uint8)
        kept[array.name] = (key, chunk)
        return chunk


class _Chunks(NamedTuple):
    """An array of chunks of rows, and the position at which it begins."""

    name: str
    array: Described
    start: int

    @property
    def num_bytes(self) -> int:
        return math.prod(self.array.shape) * self.array.dtype.itemsize

    @property
    def end(self) -> int:
        return self.start + self.num_bytes

    @property
    def chunk_bytes(self) -> int:
        return math.prod(self.array.chunk) * self.array.dtype.itemsize

    @property
    def place(self) -> Place:
        return Place(self.start, self.array.shape, self.array.dtype)


def _check(chunks: _Chunks, archive: StoredZip) -> None:
    name, array = chunks.name, chunks.array
    if array.codecs != _CODECS or array.chunk[1:] != array.shape[1:] or min(array.chunk) < 1:
        raise ValueError(f"{name} is not cut into zstd chunks of rows")
    if array.chunk[0] > 1 and chunks.chunk_bytes > _MOST_CHUNK_BYTES:
        raise ValueError(f"the chunks of {name} are of {chunks.chunk_bytes} bytes")
    count = -(-array.shape[0] // array.chunk[0]) if chunks.num_bytes else 0
    if not archive.holds(chunk_key(name, number) for number in range(count)):
        raise ValueError(f"chunks of {name} are not there")


def _rows_of(array: npt.NDArray[Any]) -> int:
    return len(array) if array.size else 0


def _chunk_rows(array: npt.NDArray[Any]) -> int:
    row_bytes = max(1, math.prod(array.shape[1:]) * array.dtype.itemsize)
    return max(1, min(len(array), CHUNK_BYTES // row_bytes))
