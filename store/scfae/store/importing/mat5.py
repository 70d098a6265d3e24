"""The variables of a MATLAB 5 file, found without unpacking them.

scipy reads these files too, but a few altered bytes make its parser crash the process, which no
`except` catches; arrays of numbers need little of the format.
"""

import math
import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import ImportRefused
from ..files import OpenFile
from .arrays import Array, FileArray, MemoryArray, shaped
from .limits import ByteBudget
from .mat5_elements import CELL, CHAR, COMPRESSED, MATRIX, Element, Elements, Header

_HEADER_BYTES: Final = 128
_HEAD_BYTES: Final = 1 << 16
_BLOCK_BYTES: Final = 1 << 20
_STORED: Final = {
    code: np.dtype(name).str[1:]
    for code, name in (
        (1, "int8"),
        (2, "uint8"),
        (3, "int16"),
        (4, "uint16"),
        (5, "int32"),
        (6, "uint32"),
        (7, "float32"),
        (9, "float64"),
        (12, "int64"),
        (13, "uint64"),
    )
}
_CLASSES: Final = dict(enumerate(["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"], 6))
_OTHERS: Final = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 16: "function"}


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable: where it lies in the file, and where its values lie in it.

    Attributes:
        header: Class, shape and name.
        values: Tag of the values, counted from the beginning of the variable; None for cells.
        start: Where its bytes begin in the file.
        packed_bytes: How many there are, if they are compressed; else None.
        num_bytes: How many there are unpacked.
    """

    header: Header
    values: Element | None
    start: int
    packed_bytes: int | None
    num_bytes: int


class Mat5:
    """The arrays of an open MATLAB 5 file.

    Args:
        file: The file, open.
        path: Its name, for messages.
        budget: What its compressed variables may unpack to.

    Raises:
        ImportRefused: If it is damaged, holds other things than arrays of numbers, or unpacks to
            more than the budget.
    """

    form = "mat"

    def __init__(self, file: OpenFile, path: Path, budget: ByteBudget) -> None:
        self._file = file
        self.path = path
        head = self._read(0, _HEADER_BYTES)
        self._order = {b"IM": "<", b"MI": ">"}.get(head[126:128], "")
        if not self._order or struct.unpack(f"{self._order}H", head[124:126])[0] != 0x0100:
            raise ImportRefused(
                f"{path}: is not a MATLAB file of version 5 or 7.3; save it again with -v7.3."
            )
        self._elements = Elements(path, self._order)
        self._variables: dict[str, Variable] = {}
        for one in self._walk(budget):
            name = one.header.name
            if name in self._variables:
                raise ImportRefused(f"{path}: holds {name!a} twice.")
            self._check(one)
            self._variables[name] = one

    @property
    def names(self) -> list[str]:
        """Names of the variables."""
        return list(self._variables)

    def array(self, name: str, *, often: bool = False) -> Array:
        """Return a variable.

        Args:
            name: Its name.
            often: It will be read in many parts: unpack it once, into a temporary file.
        """
        one = self._variables[name]
        if one.values is None:
            return MemoryArray(
                np.array(self._elements.text(b"".join(self._unpack(one))), dtype=np.str_)
            )
        if one.packed_bytes is None:
            place = (self._file, one.start)
        elif often:
            place = (self._spool(one), 0)
        else:
            return _Numbers(self, one, None)
        stored = np.dtype(self._order + _STORED[one.values.kind])
        offset = place[1] + one.values.start
        plain = FileArray(place[0], self.path, offset, one.header.shape, stored, is_fortran=True)
        return _Numbers(self, one, plain)

    def close(self) -> None:
        """Do nothing: the file closes with its last array."""

    def unpacked(self, one: Variable) -> npt.NDArray[Any]:
        """Return the values of a variable as they are stored."""
        assert one.values is not None
        stored = np.dtype(self._order + _STORED[one.values.kind])
        data = b"".join(self._unpack(one))
        count = math.prod(one.header.shape)
        flat = np.frombuffer(data, stored, count, offset=one.values.start)
        return shaped(flat, one.header.shape, is_fortran=True)

    def _walk(self, budget: ByteBudget) -> Iterator[Variable]:
        place = _HEADER_BYTES
        while place < self._file.num_bytes:
            kind, num_bytes = struct.unpack(f"{self._order}II", self._read(place, 8))
            start, place = place + 8, place + 8 + num_bytes
            if place > self._file.num_bytes:
                raise self._damaged("ends inside a variable")
            if kind == MATRIX:
                head = self._read(start, min(num_bytes, _HEAD_BYTES))
                yield self._variable(head, start, None, num_bytes)
            elif kind == COMPRESSED:
                packed = self._read(start, min(num_bytes, _HEAD_BYTES))
                head = self._inflate(packed)
                if len(head) < 8:
                    raise self._damaged("has a variable that cannot be unpacked")
                inner, inner_bytes = struct.unpack(f"{self._order}II", head[:8])
                if inner != MATRIX:
                    raise self._damaged("has a compressed element that is no variable")
                budget.spend(inner_bytes, "a compressed variable")
                yield self._variable(head[8:], start, num_bytes, inner_bytes)
            else:
                raise self._damaged(f"has an element of type {kind} that is no variable")

    def _variable(
        self, head: bytes, start: int, packed_bytes: int | None, num_bytes: int
    ) -> Variable:
        header = self._elements.header(head, 0)
        values = None
        if header.kind not in (CELL, CHAR):
            values = self._elements.element(head, header.end)
        return Variable(header, values, start, packed_bytes, num_bytes)

    def _check(self, one: Variable) -> None:
        header, where = one.header, f"{self.path}: the variable {one.header.name!a}"
        if header.name == "ids" and header.kind in (CELL, CHAR):
            return
        if header.kind not in _CLASSES or one.values is None or header.is_complex:
            what = "complex" if header.is_complex else _OTHERS.get(header.kind, "unknown")
            raise ImportRefused(
                f"{where} is of class {what}; features are arrays of numbers, and only `ids` may "
                "be text."
            )
        stored = _STORED.get(one.values.kind)
        if stored is None:
            raise self._damaged(f"has values of no known type in {header.name!a}")
        wanted = math.prod(header.shape) * np.dtype(stored).itemsize
        if wanted != one.values.num_bytes or one.values.start + wanted > one.num_bytes:
            raise ImportRefused(
                f"{where} says it is {list(header.shape)}, which is {wanted} bytes, but has "
                f"{one.values.num_bytes}."
            )

    def _unpack(self, one: Variable) -> Iterator[bytes]:
        """Yield the bytes of a variable after its tag, as many as the tag says."""
        if one.packed_bytes is None:
            yield self._read(one.start, one.num_bytes)
            return
        left = one.num_bytes
        skip = 8  # the tag
        for block in self._inflated(one.start, one.start + one.packed_bytes):
            start = min(skip, len(block))
            skip -= start
            part = block[start : start + left]
            left -= len(part)
            yield part
            if not left:
                return
        raise self._damaged("has a variable that unpacks to less than it says")

    def _inflated(self, start: int, end: int) -> Iterator[bytes]:
        """Yield what compressed bytes of the file unpack to, a block at a time."""
        unpacker = zlib.decompressobj()
        packed = b""
        try:
            while not unpacker.eof:
                if not packed and start < end:
                    packed = self._read(start, min(_BLOCK_BYTES, end - start))
                    start += len(packed)
                block = unpacker.decompress(packed, _BLOCK_BYTES)
                if not block and not unpacker.eof and start == end:
                    return
                packed = unpacker.unconsumed_tail
                yield block
        except zlib.error as error:
            raise self._damaged(f"has a variable that cannot be unpacked ({error})") from None

    def _inflate(self, packed: bytes) -> bytes:
        try:
            return zlib.decompressobj().decompress(packed, _HEAD_BYTES)
        except zlib.error as error:
            raise self._damaged(f"has a variable that cannot be unpacked ({error})") from None

    def _spool(self, one: Variable) -> OpenFile:
        with tempfile.NamedTemporaryFile(prefix="scfae-import-") as temporary:
            for block in self._unpack(one):
                temporary.write(block)
            temporary.flush()
            return OpenFile(Path(temporary.name))  # lives on until the last reference goes

    def _read(self, start: int, num_bytes: int) -> bytes:
        out = np.empty(min(num_bytes, max(0, self._file.num_bytes - start)), dtype=np.uint8)
        if len(out) < num_bytes or not self._file.read_into(out, start):
            raise self._damaged("ends inside a variable")
        return out.tobytes()

    def _damaged(self, what: str) -> ImportRefused:
        return ImportRefused(f"{self.path}: is a damaged MATLAB file: it {what}.")


@dataclass(frozen=True, slots=True, eq=False)
class _Numbers:
    """A variable as an array of its class, whatever its values are stored as."""

    owner: Mat5
    variable: Variable
    plain: FileArray | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.variable.header.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its class."""
        return np.dtype(_CLASSES[self.variable.header.kind])

    def read(self, first: int, last: int) -> npt.NDArray[Any]:
        """Return entries `first` to `last` of the first axis."""
        if self.plain is not None:
            return self.plain.read(first, last).astype(self.dtype)
        return self.owner.unpacked(self.variable)[first:last].astype(self.dtype)
