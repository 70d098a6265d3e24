"""The variables of a MATLAB 5 file, found without unpacking them.

scipy reads these files too, but a few altered bytes make its parser crash the process, which no
`except` catches; arrays of numbers need little of the format.

A file is a header of 128 bytes and then elements: a tag (type, bytes) and data, padded to 8. A
variable is an element of type 14, or such an element compressed, of type 15; in it lie flags,
dimensions, name and values. Values are column-major, and may be stored in a smaller type than the
variable's class.
"""

import math
import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import ImportRefused
from ..files import OpenFile
from .arrays import Array, FileArray, MemoryArray, shaped
from .limits import ByteBudget

_HEADER_BYTES: Final = 128
_HEAD_BYTES: Final = 1 << 16
_BLOCK_BYTES: Final = 1 << 20
_MATRIX, _COMPRESSED = 14, 15
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
_CELL, _CHAR = 1, 4
_OTHERS: Final = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 16: "function"}
_ENCODINGS: Final = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
_COMPLEX: Final = 0x0800


class Element(NamedTuple):
    """A tag: type, and where its data lies."""

    kind: int
    start: int
    num_bytes: int
    end: int


class Header(NamedTuple):
    """What a variable says about itself before its values."""

    kind: int
    is_complex: bool
    shape: tuple[int, ...]
    name: str
    end: int


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
            return MemoryArray(np.array(self._text(b"".join(self._unpack(one))), dtype=np.str_))
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
            if kind == _MATRIX:
                head = self._read(start, min(num_bytes, _HEAD_BYTES))
                yield self._variable(head, start, None, num_bytes)
            elif kind == _COMPRESSED:
                packed = self._read(start, min(num_bytes, _HEAD_BYTES))
                head = self._inflate(packed)
                if len(head) < 8:
                    raise self._damaged("has a variable that cannot be unpacked")
                inner, inner_bytes = struct.unpack(f"{self._order}II", head[:8])
                if inner != _MATRIX:
                    raise self._damaged("has a compressed element that is no variable")
                budget.spend(inner_bytes, "a compressed variable")
                yield self._variable(head[8:], start, num_bytes, inner_bytes)
            else:
                raise self._damaged(f"has an element of type {kind} that is no variable")

    def _variable(
        self, head: bytes, start: int, packed_bytes: int | None, num_bytes: int
    ) -> Variable:
        header = self._header(head, 0)
        values = None
        if header.kind not in (_CELL, _CHAR):
            values = self._element(head, header.end)
        return Variable(header, values, start, packed_bytes, num_bytes)

    def _header(self, data: bytes, place: int) -> Header:
        flags = self._element(data, place)
        shape = self._element(data, flags.end)
        name = self._element(data, shape.end)
        if flags.num_bytes != 8 or shape.num_bytes % 4 or not 8 <= shape.num_bytes <= 128:
            raise self._damaged("has a variable without flags or dimensions")
        bits = struct.unpack_from(f"{self._order}I", data, flags.start)[0]
        sizes = struct.unpack_from(f"{self._order}{shape.num_bytes // 4}i", data, shape.start)
        if min(sizes) < 0 or name.start + name.num_bytes > len(data):
            raise self._damaged("has a variable without dimensions or name")
        text = data[name.start : name.start + name.num_bytes].decode("latin-1")
        return Header(bits & 0xFF, bool(bits & _COMPLEX), tuple(sizes), text, name.end)

    def _element(self, data: bytes, place: int) -> Element:
        """Return the tag at a place; small data lies in the tag itself."""
        if place + 8 > len(data):
            raise self._damaged("has a variable that is cut short")
        kind, num_bytes = struct.unpack_from(f"{self._order}II", data, place)
        if kind >> 16:
            return Element(kind & 0xFFFF, place + 4, min(kind >> 16, 4), place + 8)
        start = place + 8
        return Element(kind, start, num_bytes, start + num_bytes + -num_bytes % 8)

    def _check(self, one: Variable) -> None:
        header, where = one.header, f"{self.path}: the variable {one.header.name!a}"
        if header.name == "ids" and header.kind in (_CELL, _CHAR):
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

    def _text(self, data: bytes) -> list[str]:
        """Return a cell array of text, or the lines of a matrix of characters."""
        header = self._header(data, 0)
        if header.kind == _CHAR:
            return self._lines(data, header)
        names: list[str] = []
        place = header.end
        for _ in range(math.prod(header.shape)):
            cell = self._element(data, place)
            inside = data[cell.start : cell.start + cell.num_bytes]
            one = self._header(inside, 0) if cell.kind == _MATRIX else None
            lines = self._lines(inside, one) if one is not None and one.kind == _CHAR else []
            if len(lines) != 1:
                raise ImportRefused(f"{self.path}: a cell of ids holds no text.")
            names += lines
            place = cell.end
        return names

    def _lines(self, data: bytes, header: Header) -> list[str]:
        units = self._element(data, header.end)
        encoding = _ENCODINGS.get(units.kind)
        if encoding is None or len(header.shape) != 2:
            raise ImportRefused(f"{self.path}: ids are text of no known kind.")
        if encoding == "utf-16":
            encoding += "-le" if self._order == "<" else "-be"
        try:
            text = data[units.start : units.start + units.num_bytes].decode(encoding)
        except UnicodeDecodeError:
            raise ImportRefused(f"{self.path}: ids are not {encoding}.") from None
        lines, width = header.shape
        if len(text) != lines * width:
            raise self._damaged("has ids of another length")
        return [text[line::lines].rstrip() for line in range(lines)]

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
