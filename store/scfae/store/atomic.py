"""Files that are whole or not there: write aside, fsync, rename, fsync the folder."""

import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from .errors import StoreFull

TEMPORARY: Final = ".tmp-"
_BLOCK_BYTES = 1 << 20
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic_file(path: Path, *, is_durable: bool = True) -> Iterator[IO[bytes]]:
    """Yield a file that takes the place of `path` when the block ends without an error.

    A kill at any instant leaves the old file or the new one, and perhaps a temporary in the same
    folder, which `clean_temporaries` removes.

    Args:
        path: The file.
        is_durable: So does a power cut; otherwise that may leave anything under the name.

    Raises:
        StoreFull: If there is no space for it.
    """
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    try:
        with said_when_full(path):
            with temporary.open("xb") as file:
                yield file
                if is_durable:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if is_durable:
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


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder that takes the place of `path` when the block ends without an error.

    A kill at any instant leaves the old folder, the new one or none; what else it leaves is
    temporary.

    Raises:
        StoreFull: If there is no space for it.
    """
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    try:
        with said_when_full(path):
            temporary.mkdir()
            yield temporary
            for folder, _, files in os.walk(temporary):
                for name in files:
                    fsync_folder(Path(folder, name))
                fsync_folder(Path(folder))
            if path.exists():
                aside = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
                path.rename(aside)
                temporary.rename(path)
                shutil.rmtree(aside)
            else:
                temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    fsync_folder(path.parent)


def copy_atomic(source: Path, path: Path) -> None:
    """Copy a file, or a folder with all that is in it, to `path`, whole or not at all."""
    if source.is_dir():
        with atomic_folder(path) as folder:
            shutil.copytree(source, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
    else:
        with source.open("rb") as old, atomic_file(path) as new:
            shutil.copyfileobj(old, new, _BLOCK_BYTES)


def write_atomic(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with atomic_file(Path(path)) as file:
        file.write(data)


def remove(path: Path) -> None:
    """Remove a file, so that it stays removed after a power cut; nothing if it is not there."""
    path.unlink(missing_ok=True)
    fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder, or the bytes of a file, survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clean_temporaries(folder: str | Path) -> None:
    """Remove what a killed writer left in a folder; the caller holds the folder's lock."""
    for path in Path(folder).glob(f"{TEMPORARY}*"):
        discard(path)


def discard(path: Path) -> None:
    """Remove a file or a folder with all that is in it; nothing if it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files of a folder.

    Raises:
        FileNotFoundError: If there is neither.
    """
    if not path.is_dir():
        return path.stat().st_size
    return sum(status.st_size for _, _, status in _files_of(path))


def sha256_file(path: str | Path) -> str:
    """Return the sha256 of a file's bytes, in hex; for a folder that of all its files.

    A folder's is the digest of one line a file, in the order of their names as bytes: the name
    relative to the folder with `/`, a space, and the sha256 of the file. A link or a device counts
    as `-`.
    """
    path = Path(path)
    hasher = hashlib.sha256()
    if path.is_dir():
        for name, file, status in _files_of(path):
            sha256 = sha256_file(file) if stat.S_ISREG(status.st_mode) else "-"
            hasher.update(f"{name} {sha256}\n".encode("utf-8", "surrogateescape"))
        return hasher.hexdigest()
    with path.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            hasher.update(block)
    return hasher.hexdigest()


def _files_of(folder: Path) -> list[tuple[str, Path, os.stat_result]]:
    """Return name, path and status of all that is in a folder at any depth, by name."""
    found = []
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in (*files, *links):
            path = Path(parent, name)
            try:
                found.append((path.relative_to(folder).as_posix(), path, path.lstat()))
            except FileNotFoundError:
                continue  # it went meanwhile, so the folder is another one already
    return sorted(found, key=lambda one: os.fsencode(one[0]))
