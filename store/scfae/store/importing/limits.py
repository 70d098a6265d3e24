"""What a source may ask for: bytes that it unpacks to, files that it names, ids that it gives."""

import os
import stat
from pathlib import Path, PurePosixPath
from typing import Final

from ..errors import ImportRefused

MIN_BUDGET_BYTES: Final = 1 << 30
BUDGET_TIMES_FILE: Final = 20
MAX_ID_CHARS: Final = 1000


class ByteBudget:
    """How many bytes one source may unpack to, beyond those that lie in its file as they are.

    A few kilobytes can declare terabytes: a zip of zeros, a chunked HDF5 array never written, a
    tensor of stride zero. Features hardly compress, so a small multiple of the file is enough.

    Args:
        file: Named in the message.
        file_bytes: Its size.
        max_bytes: The limit; None is 20 times the file, at least 1 GiB.
    """

    def __init__(self, file: Path, file_bytes: int, max_bytes: int | None = None) -> None:
        self._file = file
        self._left = (
            max(MIN_BUDGET_BYTES, BUDGET_TIMES_FILE * file_bytes)
            if max_bytes is None
            else max_bytes
        )
        self.limit_bytes = self._left

    def spend(self, num_bytes: int, what: str) -> None:
        """Count bytes that are about to be unpacked.

        Raises:
            ImportRefused: If the source asks for more than its limit.
        """
        self._left -= num_bytes
        if self._left < 0:
            raise ImportRefused(
                f"{self._file}: {what} unpacks to more than {self.limit_bytes} bytes; if you "
                "trust this file, allow more with --max-bytes."
            )


def regular_file(path: Path) -> os.stat_result:
    """Return the status of a regular file; nothing is opened, since opening a pipe would hang.

    Raises:
        ImportRefused: If it is a link, a device, a pipe or not there.
    """
    try:
        status = path.lstat()
    except OSError as error:
        raise ImportRefused(f"{path}: cannot be read ({error.strerror}).") from None
    if stat.S_ISLNK(status.st_mode):
        raise ImportRefused(
            f"{path}: is a symbolic link; put the file itself there, or import the folder that "
            "holds it."
        )
    if not stat.S_ISREG(status.st_mode):
        raise ImportRefused(f"{path}: is not a regular file.")
    return status


def check_id(name: str, where: str | Path) -> str:
    """Return an id that is safe as a name in any store and any export.

    Args:
        name: The id.
        where: The file that gives it, for the message.

    Raises:
        ImportRefused: If it is empty, too long, not text, or would climb out of a folder.
    """
    shown = ascii(name[:80])
    if not name or not name.strip():
        raise ImportRefused(f"{where}: a sample has no id.")
    if len(name) > MAX_ID_CHARS:
        raise ImportRefused(
            f"{where}: the id {shown}… has {len(name)} characters; at most {MAX_ID_CHARS} are kept."
        )
    if any("\ud800" <= char <= "\udfff" for char in name):
        raise ImportRefused(f"{where}: the id {shown} is not UTF-8; rename it.")
    if any(ord(char) < 32 or ord(char) == 127 for char in name):
        raise ImportRefused(f"{where}: the id {shown} holds control characters; rename it.")
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or path.drive or name[1:3] in (":\\", ":/"):
        raise ImportRefused(
            f"{where}: the id {shown} is a path that leads out of its folder; rename it."
        )
    return name


def check_ids(names: list[str], where: str | Path) -> list[str]:
    """Return ids that are safe and all different; raises as `check_id`."""
    seen: set[str] = set()
    for name in names:
        if check_id(name, where) in seen:
            raise ImportRefused(f"{where}: the id {name!a} is there twice; ids must differ.")
        seen.add(name)
    return names
