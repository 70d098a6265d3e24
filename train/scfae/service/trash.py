"""The trash of a service: jobs that were deleted, until it is emptied."""

import secrets
import shutil
from pathlib import Path
from typing import Final

from scfae.store.config import Frozen
from scfae.store.errors import JobNotFound, ScfaeError

from .disk import bytes_in
from .folder import JobFolder
from .queue import Queue
from .record import JobRecord

_LEAVING: Final = ".leaving-"


class Discarded(Frozen):
    """A job in the trash.

    Attributes:
        entry: Its name there.
        id: Of the job.
        name: What people call it.
        kind: train, sweep, …
        state: That it ended in.
        size_bytes: What is freed when it goes.
        discarded_s: When it was deleted, in seconds since 1970.
    """

    entry: str
    id: str
    name: str
    kind: str
    state: str
    size_bytes: int
    discarded_s: float


class TrashView(Frozen):
    """The trash.

    Attributes:
        jobs: Those deleted last first.
        size_bytes: Of all.
    """

    jobs: tuple[Discarded, ...]
    size_bytes: int


class Emptied(Frozen):
    """What emptying the trash did.

    Attributes:
        num_jobs: Jobs that are gone for good.
        freed_bytes: What they took.
    """

    num_jobs: int
    freed_bytes: int


class Trash:
    """The trash of a queue.

    Args:
        queue: The jobs.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._folder = queue.folder / "trash"

    def view(self) -> TrashView:
        """Return what is in the trash."""
        jobs = sorted(map(_discarded, self._entries()), key=lambda one: -one.discarded_s)
        return TrashView(jobs=tuple(jobs), size_bytes=sum(one.size_bytes for one in jobs))

    def restore(self, entry: str) -> JobRecord:
        """Put a job back where it was.

        Args:
            entry: Its name in the trash.

        Raises:
            JobNotFound: There is no such entry.
            JobStateError: There is a job of its id again.
        """
        path = self._folder / entry
        if path not in self._entries():
            raise JobNotFound(f"there is no {entry} in the trash.")
        return self._queue.restore(path)

    def empty(self, entry: str | None = None) -> Emptied:
        """Remove what is in the trash for good; return what that freed.

        Args:
            entry: Only this one.

        Raises:
            JobNotFound: There is no such entry.
        """
        entries = [path for path in self._entries() if entry in (None, path.name)]
        if entry is not None and not entries:
            raise JobNotFound(f"there is no {entry} in the trash.")
        # Out of reach of `restore` first; what a kill leaves, the next time takes.
        with self._queue.database.writing():
            leaving = list(self._folder.glob(f"{_LEAVING}*"))
            for path in entries:
                aside = path.with_name(f"{_LEAVING}{secrets.token_hex(6)}")
                try:
                    path.rename(aside)
                except FileNotFoundError:
                    continue  # restored meanwhile
                leaving.append(aside)
        freed = 0
        for path in leaving:
            freed += bytes_in(path)
            shutil.rmtree(path)
        return Emptied(num_jobs=len(leaving), freed_bytes=freed)

    def _entries(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [path for path in sorted(self._folder.iterdir()) if not path.name.startswith(".")]


def _discarded(path: Path) -> Discarded:
    facts = {"id": path.name.partition("-")[0], "name": "", "kind": "", "state": "damaged"}
    try:
        record = JobFolder(path).record()
        facts = {name: str(getattr(record, name)) for name in facts}
    except ScfaeError:
        pass  # it can still be removed
    return Discarded(
        entry=path.name,
        size_bytes=bytes_in(path),
        discarded_s=path.stat().st_ctime,  # the last renaming
        **facts,
    )
