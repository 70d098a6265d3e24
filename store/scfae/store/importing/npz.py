"""`.npz` archives: a zip of `.npy` members, read without trusting what either declares."""

import math
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..atomic import sha256_file
from ..errors import ImportRefused
from ..files import FileWindow, OpenFile
from .archive import ArchiveSource
from .arrays import Array, FileArray, shaped
from .limits import ByteBudget, regular_file
from .npy import HEAD_BYTES, NpyHeader, parse_header
from .source import Source

_LOCAL_HEADER_BYTES = 30
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class PackedArray:
    """A compressed member, unpacked at every read."""

    archive: "Npz"
    member: zipfile.ZipInfo
    header: NpyHeader

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.header.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its dtype."""
        return self.header.dtype

    def read(self, first: int, last: int) -> npt.NDArray[Any]:
        """Return entries `first` to `last` of the first axis."""
        data = b"".join(self.archive.unpack(self.member))
        flat = np.frombuffer(data, self.dtype, math.prod(self.shape), offset=self.header.offset)
        return shaped(flat, self.shape, is_fortran=self.header.is_fortran)[first:last]


class Npz:
    """The arrays of an open `.npz`.

    Args:
        file: The file, open.
        path: Its name, for messages.
        budget: What its compressed members may unpack to.

    Raises:
        ImportRefused: If it is no zip of arrays, or unpacks to more than the budget.
    """

    form = "npz"

    def __init__(self, file: OpenFile, path: Path, budget: ByteBudget) -> None:
        self._file = file
        self.path = path
        try:
            self._zip = zipfile.ZipFile(FileWindow(file))
            members = self._zip.infolist()
        except Exception as error:  # hostile directories make the parser raise a dozen kinds
            raise ImportRefused(f"{path}: is not a readable .npz ({error}).") from None
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in members:
            self._check(member)
            name = member.filename.removesuffix(".npy")
            if name in self._members:
                raise ImportRefused(f"{path}: holds {name!a} twice.")
            self._members[name] = member
            if member.compress_type != zipfile.ZIP_STORED:
                budget.spend(member.file_size, ascii(name))

    @property
    def names(self) -> list[str]:
        """Names of the arrays."""
        return list(self._members)

    def array(self, name: str, *, often: bool = False) -> Array:
        """Return an array.

        Args:
            name: Its name.
            often: It will be read in many parts: unpack it once, into a temporary file.
        """
        member = self._members[name]
        where = f"{self.path}, {name!a}"
        head = b""
        for block in self.unpack(member, HEAD_BYTES):
            head = block
            break
        header = parse_header(head, member.file_size, where)
        if member.compress_type == zipfile.ZIP_STORED:
            file, start = self._file, self._place(member)
        elif often:
            file, start = self._spool(member), 0
        else:
            return PackedArray(self, member, header)
        return FileArray(
            file,
            self.path,
            start + header.offset,
            header.shape,
            header.dtype,
            is_fortran=header.is_fortran,
        )

    def unpack(self, member: zipfile.ZipInfo, block_bytes: int = _BLOCK_BYTES) -> Iterator[bytes]:
        """Yield the bytes of a member in blocks; never more than it declares."""
        with self._reading(member) as stream:
            while block := stream.read(block_bytes):
                yield block

    def close(self) -> None:
        """Close the archive."""
        self._zip.close()

    def _check(self, member: zipfile.ZipInfo) -> None:
        shown = ascii(member.filename[:80])
        if member.flag_bits & 1:
            raise ImportRefused(f"{self.path}: {shown} is encrypted.")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ImportRefused(f"{self.path}: {shown} is compressed in a way that .npz never is.")
        if not member.filename.endswith(".npy"):
            raise ImportRefused(f"{self.path}: holds {shown}, which is not a .npy array.")
        if member.compress_type == zipfile.ZIP_STORED and member.file_size != member.compress_size:
            raise ImportRefused(f"{self.path}: {shown} has two sizes; the archive is damaged.")

    @contextmanager
    def _reading(self, member: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
        try:
            with self._zip.open(member) as stream:
                yield stream
        except ImportRefused:
            raise
        except Exception as error:  # what damage makes of zlib and zipfile
            raise ImportRefused(
                f"{self.path}: {member.filename!a} cannot be unpacked ({error})."
            ) from None

    def _place(self, member: zipfile.ZipInfo) -> int:
        """Return where a stored member's bytes begin in the archive."""
        head = np.empty(_LOCAL_HEADER_BYTES, dtype=np.uint8)
        if not self._file.read_into(head, member.header_offset):
            raise ImportRefused(f"{self.path}: ends inside {member.filename!a}.")
        name_bytes, extra_bytes = np.frombuffer(head[26:30].tobytes(), "<u2").tolist()
        start = int(member.header_offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes)
        if start + member.file_size > self._file.num_bytes:
            raise ImportRefused(f"{self.path}: ends inside {member.filename!a}.")
        return start

    def _spool(self, member: zipfile.ZipInfo) -> OpenFile:
        with tempfile.NamedTemporaryFile(prefix="scfae-import-") as temporary:
            for block in self.unpack(member):
                temporary.write(block)
            temporary.flush()
            return OpenFile(Path(temporary.name))  # lives on until the last reference goes


def open_npz(path: Path, *, key: str | None, max_bytes: int | None) -> Source:
    """Return one `.npz` of many samples as a source; raises as `open_source`."""
    num_bytes = regular_file(path).st_size
    archive = Npz(OpenFile(path), path, ByteBudget(path, num_bytes, max_bytes))
    return ArchiveSource(archive, key=key, sha256=sha256_file(path))
