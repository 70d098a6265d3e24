"""What a file format of shards does: write one file, and say where each sample's bytes lie in it.

A sample's rows follow each other at a position of the open file, so that one reader, `ShardReader`,
serves all formats with positioned reads; a container only parses its file's own directory. Where
rows are not stored as they are, or not in one file, the format's own `OpenFile` gives positions a
meaning (`zarr-zstd`, `zarr-dir`).

Shapes: n samples of the shard, R rows of all of them, T rows of one, D features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from .atomic import sha256_file, size_of
from .files import OpenFile

Format = Literal["zarr", "zarr-zstd", "zarr-dir", "webdataset", "hdf5"]
ALIGNMENT_BYTES: Final = 64
"""Arrays begin at multiples of this."""
SUFFIXES: Final[Mapping[Format, str]] = {
    "zarr": ".zarr.zip",
    "zarr-zstd": ".zarr-zstd.zip",
    "zarr-dir": ".zarr",
    "webdataset": ".tar",
    "hdf5": ".h5",
}


class Written(NamedTuple):
    """A shard's file as it was written."""

    num_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class ShardContents:
    """What goes into a shard's file.

    Attributes:
        data: float32 or float16 `[R, D]`, the rows of all samples, one after the other.
        offsets: int64 `[n + 1]`, where each sample's rows begin, and R.
        times: float64 `[R, 2]`, start and end of each row in seconds.
        modality: What the rows say, for formats that name their members.
        first: Place of the shard's first sample in the store's table.
        ids: Each sample's id; empty where the format does not keep them.
        status: Each sample's fate.
        reasons: Why, by number in the shard.
    """

    data: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]
    times: npt.NDArray[np.float64]
    modality: str = "data"
    first: int = 0
    ids: Sequence[str] = ()
    status: Sequence[str] = ()
    reasons: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where a shard's samples lie in its file, all in little-endian bytes.

    Attributes:
        dtype: Of the rows.
        dim: Features a row, D.
        lengths: Rows of each sample, T, int64 `[n]`.
        rows_at: Position of each sample's rows `[T, D]`, int64 `[n]`.
        times_at: Position of each sample's times, float64 `[T, 2]`, int64 `[n]`.
    """

    dtype: np.dtype[Any]
    dim: int
    lengths: npt.NDArray[np.int64]
    rows_at: npt.NDArray[np.int64]
    times_at: npt.NDArray[np.int64]


class Place(NamedTuple):
    """Where an array lies in a shard's file, uncompressed and in C order."""

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Container(Protocol):
    """A file format of shards. Nothing in a file depends on the clock."""

    def write(self, path: Path, contents: ShardContents) -> None:
        """Write a shard atomically."""

    def open(self, path: Path) -> OpenFile:
        """Open a shard's file; raises FileNotFoundError if there is none, and parses nothing."""

    def locate(self, file: OpenFile) -> Layout:
        """Parse an open file; whatever it raises means that the file is damaged."""


def container(form: Format) -> Container:
    """Return a file format by name."""
    match form:
        case "zarr":
            from .zarr_zip import ZarrZip

            return ZarrZip()
        case "zarr-zstd":
            from .zarr_zstd import ZarrZstd

            return ZarrZstd()
        case "zarr-dir":
            from .zarr_folder import ZarrFolder

            return ZarrFolder()
        case "webdataset":
            from .webdataset import WebDataset

            return WebDataset()
        case "hdf5":
            from .hdf5 import Hdf5

            return Hdf5()


def format_of(file: str) -> Format | None:
    """Return the format of a shard's file by its name, None if it is none of them.

    >>> format_of("shard-00017.tar")
    'webdataset'
    """
    for name, suffix in SUFFIXES.items():
        if file.endswith(suffix):
            return name
    return None


def write_shard(path: Path, contents: ShardContents, *, form: Format = "zarr") -> Written:
    """Write a shard atomically, in a format.

    Args:
        path: The file.
        contents: What goes into it.
        form: Which format.
    """
    container(form).write(path, contents)
    return Written(size_of(path), sha256_file(path))


def open_shard(path: Path | str) -> OpenFile:
    """Open a shard's file, whose name tells its format; any other file as it is.

    Raises:
        FileNotFoundError: If there is none.
    """
    form = format_of(str(path))
    return OpenFile(path) if form is None else container(form).open(Path(path))


def flat_layout(file: OpenFile, *, data: Place, times: Place, offsets: Place) -> Layout:
    """Return the layout of a file that holds three flat arrays, and check that they agree.

    Args:
        file: The shard's file.
        data: Rows of all samples, `[R, D]`.
        times: Their times, `[R, 2]`.
        offsets: Where each sample's rows begin, `[n + 1]`.

    Raises:
        ValueError: If they do not belong together.
    """
    for name, place, dtype in (("times", times, "<f8"), ("offsets", offsets, "<i8")):
        if place.dtype != dtype:
            raise ValueError(f"{name} are {place.dtype}")
    if times.shape != (data.shape[0], 2):
        raise ValueError(f"times are {list(times.shape)} for {data.shape[0]} rows")
    bounds = np.empty(offsets.shape, dtype="<i8")
    if not file.read_into(bounds, offsets.start):
        raise ValueError("it ends inside offsets")
    lengths = np.diff(bounds)
    if not len(bounds) or bounds[0] or bounds[-1] != data.shape[0] or (lengths < 0).any():
        raise ValueError(f"offsets do not divide its {data.shape[0]} rows")
    return Layout(
        dtype=data.dtype,
        dim=data.shape[1],
        lengths=lengths,
        rows_at=data.start + bounds[:-1] * data.dtype.itemsize * data.shape[1],
        times_at=times.start + bounds[:-1] * times.dtype.itemsize * 2,
    )


def little_endian(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array as files hold it: little-endian and C-contiguous."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
