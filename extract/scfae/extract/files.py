"""Media files as files: only a regular one is ever opened, since a named pipe would hang."""

import errno
import os
import stat
from pathlib import Path

from scfae.store.atomic import sha256_file
from scfae.store.errors import DecodeError, MediaError, MediaNotFound

from .texts import InlineText, MediaSource

# A download that reserved its space and never came: reading its holes would take minutes.
_SPARSE_BYTES = 1 << 30
_SPARSE_SHARE = 0.1


def check_regular(path: Path) -> None:
    """Check that a path is a regular file that holds something.

    Raises:
        MediaNotFound: If it is not there.
        DecodeError: If it is a folder, a pipe, a device, empty, or a large file of holes.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise MediaNotFound(f"file not found: {path}") from None
    except OSError as error:
        raise DecodeError(f"cannot be opened ({error.strerror}): {path}") from None
    except ValueError:  # a zero byte
        raise DecodeError(f"no file can have this path: {str(path)!r}") from None
    if not stat.S_ISREG(status.st_mode):
        raise DecodeError(f"not a regular file: {path}")
    if status.st_size == 0:
        raise DecodeError(f"the file is empty: {path}")
    if status.st_size >= _SPARSE_BYTES:
        try:
            held = _held_bytes(path, status.st_size)
        except OSError as error:
            raise DecodeError(f"cannot be read ({error.strerror}): {path}") from None
        if held < _SPARSE_SHARE * status.st_size:
            raise DecodeError(
                f"only {held} of the file's {status.st_size} bytes were ever written: {path}"
            )


def media_sha256(path: MediaSource) -> str | None:
    """Return the digest of a media file, None if it is not a regular file that can be read."""
    if isinstance(path, InlineText):
        return path.sha256
    try:
        check_regular(path)
        return sha256_file(path)
    except (MediaError, OSError):
        return None


def printable(text: str) -> str:
    r"""Return a text with a file's name in it for a person: odd bytes and line ends as `\udcff`."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def _held_bytes(path: Path, size: int) -> int:
    """Return how much of a file is no hole; all of it where the file system cannot tell."""
    held = place = 0
    descriptor = os.open(path, os.O_RDONLY)
    try:
        while place < size:
            try:
                begin = os.lseek(descriptor, place, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # a hole to the end
                    return held
                raise
            place = os.lseek(descriptor, begin, os.SEEK_HOLE)
            held += place - begin
    finally:
        os.close(descriptor)
    return held
