"""What can be asked of the jobs of a service; nothing here changes one."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scfae.store.errors import JobNotFound, ServiceError

from . import index
from .database import Database
from .filters import Term
from .folder import JobFolder
from .index import Page
from .jobs import JOB_ID
from .record import JobRecord
from .states import ACTIVE, State


class JobReader:
    """The jobs of a service folder; see `Queue`, which changes them.

    Args:
        folder: The service's folder; made if it is not there.

    Attributes:
        folder: That folder.
        runs: Folder of the jobs' folders.
        database: The index.

    Raises:
        ServiceError: It is a file.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).resolve()
        if self.folder.exists() and not self.folder.is_dir():
            raise ServiceError(f"{folder} is a file; a service is a folder.")
        self.runs = self.folder / "runs"
        self.runs.mkdir(parents=True, exist_ok=True)
        self.database = Database(self.folder / "service.db")

    def has(self, job_id: str) -> bool:
        """Return whether there is such a job; one in the trash is none."""
        return "/" not in job_id and JobFolder(self.runs / job_id).exists()

    def job(self, job_id: str) -> JobFolder:
        """Return the folder of a job.

        Raises:
            JobNotFound: There is none.
        """
        if not self.has(job_id):
            if JOB_ID.match(job_id):
                raise JobNotFound(f"there is no job {job_id}.")
            raise JobNotFound(
                f"there is no job {job_id!r}: a job goes by its id, 12 digits of 0-9 and a-f, as "
                "the list of runs has it."
            )
        return JobFolder(self.runs / job_id)

    def get(self, job_id: str) -> JobRecord:
        """Return a job as it is now, by its folder.

        Raises:
            JobNotFound: There is none.
        """
        return self.job(job_id).record()

    def page(
        self,
        *,
        states: Sequence[State] = (),
        kinds: Sequence[str] = (),
        q: str = "",
        terms: Sequence[Term] = (),
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page:
        """Return a page of jobs, the newest first.

        Args:
            states: Only jobs in these states.
            kinds: Only jobs of these kinds.
            q: Only jobs that have all of these words in id, name, tags, actor or settings.
            terms: Only jobs of which all of these are true; see `facts`.
            cursor: Where to begin, from the page before.
            limit: Jobs a page.

        Raises:
            ConfigError: The cursor is not one of ours.
            FilterError: No job can have what a term names.
        """
        # The index has the figures of runs that ended; of the few that go on it is their folders.
        live = self._live() if terms else {}
        with self.database.reading() as connection:
            return index.find(
                connection,
                states=states,
                kinds=kinds,
                words=q.split(),
                terms=terms,
                live=live,
                cursor=cursor,
                limit=limit,
            )

    def counts(self) -> dict[str, int]:
        """Return how many jobs there are in each state."""
        with self.database.reading() as connection:
            rows = connection.execute("SELECT state, COUNT(*) AS n FROM jobs GROUP BY state")
            return {row["state"]: row["n"] for row in rows}

    def active(self) -> list[JobRecord]:
        """Return the jobs that a worker has, and those between two attempts."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT record FROM jobs WHERE state IN ('starting', 'running', 'interrupted')"
            ).fetchall()
        return [JobRecord.model_validate_json(row["record"]) for row in rows]

    def names(self, job_ids: Sequence[str]) -> dict[str, str]:
        """Return the names of jobs that there are, by id; what a job has no name for is its id."""
        marks = ",".join("?" * len(job_ids))
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT id, json_extract(record, '$.name') AS name FROM jobs "
                f"WHERE id IN ({marks})",
                list(job_ids),
            )
            return {row["id"]: row["name"] or row["id"] for row in rows}

    def waiting(self) -> list[str]:
        """Return the ids of the jobs that wait, in the order in which they will start."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT id FROM jobs WHERE state = 'queued' ORDER BY priority DESC, queued_s, id"
            )
            return [row["id"] for row in rows]

    def oldest_wait_s(self) -> float:
        """Return how long the oldest waiting job has waited, in seconds; 0 for none."""
        with self.database.reading() as connection:
            row = connection.execute(
                "SELECT MIN(queued_s) FROM jobs WHERE state = 'queued'"
            ).fetchone()
        return 0.0 if row[0] is None else max(0.0, time.time() - row[0])

    def _live(self) -> dict[str, dict[str, Any]]:
        """Return how far the runs are that go on, by job."""
        active = [record.id for record in self.active() if record.state in ACTIVE]
        return {job_id: JobFolder(self.runs / job_id).progress() for job_id in active}
