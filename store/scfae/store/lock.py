"""One writer a folder: a lock file that names its holder and is free when the holder dies.

The kernel's lock on the file counts, not the file: that of a killed process is free at once. Some
shared file systems keep such locks to each host, so there the file counts too: its holder touches
it every `BEAT_S`, and another host's lock is taken over only when it has been still for
`EXPIRY_S`, by the file system's own clock. A holder that was thought dead and is not finds out
before its next commit, by `FolderLock.check`.
"""

import fcntl
import json
import os
import socket
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from .atomic import said_when_full
from .errors import StoreLocked

LOCK_NAME: Final = ".lock"
BEAT_S: Final = 10.0
EXPIRY_S: Final = 60.0
_MOST_BYTES = 4096


class FolderLock:
    """Holds a folder for one writer; use it in a `with` block.

    The file says who holds the folder and since when, and is removed on release.

    Args:
        folder: What is locked.
        what: Its name in the error's sentence, e.g. `column 'ge2e'`.

    Raises:
        StoreLocked: On entering, if another process holds the folder.
        StoreFull: On entering, if there is no space for the file.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self._path = folder / LOCK_NAME
        self._what = what
        self._descriptor: int | None = None
        self._words = b""
        self._released = threading.Event()
        self._beating: threading.Thread | None = None

    def __enter__(self) -> Self:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                self._take(descriptor)
                if self._is_current(descriptor):
                    self._refuse_living(descriptor)
                    self._words = json.dumps(_here()).encode()
                    os.ftruncate(descriptor, 0)
                    with said_when_full(self._path):
                        os.pwrite(descriptor, self._words, 0)
                    break
            except BaseException:
                os.close(descriptor)
                raise
            # The last holder removed the file between our open and our lock: take the new one.
            os.close(descriptor)
        self._descriptor = descriptor
        self._released.clear()
        self._beating = threading.Thread(target=self._beat, args=(descriptor,), daemon=True)
        self._beating.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._descriptor is None or self._beating is None:
            return
        self._released.set()
        self._beating.join()
        if self._is_mine(self._descriptor):
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None

    def check(self) -> None:
        """Check that the folder is still held.

        Raises:
            StoreLocked: If this process was thought dead, e.g. while it was suspended, and another
                host has taken the folder over.
        """
        if self._descriptor is None or not self._is_mine(self._descriptor):
            raise StoreLocked(
                f"{self._what} is no longer held by this process: its lock expired, and "
                "another took it over or removed it; nothing more is written. Run the same again."
            )

    def _take(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreLocked(
                f"{self._what} is being written: locked by {_name(_holder(descriptor))}; "
                "wait for it, or stop it"
            ) from None
        except OSError as error:
            raise StoreLocked(
                f"{self._what} cannot be locked: the file system of {self._path} says "
                f"'{error.strerror}'; mount it with locks, or write to another one"
            ) from None

    def _refuse_living(self, descriptor: int) -> None:
        """Raise if another host's process has touched the file of late."""
        holder = _holder(descriptor)
        if holder is None or holder["host"] == socket.gethostname():
            return
        with tempfile.TemporaryFile(dir=self._path.parent) as now:
            still_s = os.fstat(now.fileno()).st_mtime - os.fstat(descriptor).st_mtime
        if still_s < EXPIRY_S:
            raise StoreLocked(
                f"{self._what} is being written: locked by {_name(holder)}, seen "
                f"{max(0, still_s):.0f} s ago; wait for it, or stop it: its "
                f"lock expires {EXPIRY_S:.0f} s after its end"
            )

    def _beat(self, descriptor: int) -> None:
        while not self._released.wait(BEAT_S):
            os.utime(descriptor)

    def _is_mine(self, descriptor: int) -> bool:
        is_unchanged = os.pread(descriptor, _MOST_BYTES, 0) == self._words
        return is_unchanged and self._is_current(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False


def _here() -> dict[str, str | int]:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}


def _holder(descriptor: int) -> dict[str, Any] | None:
    """Return what the file says of its holder; None if it says nothing that can be read."""
    try:
        holder = json.loads(os.pread(descriptor, _MOST_BYTES, 0))
        return (
            {key: holder.get(key) for key in ("pid", "host", "since")} if holder["host"] else None
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _name(holder: dict[str, Any] | None) -> str:
    if holder is None:
        return "another process"
    since = f" since {holder['since']}" if holder["since"] else ""
    return f"process {holder['pid']} on {holder['host']}{since}"
