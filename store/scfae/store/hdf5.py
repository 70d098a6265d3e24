"""Shards as flat HDF5 files; h5py and whatever else knows HDF5 1.8 read them as they are.

The file holds `data [R, D]`, `times [R, 2]` and `offsets [n + 1]` as Zarr shards do, and `ids`,
`status` and `reasons` `[n]` for people. Every dataset is contiguous, without chunks or filters, so
its bytes lie in the file as they lie in memory; the HDF5 library only says where that is. No
timestamps are kept and the format's version is fixed: one version of the library gives the same
bytes for the same features. Strings have a fixed length, since those of variable length lie outside
of HDF5's checksums.

Shapes: n samples of the shard, R rows of all of them, D features.
"""

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from .atomic import atomic_file
from .container import (
    ALIGNMENT_BYTES,
    Layout,
    Place,
    ShardContents,
    flat_layout,
    little_endian,
)
from .files import FileWindow, OpenFile

if TYPE_CHECKING:
    import h5py
    from typing_extensions import Buffer

# HDF5 1.8, of 2008: the first whose structures all carry checksums, and every reader knows it.
_LIBRARY: Final = ("v108", "v108")


class Hdf5:
    """The format of people who share feature files; see the module."""

    def write(self, path: Path, contents: ShardContents) -> None:
        """Write a shard atomically."""
        import h5py

        num_samples = len(contents.offsets) - 1
        texts = {
            "ids": contents.ids,
            "status": contents.status,
            "reasons": [contents.reasons.get(i, "") for i in range(num_samples)],
        }
        # `data` comes last, so that everything else is near the front.
        arrays = {
            "offsets": contents.offsets,
            **{name: _fixed(values) for name, values in texts.items() if values},
            "times": contents.times,
            "data": contents.data,
        }
        with atomic_file(path) as raw:
            sink = _Sink(raw.fileno())
            with h5py.File(
                sink,
                "w",
                libver=_LIBRARY,
                alignment_threshold=ALIGNMENT_BYTES,
                alignment_interval=ALIGNMENT_BYTES,
            ) as file:
                for name, array in arrays.items():
                    file.create_dataset(name, data=little_endian(array), track_times=False)
                file.attrs["modality"] = _fixed([contents.modality])[0]
                file.attrs["first"] = np.int64(contents.first)
            if sink.error is not None:
                raise sink.error

    def open(self, path: Path) -> OpenFile:
        """Open a shard's file for reading."""
        return OpenFile(path)

    def locate(self, file: OpenFile) -> Layout:
        """Parse the file's structures and read `offsets`."""
        import h5py

        with h5py.File(FileWindow(file), "r") as opened:
            data = _place(opened, "data", 2)
            times = _place(opened, "times", 2)
            offsets = _place(opened, "offsets", 1)
        return flat_layout(file, data=data, times=times, offsets=offsets)


class _Sink(io.RawIOBase):
    """A file that HDF5 writes to; the first error is kept for whoever gave the file.

    The library must not see it: on a full disk it ends in a segmentation fault when it writes by
    itself, and in a SystemError when a Python file raises.
    """

    def __init__(self, descriptor: int) -> None:
        self.error: OSError | None = None
        self._descriptor = descriptor
        self._position = 0
        self._num_bytes = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._num_bytes}
        self._position = base[whence] + offset
        return self._position

    def write(self, data: "Buffer") -> int:
        view = memoryview(data)
        done = 0
        try:
            while done < view.nbytes and self.error is None:
                done += os.pwrite(self._descriptor, view[done:], self._position + done)
        except OSError as error:
            self.error = error
        self._position += view.nbytes
        self._num_bytes = max(self._num_bytes, self._position)
        return view.nbytes

    def truncate(self, size: int | None = None) -> int:
        self._num_bytes = self._position if size is None else size
        try:
            os.ftruncate(self._descriptor, self._num_bytes)
        except OSError as error:
            self.error = self.error or error
        return self._num_bytes


def _fixed(values: Any) -> npt.NDArray[Any]:
    """Return texts as UTF-8 of one length in bytes, `[n]`."""
    import h5py

    encoded = [str(value).encode("utf-8", "backslashreplace") for value in values]
    num_bytes = max(1, *map(len, encoded), 0)
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", num_bytes))


def _place(opened: "h5py.File", name: str, num_axes: int) -> Place:
    import h5py

    # Links are looked at before they are followed: an external one would open another file.
    link = opened.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{name} is {'a link' if link else 'not there'}")
    found = opened[name]
    if not isinstance(found, h5py.Dataset) or len(found.shape) != num_axes:
        raise ValueError(f"{name} is no dataset of {num_axes} axes")
    creation = found.id.get_create_plist()
    if creation.get_layout() != h5py.h5d.CONTIGUOUS or creation.get_external_count():
        raise ValueError(
            f"{name} is chunked, compressed, virtual or kept in another file; "
            "only contiguous datasets are read"
        )
    start = found.id.get_offset()
    if start is None and found.size:
        raise ValueError(f"{name} was never written")
    return Place(start or 0, found.shape, found.dtype)
