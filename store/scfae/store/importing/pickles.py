"""Pickles of numpy arrays and plain containers, read without running anything that they name.

A pickle is a program. This reader knows the operations that build numbers, text, lists, dicts and
sets, and the dozen names of `pickled`, none of which is the function that the file means.

Large arrays stay in the file, and are read by position when they are wanted.
"""

import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import ImportRefused
from ..files import OpenFile
from .limits import ByteBudget
from .pickled import NAMES, PickledArray, PickledDtype, Span, checked_key

_OPERATIONS: Final = """
    MARK STOP POP POP_MARK DUP FLOAT BINFLOAT INT BININT BININT1 BININT2 LONG LONG1 LONG4 NONE
    NEWTRUE NEWFALSE STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE
    BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3
    TUPLE EMPTY_LIST APPEND APPENDS LIST EMPTY_DICT SETITEM SETITEMS DICT EMPTY_SET ADDITEMS
    FROZENSET GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE PROTO FRAME GLOBAL
    STACK_GLOBAL REDUCE BUILD
"""
_OBJECT_BYTES: Final = 256
"""What one operation may leave in memory: an empty set is the largest."""
_LAZY_BYTES: Final = 1 << 16
_MAX_LINE_BYTES: Final = 1 << 24


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
        """Return our own function for the names it knows."""
        if (module, name) == ("_codecs", "encode"):
            return self._encode
        try:
            return NAMES[module, name]
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
        self._dict_below()[checked_key(key)] = value

    def _set_items(self) -> None:
        items = self.pop_mark()
        target = self._dict_below()
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def _dict(self) -> None:
        items = self.pop_mark()
        pairs = zip(items[::2], items[1::2], strict=True)
        self.append({checked_key(key): value for key, value in pairs})

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
        target.update(checked_key(item) for item in items)

    def _frozenset(self) -> None:
        items = self.pop_mark()  # first: it changes what `append` appends to
        self.append(frozenset(checked_key(item) for item in items))


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
