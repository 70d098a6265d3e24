"""Shards as folders that are plain Zarr v3 groups, a file a chunk: for tools that want no zips.

Every array (see `zarr_meta`) is one uncompressed chunk, as in the default format. The folder is
made aside and renamed into its place, as a file is; its digest is that of all its files, see
`atomic.sha256_file`. It is no object, so a store behind a URL does not take it.

Readers address rows by byte as in any other format: positions count in `data`, `times` and
`offsets`, one after the other. `data` stays open; the others, which training does not read, are
opened when they are asked for, and only if `data` is still the file that is open, so that two
versions of a shard never mix.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from .atomic import atomic_folder, sha256_file, size_of
from .container import Layout, Place, ShardContents, flat_layout, little_endian
from .files import OpenFile, SpreadFile
from .zarr_meta import (
    AXES,
    GROUP_FILE,
    array_json,
    array_key,
    arrays_of,
    chunk_key,
    described,
    group_json,
)

_ORDER: Final = ("data", "times", "offsets")  # so that a position in `data` is one in its file


class ZarrFolder:
    """The format of plain folders; see the module."""

    def write(self, path: Path, contents: ShardContents) -> None:
        """Write a shard atomically."""
        with atomic_folder(path) as folder:
            (folder / GROUP_FILE).write_bytes(group_json())
            for name, array in arrays_of(contents).items():
                chunk = folder / chunk_key(name)
                chunk.parent.mkdir(parents=True)
                (folder / array_key(name)).write_bytes(array_json(name, array))
                if array.size:
                    chunk.write_bytes(little_endian(array).data.cast("B"))

    def open(self, path: Path) -> OpenFile:
        """Open a shard's folder for reading."""
        return OpenFolder(path)

    def locate(self, file: OpenFile) -> Layout:
        """Parse the arrays' metadata, and read `offsets`."""
        if not isinstance(file, OpenFolder):
            raise TypeError(f"{file} was not opened by its format")
        places, start = {}, 0
        for name in _ORDER:
            array = described(name, file.read_file(array_key(name)))
            num_bytes = math.prod(array.shape) * array.dtype.itemsize
            if num_bytes != file.sizes[name]:
                raise ValueError(f"the chunk of {name} has {file.sizes[name]} bytes")
            places[name] = Place(start, array.shape, array.dtype)
            start += num_bytes
        return flat_layout(file, **places)


class OpenFolder(SpreadFile):
    """A shard's folder, open; positions are those of its arrays, one after the other.

    Attributes:
        sizes: Bytes of each array's chunk.
    """

    def __init__(self, path: Path | str) -> None:
        self.descriptor = -1  # for __del__, if there is nothing to open
        self._path = Path(path)
        self._held = chunk_key("data")
        try:
            super().__init__(self._path / self._held)
        except FileNotFoundError:  # of a shard without rows
            self._held = GROUP_FILE
            super().__init__(self._path / self._held)
        except NotADirectoryError:
            raise FileNotFoundError(f"{path} is no folder") from None
        data_bytes = self.num_bytes if self._held != GROUP_FILE else 0
        self.sizes = {"data": data_bytes, **{n: self._size(n) for n in AXES if n != "data"}}
        self.num_bytes = size_of(self._path)

    @property
    def end(self) -> int:
        """Where positions end."""
        return sum(self.sizes.values())

    def read_part(self, out: npt.NDArray[np.uint8], offset: int) -> bool:
        """Fill `out` from position `offset` on; False if an array ends before."""
        for name in _ORDER:
            if offset < self.sizes[name]:
                if offset + len(out) > self.sizes[name]:
                    return False
                if name == "data":
                    return OpenFile.read_into(self, out, offset)
                with self._beside(chunk_key(name)) as file:
                    return OpenFile.read_into(file, out, offset)
            offset -= self.sizes[name]
        return False

    def read_into_many(self, buffers: list[memoryview], offset: int) -> bool:
        """Fill buffers one after the other from `offset` on; False if the file ends before."""
        if offset + sum(map(len, buffers)) <= self.sizes["data"]:
            return OpenFile.read_into_many(self, buffers, offset)
        return super().read_into_many(buffers, offset)

    def read_file(self, key: str) -> bytes:
        """Return the contents of a file of the folder."""
        with self._beside(key) as file:
            out = np.empty(file.num_bytes, dtype=np.uint8)
            if not file.read_into(out, 0):
                raise ValueError(f"{key} was cut off")
            return out.tobytes()

    def signature(self) -> None:
        """Return None: the dates of one file say nothing of the others."""

    def sha256(self) -> str:
        """Return the digest of all files of the folder."""
        return sha256_file(self._path)

    def _size(self, name: str) -> int:
        try:
            return (self._path / chunk_key(name)).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return 0

    @contextmanager
    def _beside(self, key: str) -> Iterator[OpenFile]:
        """Open another file of the same folder as the one that is held open."""
        folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            there = os.stat(self._held, dir_fd=folder)
            if not os.path.samestat(there, os.fstat(self.descriptor)):
                raise FileNotFoundError(f"{self._path} has been replaced")
            yield OpenFile(key, folder=folder)
        finally:
            os.close(folder)
