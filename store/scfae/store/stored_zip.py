"""The directory of an uncompressed zip, read in two system calls.

`zipfile` takes half a millisecond to open an archive and find three members; a shuffled batch may
touch a hundred shards for the first time. Archives that are out of the ordinary (zip64, a comment)
are left to `zipfile`.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from .files import FileWindow, OpenFile

_HEAD_BYTES: Final = 8192  # holds the metadata of a shard and the headers of its chunks
_TAIL_BYTES: Final = 2048
_END: Final = struct.Struct("<4s4H2LH")
_ENTRY: Final = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL: Final = struct.Struct("<4s2B4HL2L2H")


class _Member(NamedTuple):
    header_at: int
    num_bytes: int
    crc: int


class StoredZip:
    """Finds members of an uncompressed zip.

    Args:
        file: The archive.

    Raises:
        ValueError: If it is no zip or is damaged; zipfile.BadZipFile in the rare cases above.
    """

    def __init__(self, file: OpenFile) -> None:
        self._file = file
        self._head = b""
        self._head = self._read(0, min(_HEAD_BYTES, file.num_bytes))
        self._members = self._directory()

    def read(self, name: str) -> bytes:
        """Return the contents of a member, checked against its CRC."""
        start, num_bytes = self.place(name)
        contents = self._read(start, num_bytes)
        if zlib.crc32(contents) != self._members[name].crc:
            raise ValueError(f"{name} does not agree with its CRC")
        return contents

    def holds(self, names: Iterable[str]) -> bool:
        """Return whether all these members are there."""
        return all(name in self._members for name in names)

    def place(self, name: str) -> tuple[int, int]:
        """Return where the contents of a member begin, and how many bytes they are."""
        member = self._members.get(name)
        if member is None:
            raise ValueError(f"it holds no {name}")
        # The local header's own lengths count: its extra field may differ from the directory's.
        wanted = _LOCAL.size + len(name)
        header = self._read(member.header_at, wanted)
        fields = _LOCAL.unpack_from(header)
        if fields[0] != b"PK\x03\x04" or header[_LOCAL.size :] != name.encode():
            raise ValueError(f"the header of {name} is another's")
        start = member.header_at + _LOCAL.size + fields[-2] + fields[-1]
        if start + member.num_bytes > self._file.num_bytes:
            raise ValueError(f"{name} is cut off")
        return start, member.num_bytes

    def _directory(self) -> dict[str, _Member]:
        size = self._file.num_bytes
        length = min(_TAIL_BYTES, size)
        tail = self._head if length == size else self._read(size - length, length)
        if len(tail) < _END.size:
            raise ValueError("it is too short for a zip")
        mark, *_, count, num_bytes, start, comment = _END.unpack_from(tail, len(tail) - _END.size)
        is_plain = mark == b"PK\x05\x06" and comment == 0 and count < 0xFFFF and start < 0xFFFFFFFF
        if not is_plain:
            return self._by_zipfile()
        if start + num_bytes != size - _END.size:
            raise ValueError("its directory is not at its end")
        entries = tail[-_END.size - num_bytes : -_END.size]
        if len(entries) < num_bytes:
            entries = self._read(start, num_bytes)
        members, at = {}, 0
        for _ in range(count):
            fields = _ENTRY.unpack_from(entries, at)
            crc, stored, contents, name_bytes, extra_bytes, note_bytes = fields[9:15]
            if fields[0] != b"PK\x01\x02" or fields[6] != zipfile.ZIP_STORED or stored != contents:
                raise ValueError("its directory is damaged or its members are compressed")
            at += _ENTRY.size
            name = entries[at : at + name_bytes].decode()
            members[name] = _Member(fields[-1], contents, crc)
            at += name_bytes + extra_bytes + note_bytes
        if any(member.num_bytes == 0xFFFFFFFF for member in members.values()):
            return self._by_zipfile()
        return members

    def _by_zipfile(self) -> dict[str, _Member]:
        with zipfile.ZipFile(FileWindow(self._file)) as archive:
            entries = archive.infolist()
        if any(one.compress_type != zipfile.ZIP_STORED for one in entries):
            raise ValueError("its members are compressed")
        return {one.filename: _Member(one.header_offset, one.file_size, one.CRC) for one in entries}

    def _read(self, start: int, num_bytes: int) -> bytes:
        if start + num_bytes <= len(self._head):
            return self._head[start : start + num_bytes]
        out = np.empty(num_bytes, dtype=np.uint8)
        if num_bytes and not self._file.read_into(out, start):
            raise ValueError(f"it ends before byte {start + num_bytes}")
        return out.tobytes()
