"""Files of named arrays, in the three ways that people put many samples into one of them.

- ragged: `data [R, D]`, `offsets [n + 1]`, `ids [n]`, optional `times [R, 2]`
- table: one array `[n, D]` or `[n, T, D]` and `ids [n]`, optional `lengths [n]`
- named: one array `[D]` or `[T, D]` a sample, its name the id

Shapes: n samples, R rows of all of them, T rows of one, D features.
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError, ImportRefused, ManifestError
from .arrays import Array, read_all, read_text
from .limits import check_ids
from .source import Rows, SameDim, UnusableSample, check_times, rows_shape

if TYPE_CHECKING:
    from ..sample_row import SampleRow

_BESIDE: Final = ("ids", "offsets", "times", "lengths")


class Archive(Protocol):
    """An open file of named arrays."""

    path: Path
    form: str

    @property
    def names(self) -> list[str]:
        """Names of its arrays."""

    def array(self, name: str, *, often: bool = False) -> Array:
        """Return an array; `often` if it will be read in many parts."""

    def close(self) -> None:
        """Close the file."""


class Layout(Protocol):
    """How the samples lie in an archive."""

    ids: list[str]
    dim: int
    dtype: np.dtype[Any]

    def sample(self, number: int) -> Rows:
        """Return the rows and times of one sample."""


class Ragged:
    """All rows one after the other, and where each sample begins.

    Raises:
        ImportRefused: If the arrays do not fit together.
    """

    def __init__(self, archive: Archive, key: str) -> None:
        where = str(archive.path)
        self._data = archive.array(key, often=True)
        shape = self._data.shape
        if len(shape) != 2 or shape[1] < 1:
            raise ImportRefused(f"{where}: {key} has the shape {list(shape)}, not [rows, D].")
        one = SameDim()
        one.add(f"{where}: {key}", shape[1], self._data.dtype)
        self.dim, self.dtype = one.dim, one.dtype
        self.ids = check_ids(read_text(archive.array("ids"), where), where)
        self._offsets = _whole(archive.array("offsets"), f"{where}: offsets")
        self._check_offsets(where, shape[0])
        self._times: Array | None = None
        if "times" in archive.names:
            self._times = archive.array("times", often=True)
            check_times(self._times, shape[0], where)

    def sample(self, number: int) -> Rows:
        """Return the rows and times of one sample."""
        first, last = int(self._offsets[number]), int(self._offsets[number + 1])
        times = None if self._times is None else self._times.read(first, last)
        return Rows(self._data.read(first, last), times)

    def _check_offsets(self, where: str, num_rows: int) -> None:
        offsets = self._offsets
        if len(offsets) != len(self.ids) + 1:
            raise ImportRefused(
                f"{where}: {len(offsets)} offsets for {len(self.ids)} ids; there must be one more "
                "than ids: where each sample begins, and the number of rows."
            )
        if offsets[0] != 0 or offsets[-1] != num_rows or (np.diff(offsets) < 0).any():
            raise ImportRefused(
                f"{where}: offsets must rise from 0 to the number of rows, {num_rows}."
            )


class Table:
    """One array with a sample an entry, perhaps padded to the same number of rows.

    Raises:
        ImportRefused: If the arrays do not fit together.
    """

    def __init__(self, archive: Archive, key: str) -> None:
        where = str(archive.path)
        self._data = archive.array(key, often=True)
        shape = self._data.shape
        self.ids = check_ids(read_text(archive.array("ids"), where), where)
        if len(shape) not in (2, 3) or shape[-1] < 1 or shape[0] != len(self.ids):
            raise ImportRefused(
                f"{where}: {key} has the shape {list(shape)} where there are {len(self.ids)} ids; "
                "it must be [ids, D] or [ids, T, D]."
            )
        one = SameDim()
        one.add(f"{where}: {key}", shape[-1], self._data.dtype)
        self.dim, self.dtype = one.dim, one.dtype
        self._lengths: npt.NDArray[np.int64] | None = None
        if "lengths" in archive.names and len(shape) == 3:
            self._lengths = _whole(archive.array("lengths"), f"{where}: lengths")
            if len(self._lengths) != len(self.ids):
                raise ImportRefused(
                    f"{where}: {len(self._lengths)} lengths for {len(self.ids)} ids."
                )

    def sample(self, number: int) -> Rows:
        """Return the rows of one sample, without its padding."""
        rows = self._data.read(number, number + 1)
        if rows.ndim == 2:
            return Rows(rows, None)
        length = None if self._lengths is None else int(self._lengths[number])
        return Rows(trim(rows[0], length), None)


class Named:
    """An array a sample; its name is the id.

    Raises:
        ImportRefused: If one of them is no sample, or their D differ.
    """

    def __init__(self, archive: Archive, names: list[str]) -> None:
        self._archive = archive
        self._names = names
        self.ids = check_ids(list(names), archive.path)
        same = SameDim()
        for name in names:
            array = archive.array(name)
            where = f"{archive.path}, {name!a}"
            same.add(where, rows_shape(array.shape, where)[1], array.dtype)
        self.dim, self.dtype = same.dim, same.dtype

    def sample(self, number: int) -> Rows:
        """Return the rows of one sample."""
        rows = read_all(self._archive.array(self._names[number]))
        return Rows(rows[None] if rows.ndim == 1 else rows, None)


class ArchiveSource:
    """One file of named arrays as a source.

    Args:
        archive: The file; closed with the source.
        key: The array with the rows, where it is not to be guessed.
        sha256: Digest of the file.

    Raises:
        ManifestError: If there is no array.
        ConfigError: If there is no array of that name.
        ImportRefused: If an array cannot be taken.
    """

    labels: "Mapping[str, SampleRow]"

    def __init__(self, archive: Archive, *, key: str | None, sha256: str) -> None:
        self._archive = archive
        self.kind = archive.form
        self.sha256 = sha256
        self.labels = {}
        self.notices: list[str] = []
        try:
            self._layout = self._choose(key)
        except BaseException:
            archive.close()
            raise
        self.ids = self._layout.ids
        self.dim, self.dtype = self._layout.dim, self._layout.dtype
        self._number = {name: i for i, name in enumerate(self.ids)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._archive.close()

    def sample(self, name: str) -> Rows:
        """Return a sample's rows and times; see `Source`."""
        return self._layout.sample(self._number[name])

    def sample_sha256(self, name: str) -> str | None:
        """Return None: a sample has no file of its own."""
        return None

    def _choose(self, key: str | None) -> Layout:
        archive, names = self._archive, self._archive.names
        where = archive.path
        if not names:
            raise ManifestError(f"{where}: holds no arrays.")
        if key is not None and key not in names:
            shown = ", ".join(ascii(name) for name in names[:10])
            raise ConfigError(f"--key: {where} has no array '{key}'; it has {shown}.")
        if "ids" not in names:
            if key is not None:
                raise ConfigError(
                    f"--key: {where} has no array 'ids' to say whose rows those of '{key}' are."
                )
            return Named(archive, names)
        if key is None:
            rest = [name for name in names if name not in _BESIDE]
            if "data" not in rest and len(rest) != 1:
                shown = ", ".join(ascii(name) for name in rest[:10]) or "none"
                raise ConfigError(
                    f"--key: say which array of {where} holds the rows; beside ids it has {shown}."
                )
            key = "data" if "data" in rest else rest[0]
        layout = Ragged(archive, key) if "offsets" in names else Table(archive, key)
        others = [name for name in names if name not in (*_BESIDE, key)]
        if others:
            self.notices.append(
                f"{where}: {len(others)} other arrays were left, e.g. {others[0]!a}"
            )
        if isinstance(layout, Table) and "lengths" not in names:
            self.notices.append(f"{where}: no lengths are given, so every row is taken")
        return layout


def trim(rows: npt.NDArray[Any], length: int | None) -> npt.NDArray[Any]:
    """Return the first `length` rows of a padded sample.

    Raises:
        UnusableSample: If it does not have as many.
    """
    if length is None:
        return rows
    if not 0 <= length <= len(rows):
        raise UnusableSample(f"its length is given as {length}, but it has {len(rows)} rows")
    return rows[:length]


def _whole(array: Array, where: str) -> npt.NDArray[np.int64]:
    """Return a list of whole numbers, which MATLAB keeps as floats `[1, n]`."""
    values = read_all(array) if array.shape else np.empty(0)
    flat = values.reshape(-1)
    if values.ndim > 2 or flat.size != max(values.shape, default=0) or flat.dtype.kind not in "fiu":
        raise ImportRefused(
            f"{where} are {array.dtype} {list(array.shape)}, not a list of whole numbers."
        )
    if flat.dtype.kind == "f" and not (np.isfinite(flat) & (flat == np.trunc(flat))).all():
        raise ImportRefused(f"{where} are not whole numbers.")
    if flat.size and (np.abs(flat.astype(np.float64)) > 2.0**62).any():
        raise ImportRefused(f"{where} are out of range.")
    return flat.astype(np.int64)
