"""Arrays that are read in parts: in memory, or at a place of an open file.

Shapes: N entries of the first axis, and whatever follows.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import ImportRefused
from ..files import OpenFile


class Array(Protocol):
    """A named array of a source."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its dtype."""

    def read(self, first: int, last: int) -> npt.NDArray[Any]:
        """Return entries `first` to `last` of the first axis."""


@dataclass(frozen=True, slots=True, eq=False)
class MemoryArray:
    """An array that is in memory already."""

    values: npt.NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.values.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its dtype."""
        return self.values.dtype

    def read(self, first: int, last: int) -> npt.NDArray[Any]:
        """Return entries `first` to `last` of the first axis."""
        return self.values[first:last]


@dataclass(frozen=True, slots=True, eq=False)
class FileArray:
    """A plain array somewhere in a file, read by position.

    Attributes:
        file: The file, open.
        path: Its name, for messages.
        offset: Where the array begins, in bytes.
        shape: Its shape.
        dtype: Its dtype; no objects.
        is_fortran: The first axis runs fastest.
    """

    file: OpenFile
    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_fortran: bool = False

    def read(self, first: int, last: int) -> npt.NDArray[Any]:
        """Return entries `first` to `last` of the first axis.

        Raises:
            ImportRefused: If the file has become shorter.
        """
        count = last - first
        if not self.is_fortran or len(self.shape) < 2:
            out = np.empty((count, *self.shape[1:]), dtype=self.dtype)
            entry_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
            self._fill(out, self.offset + first * entry_bytes)
            return out
        columns = math.prod(self.shape[1:])
        by_column = np.empty((columns, count), dtype=self.dtype)
        for column in range(columns):
            place = column * self.shape[0] + first
            self._fill(by_column[column], self.offset + place * self.dtype.itemsize)
        return by_column.reshape(*self.shape[:0:-1], count).T

    def _fill(self, out: npt.NDArray[Any], offset: int) -> None:
        if out.size and not self.file.read_into(out, offset):
            raise ImportRefused(f"{self.path}: became shorter while it was read; try again.")


def shaped(flat: npt.NDArray[Any], shape: tuple[int, ...], *, is_fortran: bool) -> npt.NDArray[Any]:
    """Return values as an array; `is_fortran` if the first axis runs fastest."""
    return flat.reshape(shape[::-1]).T if is_fortran else flat.reshape(shape)


def read_all(array: Array) -> npt.NDArray[Any]:
    """Return a whole array."""
    return array.read(0, array.shape[0])


def read_text(array: Array, where: str) -> list[str]:
    """Return a one-dimensional array of names: text, UTF-8 bytes or whole numbers.

    Raises:
        ImportRefused: If it is anything else.
    """
    values = read_all(array) if array.shape else np.empty(0)
    if values.ndim == 2 and 1 in values.shape:
        values = values.reshape(-1)
    if values.ndim != 1 or values.dtype.kind not in "USiuO":
        raise ImportRefused(
            f"{where}: ids are {array.dtype} {list(array.shape)}, not a list of names."
        )
    return [as_text(value, where) for value in values.tolist()]


def as_text(value: Any, where: str) -> str:
    """Return an id as text.

    Raises:
        ImportRefused: If it is neither text nor a whole number, or not UTF-8.
    """
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise ImportRefused(f"{where}: the id {value[:80]!r} is not UTF-8.") from None
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    raise ImportRefused(f"{where}: an id is {type(value).__name__}, not text.")
