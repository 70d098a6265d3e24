"""The rows of the index: what is found without a look at every folder.

Whoever writes one holds the index's write lock, and has changed the folder first.
"""

import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scfae.store.errors import ConfigError, ServiceError

from . import facts
from .filters import Term
from .folder import JobFolder
from .record import JobRecord
from .states import State

logger = logging.getLogger("scfae.service.queue")


@dataclass(frozen=True)
class Page:
    """Some jobs of a list.

    Attributes:
        jobs: The newest first.
        cursor: Where the next page begins; None after the last.
    """

    jobs: list[JobRecord]
    cursor: str | None


def find(
    connection: sqlite3.Connection,
    *,
    states: Sequence[State],
    kinds: Sequence[str],
    words: Sequence[str],
    terms: Sequence[Term],
    live: Mapping[str, Mapping[str, Any]],
    cursor: str | None,
    limit: int,
) -> Page:
    """Return a page of jobs; see `Queue.page` and `facts.condition`."""
    wheres: list[str] = ["1"]
    values: list[Any] = []
    for column, wanted in (("state", states), ("kind", kinds)):
        if wanted:
            wheres.append(f"{column} IN ({','.join('?' * len(wanted))})")
            values += wanted
    for word in words:
        wheres.append("instr(words, ?)")
        values.append(word.casefold())
    for term in terms:
        text, given = facts.condition(connection, term, live)
        wheres.append(text)
        values += given
    if cursor is not None:
        wheres.append("(submitted_s, id) < (?, ?)")
        values += _read_cursor(cursor)
    rows = connection.execute(
        f"SELECT record FROM jobs WHERE {' AND '.join(wheres)} "
        "ORDER BY submitted_s DESC, id DESC LIMIT ?",
        [*values, limit + 1],
    ).fetchall()
    jobs = [JobRecord.model_validate_json(row["record"]) for row in rows]
    more, jobs = len(jobs) > limit, jobs[:limit]
    return Page(jobs, f"{jobs[-1].submitted_s!r}_{jobs[-1].id}" if more else None)


def add(connection: sqlite3.Connection, folder: JobFolder) -> JobRecord:
    """Index a job that is new here: its settings, which stay as they are, and its row."""
    record = folder.record()
    facts.put(connection, record.id, facts.facts_of(folder.submitted().request))
    put(connection, record)
    return record


def put(connection: sqlite3.Connection, record: JobRecord) -> None:
    """Bring a job's row up to what its folder says."""
    connection.execute(
        "INSERT OR REPLACE INTO jobs (id, seq, state, kind, priority, queued_s, submitted_s,"
        " worker, record, words) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            record.id,
            record.seq,
            record.state,
            record.kind,
            record.priority,
            record.queued_s,
            record.submitted_s,
            record.worker,
            record.model_dump_json(),
            _words(record),
        ],
    )


def put_all(connection: sqlite3.Connection, folders: Iterable[JobFolder]) -> int:
    """Index folders; return how many. One that cannot be read is left out."""
    count = 0
    for folder in folders:
        try:
            add(connection, folder)
        except ServiceError:
            leave_out(connection, folder.id)
            continue
        count += 1
    return count


def leave_out(connection: sqlite3.Connection, job_id: str) -> None:
    """Strike a job whose folder cannot be read: one alone must not hold up all the others."""
    logger.exception("job %s is left out of the index", job_id)
    strike(connection, job_id)


def strike(connection: sqlite3.Connection, job_id: str) -> None:
    """Take a job out of the index."""
    connection.execute("DELETE FROM jobs WHERE id = ?", [job_id])
    facts.leave_out(connection, job_id)


def _words(record: JobRecord) -> str:
    """Return what is searched: short, and spelled in one way, so that a look takes microseconds."""
    named = (record.id, record.name, *record.tags, record.kind, record.state, record.actor)
    return "\n".join([*named, record.about]).casefold()


def _read_cursor(cursor: str) -> tuple[float, str]:
    submitted, _, job_id = cursor.partition("_")
    try:
        return float(submitted), job_id
    except ValueError:
        raise ConfigError("cursor: not one that a list has given.") from None
