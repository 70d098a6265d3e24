"""A bounded pool of open files for positioned reads from several threads.

`pread` and not `mmap`: a map of a file that someone truncates kills the process with SIGBUS, while
a short read is an error that can name the shard. It has no shared seek position either, so threads
and forked children can read the same file.
"""

import hashlib
import io
import os
import resource
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from typing_extensions import Buffer

_BLOCK_BYTES = 1 << 20
_MAX_BUFFERS = 1000  # of one preadv; Linux takes 1024
_MAX_OPEN = 1024
_YOUNG_NS = 2_000_000_000  # the coarsest clock of a file system in use (FAT)
Check = Literal["never", "first-read", "always"]
_CHECKED: dict[tuple[str, str], tuple[int, ...]] = {}
"""Signatures of the files that this process has compared with their digests, by path and digest."""


class OpenFile:
    """A file opened for reading, closed when the last reference goes.

    Eviction from the pool only drops a reference, so a thread in mid-read keeps its descriptor.

    Args:
        path: The file.
        folder: Descriptor of the folder that `path` is relative to.

    Attributes:
        descriptor: Of the open file.
        is_checked: Whoever opened it has made sure that it is the version asked for.
        num_bytes: Its size on disk.
    """

    def __init__(self, path: Path | str, *, folder: int | None = None) -> None:
        self.is_checked = False
        self.descriptor = -1
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        self.num_bytes = os.fstat(self.descriptor).st_size

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)

    @property
    def end(self) -> int:
        """Where positions end: its size, if bytes are stored as they are."""
        return self.num_bytes

    def signature(self) -> tuple[int, ...] | None:
        """Return what changes with its contents, times last; None if nothing surely does."""
        stat = os.fstat(self.descriptor)
        return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns

    def sha256(self) -> str:
        """Return the digest of its bytes on disk."""
        hasher = hashlib.sha256()
        window = FileWindow(self)
        while block := window.read(_BLOCK_BYTES):
            hasher.update(block)
        return hasher.hexdigest()

    def read_into(self, out: npt.NDArray[Any], offset: int) -> bool:
        """Fill the contiguous array `out` from `offset` on; False if the file ends before."""
        view = out.reshape(-1).view(np.uint8)
        done = 0
        while done < view.nbytes:
            count = os.preadv(self.descriptor, [view[done:].data], offset + done)
            if count == 0:
                return False
            done += count
        return True

    def read_into_many(self, buffers: list[memoryview], offset: int) -> bool:
        """Fill buffers one after the other from `offset` on; False if the file ends before.

        Args:
            buffers: Writable, of bytes, none empty.
            offset: Where the first byte lies.
        """
        if len(buffers) == 1 and os.preadv(self.descriptor, buffers, offset) == len(buffers[0]):
            return True  # nearly always, in a shuffled stream
        for start in range(0, len(buffers), _MAX_BUFFERS):
            some = buffers[start : start + _MAX_BUFFERS]
            wanted = sum(map(len, some))
            done = os.preadv(self.descriptor, some, offset)
            if done != wanted and not self._read_rest(some, offset, done=done):
                return False
            offset += wanted
        return True

    def _read_rest(self, buffers: list[memoryview], offset: int, *, done: int) -> bool:
        """Go on after a read that was cut short, by a signal or by the end of the file."""
        for buffer in buffers:
            skipped = min(done, len(buffer))
            rest, done = buffer[skipped:], done - skipped
            if not self.read_into(np.frombuffer(rest, dtype=np.uint8), offset + skipped):
                return False
            offset += len(buffer)
        return True

    def will_need(self) -> None:
        """Ask the operating system to read the file ahead; it returns at once."""
        os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_WILLNEED)


class BorrowedFile(OpenFile):
    """The bytes of another open file as they lie on disk; valid as long as that is open."""

    def __init__(self, file: OpenFile) -> None:
        self.is_checked = file.is_checked
        self.descriptor = file.descriptor
        self.num_bytes = file.num_bytes

    def __del__(self) -> None:
        """Leave the descriptor to its owner."""


class SpreadFile(OpenFile, ABC):
    """A shard whose positions are not those of bytes in one file; a format says what they mean."""

    def read_into(self, out: npt.NDArray[Any], offset: int) -> bool:
        """Fill the contiguous array `out` from `offset` on; False if the shard is damaged.

        Raises:
            OSError: If it is not the shard that is at fault: too many open files, no permission.
        """
        try:
            return self.read_part(out.reshape(-1).view(np.uint8), offset)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return False
        except Exception as error:  # altered bytes make parsers raise a dozen kinds
            if isinstance(error, MemoryError) or getattr(error, "errno", None) is not None:
                raise
            return False

    def read_into_many(self, buffers: list[memoryview], offset: int) -> bool:
        """Fill buffers one after the other from `offset` on; False if that cannot be read."""
        for buffer in buffers:
            if not self.read_into(np.frombuffer(buffer, dtype=np.uint8), offset):
                return False
            offset += len(buffer)
        return True

    @abstractmethod
    def read_part(self, out: npt.NDArray[np.uint8], offset: int) -> bool:
        """Fill the bytes `out` from `offset` on; False if they end before.

        What it raises means damage, but for errors of the system and a lack of memory.
        """


class WrongBytes(ValueError):
    """A file's bytes are not those of the version asked for."""


class FilePool:
    """The most recently used files, at most `capacity` open at a time.

    Args:
        capacity: How many; by default half of what the process may open, at most 1,024. A shuffled
            stream goes to and fro between the files of two windows.
        check: When a file is read whole and its sha256 compared with the version: whenever it is
            opened (`always`), the first time that this process opens it as it now lies on disk
            (`first-read`), or not at all (`never`).

    Attributes:
        fetch: Brings a file that is not there, or raises FileNotFoundError; None brings nothing.
    """

    def __init__(self, capacity: int | None = None, *, check: Check = "never") -> None:
        if capacity is None:
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            capacity = _MAX_OPEN if limit < 0 else min(_MAX_OPEN, max(1, limit // 2))
        self._capacity = capacity
        self._check = check
        self.fetch: Callable[[Path], None] | None = None
        self._reset()

    def _reset(self) -> None:
        self._files: OrderedDict[tuple[Path | str, str], OpenFile] = OrderedDict()
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def __reduce__(self) -> tuple[Callable[..., "FilePool"], tuple[int]]:
        # Descriptors and locks stay behind when a view goes to another process.
        return (partial(FilePool, check=self._check), (self._capacity,))

    def __len__(self) -> int:
        return len(self._files)

    def get(self, path: Path | str, version: str = "") -> OpenFile:
        """Return the file at `path`, open.

        Args:
            path: The file.
            version: Digest of its contents: a file that took another's place is opened anew.

        Raises:
            OSError: If it cannot be opened.
            WrongBytes: If the pool checks, and the sha256 of the file is not `version`.
        """
        if self._pid != os.getpid():
            self._reset()  # after a fork the lock may be held by a thread that does not exist here
        with self._lock:
            file = self._files.get((path, version))
            if file is not None:
                self._files.move_to_end((path, version))
                return file
        file = self._open(path)  # outside the lock: fetching and checking may take long
        if self._check != "never":
            _check(file, str(path), version, is_first=self._check == "first-read")
        with self._lock:
            file = self._files.setdefault((path, version), file)
            if len(self._files) > self._capacity:
                self._files.popitem(last=False)
            return file

    def _open(self, path: Path | str) -> OpenFile:
        from .container import open_shard  # which imports this module

        while True:
            try:
                return open_shard(path)
            except FileNotFoundError:
                if self.fetch is None:
                    raise
                self.fetch(Path(path))

    def forget(self, path: Path | str, version: str = "") -> None:
        """Drop a file, so that the next use opens it anew."""
        with self._lock:
            self._files.pop((path, version), None)

    def forget_path(self, path: Path) -> None:
        """Drop a file whatever its version, so that its space is free once it is removed."""
        with self._lock:
            for key in [key for key in self._files if str(key[0]) == str(path)]:
                del self._files[key]


def _check(file: OpenFile, path: str, version: str, *, is_first: bool) -> None:
    """Compare a file with its digest, unless that was done before and it has not changed since."""
    signature = file.signature()
    if is_first and signature is not None and _CHECKED.get((path, version)) == signature:
        return
    began_ns = time.time_ns()
    if file.sha256() != version:
        raise WrongBytes(path)
    # A file so young may change once more within the same tick of the clock that dated it.
    if signature is not None and began_ns - max(signature[-2:]) > _YOUNG_NS:
        _CHECKED[path, version] = signature


class FileWindow(io.RawIOBase):
    """A seekable file over an open descriptor, with a position of its own, for parsers."""

    def __init__(self, file: OpenFile) -> None:
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move and return the position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.num_bytes}
        if base[whence] + offset < 0:
            raise OSError("a seek before the beginning")  # which zipfile expects of a short file
        self._position = base[whence] + offset
        return self._position

    def readinto(self, buffer: "Buffer") -> int:
        """Fill `buffer` as far as the file goes; return how many bytes that is."""
        out = np.frombuffer(memoryview(buffer), dtype=np.uint8)
        count = min(out.size, max(0, self._file.num_bytes - self._position))
        if count and not self._file.read_into(out[:count], self._position):
            raise EOFError("the file is shorter than when it was opened")
        self._position += count
        return count
