"""What a pickle may name: a dozen names of numpy and Python, each a function of this module.

`numpy.ndarray` in a file never becomes numpy's own: numpy's `__setstate__` trusts lengths that the
file gives, so arrays are put together here, from bytes whose number is checked.
"""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import ImportRefused
from ..files import OpenFile
from .arrays import Array, FileArray, MemoryArray, read_all, shaped

_DTYPE: Final = re.compile(r"[<>|=]?(?:[biuf][1248]|f16|c8|c16|[SU]\d{1,7}|O8?|b1|\?)")


class Span:
    """Bytes that stay in the file."""

    def __init__(self, file: OpenFile, path: Path, offset: int, num_bytes: int) -> None:
        self.file, self.path, self.offset, self.num_bytes = file, path, offset, num_bytes


class PickledDtype:
    """A numpy dtype of numbers or text; anything with fields or code is refused."""

    def __init__(self, name: Any = "", *rest: Any) -> None:
        if not isinstance(name, str) or not _DTYPE.fullmatch(name):
            raise ValueError(f"the dtype {ascii(name)[:80]}")
        self.value = np.dtype(name)

    def build(self, state: Any) -> None:
        """Take in the byte order."""
        if not isinstance(state, tuple) or len(state) < 5:
            raise ValueError("a dtype without its state")
        order, parts = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in parts):
            raise ValueError("a dtype with fields")
        if order in ("<", ">"):
            self.value = self.value.newbyteorder(order)


class PickledArray:
    """A numpy array: `array` once its state is there."""

    def __init__(self, kind: Any = None, shape: Any = (0,), code: Any = b"b") -> None:
        if kind is not _ndarray or shape not in ((0,), ()):
            raise ValueError("an array that is not a plain ndarray")
        self._array: Array | None = None
        self.objects: list[Any] | None = None

    @property
    def array(self) -> Array:
        """The array of numbers or text.

        Raises:
            ValueError: If it has no state, or holds objects.
        """
        if self._array is None:
            raise ValueError("an array without numbers")
        return self._array

    def build(self, state: Any) -> None:
        """Take in shape, dtype and bytes, or a list of objects."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array without its state")
        _, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, PickledDtype):
            raise ValueError("an array without a dtype")
        if dtype.value.hasobject:
            if not isinstance(data, list) or math.prod(_shape(shape)) != len(data):
                raise ValueError("an array of objects of another number")
            self.objects = data
        else:
            self._array = _plain(data, dtype, shape, is_fortran=bool(is_fortran))


def _shape(shape: Any) -> tuple[int, ...]:
    if isinstance(shape, int):
        shape = (shape,)
    if not isinstance(shape, tuple) or len(shape) > 32:
        raise ValueError("an array without a shape")
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in shape):
        raise ValueError("an array without a shape")
    return tuple(shape)


def _plain(data: Any, dtype: PickledDtype, shape: Any, *, is_fortran: bool) -> Array:
    if isinstance(data, str):
        data = data.encode("latin-1")  # a pickle of Python 2
    shape = _shape(shape)
    size_bytes = math.prod(shape) * dtype.value.itemsize
    if isinstance(data, Span):
        if size_bytes != data.num_bytes or dtype.value.itemsize == 0:
            raise ValueError("an array with another number of bytes")
        return FileArray(
            data.file, data.path, data.offset, shape, dtype.value, is_fortran=is_fortran
        )
    if not isinstance(data, (bytes, bytearray)) or size_bytes != len(data):
        raise ValueError("an array with another number of bytes")
    if dtype.value.itemsize == 0:
        raise ValueError("an array of empty text")
    flat = np.frombuffer(data, dtype=dtype.value)
    return MemoryArray(shaped(flat, shape, is_fortran=is_fortran))


def _ndarray(*arguments: Any) -> Any:
    raise ValueError("numpy.ndarray called")


def _scalar(dtype: Any, data: Any) -> Any:
    if isinstance(data, str):
        data = data.encode("latin-1")
    if not isinstance(dtype, PickledDtype) or dtype.value.hasobject:
        raise ValueError("a number without a dtype")
    if not isinstance(data, bytes) or len(data) != dtype.value.itemsize or not data:
        raise ValueError("a number with another number of bytes")
    return np.frombuffer(data, dtype=dtype.value)[0].item()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any = "C", axes: Any = None) -> Any:
    if not isinstance(dtype, PickledDtype) or order not in ("C", "F") or axes is not None:
        raise ValueError("an array without its state")
    made = PickledArray(_ndarray)
    made.build((1, shape, dtype, order == "F", data))
    return made


def _collect(kind: type, *arguments: Any) -> Any:
    if len(arguments) > 1:
        raise ValueError(f"{kind.__name__} of several")
    items = arguments[0] if arguments else []
    if not isinstance(items, list):
        raise ValueError(f"{kind.__name__} of {type(items).__name__}")
    return kind(checked_key(item) for item in items)


def _ordered(*arguments: Any) -> dict[Any, Any]:
    if not arguments:
        return {}
    (pairs,) = arguments
    if not isinstance(pairs, list):
        raise ValueError("OrderedDict of something else")
    return {checked_key(key): value for key, value in pairs}


def _no_bytes(*arguments: Any) -> bytes:
    if arguments:
        raise ValueError("bytes called")
    return b""


def checked_key(key: Any) -> Any:
    """Return what may be in a set or be a key: hashing deep tuples overruns the stack."""
    if type(key) in (str, bytes, int, bool, float, type(None)):
        return key
    raise ValueError(f"a key that is {type(key).__name__}")


NAMES: Final[Mapping[tuple[str, str], Callable[..., Any]]] = {
    ("numpy", "ndarray"): _ndarray,
    ("numpy", "dtype"): PickledDtype,
    **{
        (f"numpy.{core}.multiarray", name): function
        for core in ("core", "_core")
        for name, function in (("_reconstruct", PickledArray), ("scalar", _scalar))
    },
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("collections", "OrderedDict"): _ordered,
    **{
        (home, kind.__name__): lambda *items, kind=kind: _collect(kind, *items)
        for home in ("builtins", "__builtin__")
        for kind in (set, frozenset)
    },
    ("builtins", "bytes"): _no_bytes,
    ("__builtin__", "bytes"): _no_bytes,
}


def as_list(value: Any, where: str) -> list[Any]:
    """Return a list, tuple, set or array of a pickle as a list.

    Raises:
        ImportRefused: If it is none of them.
    """
    if isinstance(value, PickledArray):
        if value.objects is not None:
            return value.objects
        array = value.array
        return list(read_all(array).tolist()) if array.shape else []
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    raise ImportRefused(f"{where}: is a {type(value).__name__}, not a list.")
