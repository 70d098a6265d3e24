"""The elements that a MATLAB 5 file is made of, parsed from bytes.

A file is a header of 128 bytes and then elements: a tag (type, bytes) and data, padded to 8. A
variable is an element of type 14, or such an element compressed, of type 15; in it lie flags,
dimensions, name and values. Values are column-major, and may be stored in a smaller type than the
variable's class.
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from ..errors import ImportRefused

MATRIX: Final = 14
COMPRESSED: Final = 15
CELL: Final = 1
CHAR: Final = 4
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
class Elements:
    """Parses elements of one file.

    Attributes:
        path: The file, for messages.
        order: `<` or `>`, its byte order.
    """

    path: Path
    order: str

    def header(self, data: bytes, place: int) -> Header:
        """Return what the variable that begins at a place says before its values."""
        flags = self.element(data, place)
        shape = self.element(data, flags.end)
        name = self.element(data, shape.end)
        if flags.num_bytes != 8 or shape.num_bytes % 4 or not 8 <= shape.num_bytes <= 128:
            raise self.damaged("has a variable without flags or dimensions")
        bits = struct.unpack_from(f"{self.order}I", data, flags.start)[0]
        sizes = struct.unpack_from(f"{self.order}{shape.num_bytes // 4}i", data, shape.start)
        if min(sizes) < 0 or name.start + name.num_bytes > len(data):
            raise self.damaged("has a variable without dimensions or name")
        text = data[name.start : name.start + name.num_bytes].decode("latin-1")
        return Header(bits & 0xFF, bool(bits & _COMPLEX), tuple(sizes), text, name.end)

    def element(self, data: bytes, place: int) -> Element:
        """Return the tag at a place; small data lies in the tag itself."""
        if place + 8 > len(data):
            raise self.damaged("has a variable that is cut short")
        kind, num_bytes = struct.unpack_from(f"{self.order}II", data, place)
        if kind >> 16:
            return Element(kind & 0xFFFF, place + 4, min(kind >> 16, 4), place + 8)
        start = place + 8
        return Element(kind, start, num_bytes, start + num_bytes + -num_bytes % 8)

    def text(self, data: bytes) -> list[str]:
        """Return a cell array of text, or the lines of a matrix of characters."""
        header = self.header(data, 0)
        if header.kind == CHAR:
            return self._lines(data, header)
        names: list[str] = []
        place = header.end
        for _ in range(math.prod(header.shape)):
            cell = self.element(data, place)
            inside = data[cell.start : cell.start + cell.num_bytes]
            one = self.header(inside, 0) if cell.kind == MATRIX else None
            lines = self._lines(inside, one) if one is not None and one.kind == CHAR else []
            if len(lines) != 1:
                raise ImportRefused(f"{self.path}: a cell of ids holds no text.")
            names += lines
            place = cell.end
        return names

    def _lines(self, data: bytes, header: Header) -> list[str]:
        units = self.element(data, header.end)
        encoding = _ENCODINGS.get(units.kind)
        if encoding is None or len(header.shape) != 2:
            raise ImportRefused(f"{self.path}: ids are text of no known kind.")
        if encoding == "utf-16":
            encoding += "-le" if self.order == "<" else "-be"
        try:
            text = data[units.start : units.start + units.num_bytes].decode(encoding)
        except UnicodeDecodeError:
            raise ImportRefused(f"{self.path}: ids are not {encoding}.") from None
        lines, width = header.shape
        if len(text) != lines * width:
            raise self.damaged("has ids of another length")
        return [text[line::lines].rstrip() for line in range(lines)]

    def damaged(self, what: str) -> ImportRefused:
        """Return the error that names the file and says what is wrong with it."""
        return ImportRefused(f"{self.path}: is a damaged MATLAB file: it {what}.")
