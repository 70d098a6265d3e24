"""Files that are whole or not there: write aside, fsync, rename, fsync the folder."""

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from .errors import StoreFull

TEMPORARY: Final = ".tmp-"
_BLOCK_BYTES = 1 << 20
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file that takes the place of `path` when the block ends without an error.

    A kill at any instant leaves the old file or the new one, and perhaps a temporary in the same
    folder, which `clean_temporaries` removes.

    Raises:
        StoreFull: If there is no space for it.
    """
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    try:
        with said_when_full(path):
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


@contextmanager
def said_when_full(path: Path) -> Iterator[None]:
    """Turn the error of a full file system, or quota, into one sentence about `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise StoreFull(
            f"{path} cannot be written: there is no space left. What was committed is whole; make "
            "space and run the same command again."
        ) from None


def write_atomic(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with atomic_file(Path(path)) as file:
        file.write(data)


def remove(path: Path) -> None:
    """Remove a file, so that it stays removed after a power cut; nothing if it is not there."""
    path.unlink(missing_ok=True)
    fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clean_temporaries(folder: str | Path) -> None:
    """Remove what a killed writer left in a folder; the caller holds the folder's lock."""
    for path in Path(folder).glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)


def sha256_file(path: str | Path) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    hasher = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            hasher.update(block)
    return hasher.hexdigest()
