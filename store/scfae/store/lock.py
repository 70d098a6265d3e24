"""One writer a folder: a lock file that names its holder and is free when the holder dies."""

import fcntl
import json
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from .errors import StoreLocked

LOCK_NAME: Final = ".lock"


class FolderLock:
    """Holds a folder for one writer; use it in a `with` block.

    The kernel's lock on the file counts, not the file: that of a killed process is free at once.
    The file says who holds it and is removed on release.

    Args:
        folder: What is locked.
        what: Its name in the error's sentence, e.g. `column 'ge2e'`.

    Raises:
        StoreLocked: On entering, if another process holds the folder.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self._path = folder / LOCK_NAME
        self._what = what
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _holder(descriptor)
                os.close(descriptor)
                raise StoreLocked(
                    f"{self._what} is being written by {holder}; wait for it, or stop it"
                ) from None
            if self._is_current(descriptor):
                break
            # The last holder removed the file between our open and our lock: take the new one.
            os.close(descriptor)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(_here()).encode())
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False


def _here() -> dict[str, str | int]:
    return {"pid": os.getpid(), "host": socket.gethostname()}


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
