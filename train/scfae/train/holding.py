"""A folder that one process holds at a time; the system lets go of it when the process dies."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scfae.store.errors import RunStateError

LOCK_FILE = ".lock"


@contextmanager
def hold(folder: Path, taken: str) -> Iterator[None]:
    """Hold a folder for this process.

    Args:
        folder: It must be there.
        taken: How the sentence begins that says who holds it, if another process does.

    Raises:
        RunStateError: Another process holds it; names that one.
    """
    with open(folder / LOCK_FILE, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise RunStateError(f"{taken} {holder}.") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
