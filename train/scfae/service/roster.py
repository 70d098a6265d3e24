"""The workers of a service: who lives, who has gone, who is to take no more jobs."""

import time

from scfae.store.config import Frozen
from scfae.store.errors import JobNotFound

from .database import Database
from .processes import is_alive
from .record import Process

SILENT_S = 90.0
"""A worker that said nothing for so long, and whose process cannot be seen from here, is lost."""


class WorkerRecord(Frozen):
    """A worker as it last told of itself.

    Attributes:
        id: Its name.
        process: Its own process.
        host: Its machine's name.
        num_slots: Jobs at a time.
        gpus: One a slot.
        on_stop: leave or checkpoint.
        seen_s: When it last told, in seconds since 1970.
        is_draining: It takes no more jobs and ends with its last.
    """

    id: str
    process: Process
    host: str
    num_slots: int
    gpus: tuple[str, ...]
    on_stop: str
    seen_s: float = 0.0
    is_draining: bool = False


class Roster:
    """The table of workers; it is not kept in folders, for it means nothing after a restart.

    Args:
        database: The service's index.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def beat(self, record: WorkerRecord) -> bool:
        """Write down that a worker lives; return whether it is to be drained."""
        with self._database.writing() as connection:
            row = connection.execute(
                "SELECT record FROM workers WHERE id = ?", [record.id]
            ).fetchone()
            is_draining = bool(row) and WorkerRecord.model_validate_json(row[0]).is_draining
            told = record.model_copy(update={"seen_s": time.time(), "is_draining": is_draining})
            connection.execute(
                "INSERT OR REPLACE INTO workers (id, seen_s, record) VALUES (?, ?, ?)",
                [told.id, told.seen_s, told.model_dump_json()],
            )
        return is_draining

    def remove(self, worker: str) -> None:
        """Strike a worker that ends."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM workers WHERE id = ?", [worker])

    def workers(self) -> list[WorkerRecord]:
        """Return the workers, those that have gone struck."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT record FROM workers ORDER BY id").fetchall()
        workers = [WorkerRecord.model_validate_json(row[0]) for row in rows]
        return [one for one in workers if not _is_lost(one)]

    def is_gone(self, worker: str) -> bool:
        """Return whether nobody of this name works any more."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT record FROM workers WHERE id = ?", [worker]).fetchone()
        return row is None or _is_lost(WorkerRecord.model_validate_json(row[0]))

    def drain(self, worker: str) -> WorkerRecord:
        """Have a worker take no more jobs and end with its last.

        Raises:
            JobNotFound: There is no such worker.
        """
        with self._database.writing() as connection:
            row = connection.execute("SELECT record FROM workers WHERE id = ?", [worker]).fetchone()
            if row is None:
                raise JobNotFound(f"there is no worker {worker}.")
            record = WorkerRecord.model_validate_json(row[0])
            record = record.model_copy(update={"is_draining": True})
            connection.execute(
                "UPDATE workers SET record = ? WHERE id = ?", [record.model_dump_json(), worker]
            )
        return record


def _is_lost(worker: WorkerRecord) -> bool:
    silent_s = time.time() - worker.seen_s
    alive = is_alive(worker.process)
    if alive is None:
        return silent_s > SILENT_S
    # A process that has gone needs no waiting for: its number and start time are its own.
    return not alive
