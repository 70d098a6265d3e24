"""Pickles of numpy arrays and plain containers, read without running anything that they name.

A pickle is a program. This reader knows the operations that build numbers, text, lists, dicts and
sets, and a table of a dozen names, each of which is a function of this module: `numpy.ndarray`
in a file never becomes numpy's own. numpy's `__setstate__` trusts lengths that the file gives, so
arrays are put together here, from bytes whose number is checked.

Large arrays stay in the file, and are read by position when they are wanted.
"""

import io
import math
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import ImportRefused
from ..files import OpenFile
from .arrays import Array, FileArray, MemoryArray, read_all, shaped
from .limits import ByteBudget

_OPERATIONS: Final = """
    MARK STOP POP POP_MARK DUP FLOAT BINFLOAT INT BININT BININT1 BININT2 LONG LONG1 LONG4 NONE
    NEWTRUE NEWFALSE STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE
    BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3
    TUPLE EMPTY_LIST APPEND APPENDS LIST EMPTY_DICT SETITEM SETITEMS DICT EMPTY_SET ADDITEMS
    FROZENSET GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE PROTO FRAME GLOBAL
    STACK_GLOBAL REDUCE BUILD
"""
_DTYPE: Final = re.compile(r"[<>|=]?(?:[biuf][1248]|f16|c8|c16|[SU]\d{1,7}|O8?|b1|\?)")
_OBJECT_BYTES: Final = 256
"""What one operation may leave in memory: an empty set is the largest."""
_LAZY_BYTES: Final = 1 << 16
_MAX_LINE_BYTES: Final = 1 << 24


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
    return kind(_key(item) for item in items)


def _ordered(*arguments: Any) -> dict[Any, Any]:
    if not arguments:
        return {}
    (pairs,) = arguments
    if not isinstance(pairs, list):
        raise ValueError("OrderedDict of something else")
    return {_key(key): value for key, value in pairs}


def _no_bytes(*arguments: Any) -> bytes:
    if arguments:
        raise ValueError("bytes called")
    return b""


def _key(key: Any) -> Any:
    """Return what may be in a set or be a key: hashing deep tuples overruns the stack."""
    if type(key) in (str, bytes, int, bool, float, type(None)):
        return key
    raise ValueError(f"a key that is {type(key).__name__}")


_NAMES: Final[Mapping[tuple[str, str], Callable[..., Any]]] = {
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


class _Dispatch(dict[int, Callable[..., None]]):
    """The operations that are known; each is counted before it runs."""

    def __init__(self, known: Mapping[int, Callable[..., None]], budget: ByteBudget) -> None:
        super().__init__(known)
        self._budget = budget

    def __getitem__(self, code: int) -> Callable[..., None]:
        self._budget.spend(_OBJECT_BYTES, "the pickle")
        return super().__getitem__(code)

    def __missing__(self, code: int) -> Callable[..., None]:
        raise ValueError(f"the operation {bytes([code])!r}, which builds objects of any class")


class _Input:
    """A pickle's bytes: nothing is allocated for bytes that are not there."""

    def __init__(self, file: io.BufferedReader, num_bytes: int) -> None:
        self._file = file
        self._num_bytes = num_bytes

    def read(self, size: int) -> bytes:
        if size > _LAZY_BYTES and size > self._num_bytes - self._file.tell():
            raise ValueError(f"{size} bytes that are not there")
        return self._file.read(size)

    def readline(self) -> bytes:
        line = self._file.readline(_MAX_LINE_BYTES)
        if len(line) == _MAX_LINE_BYTES:
            raise ValueError("a line without an end")
        return line

    def span(self, num_bytes: int) -> int:
        """Pass over bytes and return where they begin."""
        start = self._file.tell()
        if num_bytes > self._num_bytes - start:
            raise ValueError(f"{num_bytes} bytes that are not there")
        self._file.seek(num_bytes, io.SEEK_CUR)
        return start


# The C unpickler allocates what a few bytes declare before it looks whether they are there; the
# one in Python reads only through `_Input`, and its operations can be chosen.
_Base: Any = pickle._Unpickler


class _Unpickler(_Base):  # type: ignore[misc]
    """Runs the operations of a pickle that build numbers, text, containers and arrays."""

    def __init__(self, data: _Input, path: Path, budget: ByteBudget) -> None:
        super().__init__(data, encoding="latin1")
        self._data = data
        self._path = path
        self._lazy = OpenFile(path)
        self._budget = budget
        codes = [getattr(pickle, name)[0] for name in _OPERATIONS.split()]
        known = {code: _Base.dispatch[code] for code in codes}
        self.dispatch = _Dispatch(known | self._own(), budget)

    def find_class(self, module: str, name: str) -> Any:
        """Return a function of this module for the names it knows."""
        if (module, name) == ("_codecs", "encode"):
            return self._encode
        try:
            return _NAMES[module, name]
        except KeyError:
            raise ValueError(f"the name {ascii(module)[1:-1]}.{ascii(name)[1:-1]}") from None

    def _encode(self, text: Any, encoding: Any = "latin1") -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise ValueError("text in another encoding")
        self._budget.spend(len(text), "text")
        return text.encode("latin-1")

    def _own(self) -> dict[int, Callable[..., None]]:
        own = _Unpickler
        return {
            pickle.BINBYTES[0]: own._bytes4,
            pickle.BINSTRING[0]: own._string4,
            pickle.BINBYTES8[0]: own._bytes8,
            pickle.BYTEARRAY8[0]: own._bytes8,
            pickle.BUILD[0]: own._build,
            pickle.SETITEM[0]: own._set_item,
            pickle.SETITEMS[0]: own._set_items,
            pickle.DICT[0]: own._dict,
            pickle.ADDITEMS[0]: own._add_items,
            pickle.FROZENSET[0]: own._frozenset,
        }

    def _bytes4(self) -> None:
        self.append(self._long(int.from_bytes(self.read(4), "little")))

    def _bytes8(self) -> None:
        self.append(self._long(int.from_bytes(self.read(8), "little")))

    def _string4(self) -> None:
        value = self._long(int.from_bytes(self.read(4), "little", signed=True))
        self.append(value if isinstance(value, Span) else value.decode("latin-1"))

    def _long(self, num_bytes: int) -> Any:
        if num_bytes < 0:
            raise ValueError("a negative length")
        if num_bytes < _LAZY_BYTES or self._unframer.current_frame is not None:
            return self.read(num_bytes)
        return Span(self._lazy, self._path, self._data.span(num_bytes), num_bytes)

    def _build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, (PickledArray, PickledDtype)):
            raise ValueError(f"a state for {type(target).__name__}")
        target.build(state)

    def _set_item(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self._dict_below()[_key(key)] = value

    def _set_items(self) -> None:
        items = self.pop_mark()
        target = self._dict_below()
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _dict(self) -> None:
        items = self.pop_mark()
        pairs = zip(items[::2], items[1::2], strict=True)
        self.append({_key(key): value for key, value in pairs})

    def _dict_below(self) -> dict[Any, Any]:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise ValueError(f"entries for {type(target).__name__}")
        return target

    def _add_items(self) -> None:
        items = self.pop_mark()
        target = self.stack[-1]
        if not isinstance(target, set):
            raise ValueError(f"members for {type(target).__name__}")
        target.update(_key(item) for item in items)

    def _frozenset(self) -> None:
        items = self.pop_mark()  # first: it changes what `append` appends to
        self.append(frozenset(_key(item) for item in items))


def read_pickle(path: Path, budget: ByteBudget) -> Any:
    """Return what a pickle of numbers, text, plain containers and numpy arrays holds.

    Args:
        path: The file.
        budget: What it may unpack to.

    Returns:
        Numbers, text, lists, tuples, dicts and sets; a numpy array is a `PickledArray`.

    Raises:
        ImportRefused: If it names or builds anything else, or is damaged; nothing of it has run.
    """
    try:
        with path.open("rb") as file:
            return _Unpickler(_Input(file, path.stat().st_size), path, budget).load()
    except ImportRefused:
        raise
    except Exception as error:  # hostile bytes make every operation fail in its own way
        why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ImportRefused(
            f"{path}: is not a pickle of numpy arrays and plain containers alone, and no other is "
            f"read ({why})."
        ) from None


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
