"""What every source of features is to the importer, and which one a path is.

Shapes: T rows of a sample, D features.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError, ImportRefused, ManifestError
from .arrays import Array

if TYPE_CHECKING:
    from ..sample_row import SampleRow

HDF5_SUFFIXES: Final = (".h5", ".hdf5", ".hdf")
PICKLE_SUFFIXES: Final = (".pkl", ".pickle", ".p")
KNOWN: Final = (
    "a folder of .npy, .npz or .pt files, or one .npz, .h5, .hdf5, .mat, .csd or .pkl file"
)


class Rows(NamedTuple):
    """What a source holds about one sample.

    Attributes:
        rows: Numbers `[T, D]`, in the source's own dtype.
        times: Start and end of each row in seconds `[T, 2]`; None is unknown.
    """

    rows: npt.NDArray[Any]
    times: npt.NDArray[Any] | None


class UnusableSample(Exception):
    """One sample cannot be used, the others can; the text is the reason that the store keeps."""


class Source(Protocol):
    """Features made elsewhere, checked as far as headers tell; use it in a `with` block."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its file."""

    @property
    def kind(self) -> str:
        """What it is: `npy-folder`, `npz`, `hdf5`, `mat`, `csd` or `mmsa`."""

    @property
    def sha256(self) -> str:
        """Digest of the file, or of a folder's names and files."""

    @property
    def ids(self) -> Sequence[str]:
        """Its samples, all different."""

    @property
    def dim(self) -> int:
        """Features a row, D."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The widest dtype of its rows."""

    @property
    def labels(self) -> "Mapping[str, SampleRow]":
        """Split, group and labels by id, where the source tells them."""

    @property
    def notices(self) -> Sequence[str]:
        """What a person should know about it."""

    def sample(self, name: str) -> Rows:
        """Return a sample's rows and times.

        Raises:
            UnusableSample: If this sample cannot be used; the rest can.
            ImportRefused: If the source is not what it was when it was opened.
        """

    def sample_sha256(self, name: str) -> str | None:
        """Return the digest of the sample's own file, None where there is none."""


def open_source(
    path: str | Path, *, modality: str, key: str | None = None, max_bytes: int | None = None
) -> Source:
    """Return the source at a path; use it in a `with` block, which closes its file.

    Args:
        path: A folder or a file.
        modality: What is wanted of a source that holds several.
        key: Which array, dataset or entry holds the rows.
        max_bytes: What a compressed file may unpack to; None is 20 times its size, at least 1 GiB.

    Raises:
        ManifestError: If there is nothing to read.
        ConfigError: If the key is not in the source.
        ImportRefused: If something in it cannot be taken; the message names file and shape.
    """
    path = Path(path)
    if max_bytes is not None and max_bytes < 1:
        raise ConfigError(f"--max-bytes must be at least 1, not {max_bytes}.")
    if path.is_dir():
        from .folder import FolderSource

        return FolderSource(path, key=key, max_bytes=max_bytes)
    if not path.exists():
        raise ManifestError(f"{path}: no such file or folder; give {KNOWN}.")
    path = path.resolve()  # what the user names may be a link; what a source names may not
    suffix = path.suffix.lower()
    if suffix == ".npz":
        from .npz import open_npz

        return open_npz(path, key=key, max_bytes=max_bytes)
    if suffix in HDF5_SUFFIXES:
        from .hdf5 import open_hdf5

        return open_hdf5(path, key=key, max_bytes=max_bytes)
    if suffix == ".csd":
        from .csd import CsdSource

        return CsdSource(path, max_bytes=max_bytes)
    if suffix == ".mat":
        from .matlab import open_mat

        return open_mat(path, key=key, max_bytes=max_bytes)
    if suffix in PICKLE_SUFFIXES:
        from .mmsa import MmsaSource

        return MmsaSource(path, modality=modality, key=key, max_bytes=max_bytes)
    raise ManifestError(f"{path}: is of no kind that can be imported; give {KNOWN}.")


def rows_shape(shape: Sequence[int], where: str) -> tuple[int, int]:
    """Return T and D of a sample's array: `[D]` is one row, `[T, D]` is T.

    Raises:
        ImportRefused: For any other shape; `where` opens the sentence.
    """
    if len(shape) not in (1, 2) or shape[-1] < 1:
        raise ImportRefused(
            f"{where}: has the shape {list(shape)}; a sample is [D], one row, or [T, D]."
        )
    return (1, int(shape[0])) if len(shape) == 1 else (int(shape[0]), int(shape[1]))


def check_numbers(dtype: np.dtype[Any], where: str) -> np.dtype[Any]:
    """Return the dtype of rows if it is one of real numbers.

    Raises:
        ImportRefused: If it is not.
    """
    if dtype.kind == "O":
        raise ImportRefused(
            f"{where}: holds pickled objects, which are not read since they can run code; save it "
            "as an array of numbers."
        )
    if dtype.kind not in "fiub":
        raise ImportRefused(f"{where}: holds {dtype}, not real numbers.")
    return dtype


def check_times(times: Array, num_rows: int, where: str) -> None:
    """Check the shape and dtype of times.

    Raises:
        ImportRefused: If they are not numbers `[T, 2]`.
    """
    check_numbers(times.dtype, f"{where}, times")
    if tuple(times.shape) != (num_rows, 2):
        raise ImportRefused(
            f"{where}: times have the shape {list(times.shape)}, not [{num_rows}, 2]: start and "
            "end of each row in seconds."
        )


class SameDim:
    """Checks that every sample has the same D, and finds their widest dtype."""

    def __init__(self) -> None:
        self._first = ""
        self._dim = 0
        self._dtype: np.dtype[Any] | None = None

    def add(self, where: str, dim: int, dtype: np.dtype[Any]) -> None:
        """Take in one sample.

        Raises:
            ImportRefused: If its D is not that of the ones before, or it holds no numbers.
        """
        check_numbers(dtype, where)
        if self._dtype is None:
            self._first, self._dim, self._dtype = where, dim, dtype
            return
        if dim != self._dim:
            raise ImportRefused(
                f"{where}: has rows of {dim} features where {self._first} has {self._dim}; one "
                "column has one dimension."
            )
        if dtype != self._dtype:
            self._dtype = np.promote_types(self._dtype, dtype)

    @property
    def dim(self) -> int:
        """Features a row, D."""
        return self._dim

    @property
    def dtype(self) -> np.dtype[Any]:
        """The widest dtype."""
        return self._dtype if self._dtype is not None else np.dtype("float32")
