"""The queue: the one way to change a job.

Every change is appended to the job's folder first and then brought into the index, both under the
index's write lock. A kill in between leaves the index behind; whoever touches the job next sees
that the folder is ahead and believes the folder.
"""

import hashlib
import secrets
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from scfae.store.atomic import TEMPORARY, clean_temporaries
from scfae.store.config import digest
from scfae.store.errors import (
    ConfigError,
    EditConflict,
    JobNotFound,
    JobStateError,
    ServiceError,
)
from scfae.store.header import STORE_FILE

from . import index
from .etags import etag
from .filters import Term
from .folder import JobFolder, job_folders
from .jobs import JobRequest
from .models import refuse_promoted
from .reader import JobReader
from .record import HistoryEvent, JobRecord, Process, Submitted, Wish, apply
from .roots import Roots
from .states import ACTIVE, ENDED, STATES, State, check_move

EDITABLE = ("name", "tags", "notes", "priority")


class Queue(JobReader):
    """The jobs of a service folder, and every change of them.

    Args:
        folder: The service's folder; made if it is not there.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        self._take_up()

    @classmethod
    def existing(cls, folder: str | Path) -> "Queue":
        """Open the jobs of a service that is there.

        Raises:
            ServiceError: There is none.
        """
        if not (Path(folder) / "runs").is_dir():
            raise ServiceError(f"{folder} is no service's folder: there is no runs/ in it.")
        return cls(folder)

    def submit(
        self, request: JobRequest, *, actor: str, roots: Roots, key: str | None = None
    ) -> JobRecord:
        """Take a job; when this returns, it survives whatever is killed.

        Args:
            request: As it came; it is checked here.
            actor: Who asks.
            roots: What the request may name.
            key: The same request under the same key is the same job.

        Raises:
            ConfigError: A setting cannot be used, its store is not there and no job makes it, or
                the key was used for another request.
        """
        try:
            asked = digest(request.model_dump(mode="json"))
        except ValueError as error:  # a NaN, an infinity, half of a surrogate pair
            raise ConfigError(f"the request cannot be written down as JSON: {error}.") from None
        if key is None:
            job_id = secrets.token_hex(6)
        else:
            job_id = hashlib.sha256(f"{actor}\0{key}".encode()).hexdigest()[:12]
            # The folder answers, not the index: it may be there without a row, after a kill.
            if JobFolder(self.runs / job_id).exists():
                return self._same(job_id, asked)
        checked = request.checked(roots, self.runs)
        self._check_store(checked.job.reads)
        submitted = Submitted(
            id=job_id,
            actor=actor,
            time_s=time.time(),
            key=key,
            request=checked,
            asked=asked,
        )
        folder = JobFolder(self.runs / job_id)
        with self.database.writing() as connection:
            if folder.exists():
                return self._same(job_id, asked)
            folder.create(submitted)
            return index.add(connection, folder)

    def claim(self, worker: str, slot: int) -> JobRecord | None:
        """Take the next job for a worker; no two workers get the same. None: nothing waits."""
        while True:
            with self.database.writing() as connection:
                row = connection.execute(
                    "UPDATE jobs SET state = 'starting', worker = ? WHERE id = (SELECT id FROM jobs"
                    " WHERE state = 'queued' ORDER BY priority DESC, queued_s, id LIMIT 1)"
                    " RETURNING id",
                    [worker],
                ).fetchone()
                if row is None:
                    return None
                try:
                    record = self._current(connection, row["id"])
                except ServiceError:
                    index.leave_out(connection, row["id"])
                    continue
                if record.state != "queued":
                    continue  # the index was behind, and no longer is
                details = {"state": "starting", "worker": worker, "slot": slot}
                return self._append(connection, record, "state", f"worker:{worker}", "", details)

    def start(self, job_id: str, attempt: int, process: Process, *, worker: str) -> JobRecord:
        """Say that the process of an attempt runs; nothing happens if it was given up meanwhile."""
        return self.move(
            job_id,
            "running",
            actor=f"worker:{worker}",
            details={"process": process.model_dump()},
            only_if=lambda now: now.state == "starting" and now.attempt == attempt,
        )

    def move(
        self,
        job_id: str,
        state: State,
        *,
        actor: str,
        reason: str = "",
        details: Mapping[str, Any] | None = None,
        only_if: Callable[[JobRecord], bool] | None = None,
    ) -> JobRecord:
        """Move a job to another state.

        Args:
            job_id: Which.
            state: The new one.
            actor: Who moves it.
            reason: Why, in words.
            details: What else belongs to the move; see `record`.
            only_if: Judges the job as it is under the lock; nothing happens if it says no.

        Raises:
            JobStateError: The state cannot follow.
        """
        with self.database.writing() as connection:
            record = self._current(connection, job_id)
            if only_if is not None and not only_if(record):
                return record
            check_move(job_id, record.state, state)
            found = {**(details or {}), "state": state}
            return self._append(connection, record, "state", actor, reason, found)

    def wish(self, job_id: str, wish: Wish, *, actor: str, reason: str = "") -> JobRecord:
        """Cancel a job: at once if no worker has it, else by the worker that has it.

        Raises:
            JobStateError: It has ended.
        """
        with self.database.writing() as connection:
            record = self._current(connection, job_id)
            if record.state in ENDED:
                raise JobStateError(f"job {job_id} is {record.state} already.")
            if record.state in ACTIVE:
                return self._append(connection, record, "wish", actor, reason, {"wish": wish})
            details = {"state": "cancelled"}
            return self._append(connection, record, "state", actor, reason, details)

    def resume(self, job_id: str, *, actor: str, reason: str = "") -> JobRecord:
        """Queue a failed or cancelled job again; it goes on from its last checkpoint.

        Raises:
            JobStateError: It has not ended, or is finished.
        """
        details = {"is_renewed": True}
        return self.move(job_id, "queued", actor=actor, reason=reason, details=details)

    def edit(
        self,
        job_id: str,
        changes: Mapping[str, Any],
        *,
        actor: str,
        seen: Collection[str] | None = None,
    ) -> JobRecord:
        """Change name, tags, notes or priority.

        Args:
            job_id: Which.
            changes: New values by field.
            actor: Who asks.
            seen: Only if the job's entity tag is among these; see `etags`.

        Raises:
            ConfigError: Another field.
            EditConflict: The job has changed since it was seen.
        """
        unknown = sorted(set(changes) - set(EDITABLE))
        if unknown:
            raise ConfigError(f"{unknown[0]}: cannot be changed; {', '.join(EDITABLE)} can.")
        with self.database.writing() as connection:
            record = self._current(connection, job_id)
            if seen is not None and etag(record) not in seen:
                raise EditConflict(f"job {job_id} has changed since you looked: look again.")
            return self._append(connection, record, "edit", actor, "", dict(changes))

    def adopt(self, job_id: str, *, worker: str, slot: int, before: str | None) -> JobRecord | None:
        """Take over a job whose worker has gone; None if another worker was quicker."""
        with self.database.writing() as connection:
            record = self._current(connection, job_id)
            if record.worker != before or record.state not in ACTIVE:
                return None
            details = {"worker": worker, "slot": slot}
            reason = f"worker {before} has gone"
            return self._append(connection, record, "adopt", f"worker:{worker}", reason, details)

    def discard(
        self, job_id: str, *, first: Callable[[JobFolder], object] = lambda _: None
    ) -> None:
        """Move a job that has ended into the trash.

        Args:
            job_id: Of the job.
            first: What is done with it before, when nothing can happen to it any more.

        Raises:
            JobStateError: It has not ended, or a model is its run.
        """
        with self.database.writing() as connection:
            record = self._current(connection, job_id)
            if record.state not in ENDED:
                raise JobStateError(f"job {job_id} is {record.state}: cancel it first.")
            refuse_promoted(self.folder, job_id)
            trash = self.folder / "trash"
            trash.mkdir(exist_ok=True)
            first(self.job(job_id))
            self.job(job_id).path.rename(trash / f"{job_id}-{secrets.token_hex(3)}")
            index.strike(connection, job_id)

    def leave_out(self, job_id: str) -> None:
        """Strike a job from the index whose folder was taken away or damaged."""
        with self.database.writing() as connection:
            index.leave_out(connection, job_id)

    def restore(self, path: Path) -> JobRecord:
        """Put a job back that was moved into the trash.

        Args:
            path: Its folder there.

        Raises:
            JobNotFound: It has gone meanwhile.
            JobStateError: There is a job of its id again.
        """
        job_id = path.name.partition("-")[0]
        with self.database.writing() as connection:
            if (self.runs / job_id).exists():
                raise JobStateError(f"there is a job {job_id} again: it cannot be put back.")
            try:
                path.rename(self.runs / job_id)
            except FileNotFoundError:
                raise JobNotFound(f"there is no {path.name} in the trash.") from None
            return index.add(connection, self.job(job_id))

    def reindex(self) -> int:
        """Make the index anew from the folders; return how many jobs there are."""
        with self.database.writing() as connection:
            connection.execute("DELETE FROM jobs")
            connection.execute("DELETE FROM facts")
            return index.put_all(connection, job_folders(self.runs))

    def _check_store(self, store: str | None) -> None:
        """Check that a store is there, or that an extraction which goes on will make it.

        Raises:
            ConfigError: It is not.
        """
        if store is None or "://" in store or (Path(store) / STORE_FILE).is_file():
            return
        terms = [Term("store", "=", store, None, 1, 1)]
        states = [state for state in STATES if state not in ENDED]
        if not self.page(kinds=("extract",), states=states, terms=terms, limit=1).jobs:
            raise ConfigError(
                f"store = {store!r}: there is no feature store, and no job that makes one there; a "
                "relative name begins below a --store-root."
            )

    def _take_up(self) -> None:
        """Take up what a kill left: index folders without a row, and remove half-made ones.

        Indexed are also those whose row is of an index that knew less, or was lost.
        """
        with self.database.reading() as connection:
            rows = connection.execute("SELECT id FROM jobs WHERE words IS NOT NULL")
            known = {row["id"] for row in rows}
        missing = [folder for folder in job_folders(self.runs) if folder.id not in known]
        if missing or any(self.runs.glob(f"{TEMPORARY}*")):
            with self.database.writing() as connection:
                clean_temporaries(self.runs)  # folders are made under this lock alone
                index.put_all(connection, missing)

    def _same(self, job_id: str, asked: str) -> JobRecord:
        folder = JobFolder(self.runs / job_id)
        if folder.submitted().asked != asked:
            raise ConfigError("Idempotency-Key: it was used for another request; choose a new one.")
        return folder.record()

    def _current(self, connection: sqlite3.Connection, job_id: str) -> JobRecord:
        """Return a job by its folder, and bring its row up to that; under the lock."""
        record = self.job(job_id).record()
        index.put(connection, record)
        return record

    def _append(
        self,
        connection: sqlite3.Connection,
        record: JobRecord,
        kind: Any,
        actor: str,
        reason: str,
        details: dict[str, Any],
    ) -> JobRecord:
        event = HistoryEvent(
            seq=record.seq + 1,
            time_s=time.time(),
            actor=actor,
            type=kind,
            reason=reason,
            details=details,
        )
        after = apply(record, event)
        self.job(record.id).append(event)
        index.put(connection, after)
        return after
