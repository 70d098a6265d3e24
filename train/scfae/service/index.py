"""The rows of the index: what is found without a look at every folder.

Whoever writes one holds the index's write lock, and has changed the folder first.
"""

import json
import logging
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from scfae.store.errors import ConfigError, ServiceError

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
    cursor: str | None,
    limit: int,
) -> Page:
    """Return a page of jobs; see `Queue.page`."""
    terms: list[str] = ["1"]
    values: list[Any] = []
    for column, wanted in (("state", states), ("kind", kinds)):
        if wanted:
            terms.append(f"{column} IN ({','.join('?' * len(wanted))})")
            values += wanted
    patterns = [_pattern(word) for word in words]
    # Most rows fall away before any JSON is taken apart.
    terms += ["record LIKE ? ESCAPE '\\'" for _ in patterns]
    terms += [f"{_SEARCHED} LIKE ? ESCAPE '\\'" for _ in patterns]
    values += patterns * 2
    if cursor is not None:
        terms.append("(submitted_s, id) < (?, ?)")
        values += _read_cursor(cursor)
    rows = connection.execute(
        f"SELECT record FROM jobs WHERE {' AND '.join(terms)} "
        "ORDER BY submitted_s DESC, id DESC LIMIT ?",
        [*values, limit + 1],
    ).fetchall()
    jobs = [JobRecord.model_validate_json(row["record"]) for row in rows]
    more, jobs = len(jobs) > limit, jobs[:limit]
    return Page(jobs, f"{jobs[-1].submitted_s!r}_{jobs[-1].id}" if more else None)


_SEARCHED = (
    "json_extract(record, '$.id', '$.name', '$.tags', '$.kind', '$.state', '$.actor', '$.about')"
)
"""A JSON list of what is searched: one look into the record, not seven."""


def _pattern(word: str) -> str:
    spelled = json.dumps(word, ensure_ascii=False)[1:-1]  # as it stands in JSON
    escaped = spelled.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def put(connection: sqlite3.Connection, record: JobRecord) -> None:
    """Bring a job's row up to what its folder says."""
    connection.execute(
        "INSERT OR REPLACE INTO jobs (id, seq, state, kind, priority, queued_s, submitted_s,"
        " worker, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
        ],
    )


def put_all(connection: sqlite3.Connection, folders: Iterable[JobFolder]) -> int:
    """Index folders; return how many. One that cannot be read is left out."""
    count = 0
    for folder in folders:
        try:
            record = folder.record()
        except ServiceError:
            leave_out(connection, folder.id)
            continue
        put(connection, record)
        count += 1
    return count


def leave_out(connection: sqlite3.Connection, job_id: str) -> None:
    """Strike a job whose folder cannot be read: one alone must not hold up all the others."""
    logger.exception("job %s is left out of the index", job_id)
    connection.execute("DELETE FROM jobs WHERE id = ?", [job_id])


def _read_cursor(cursor: str) -> tuple[float, str]:
    submitted, _, job_id = cursor.partition("_")
    try:
        return float(submitted), job_id
    except ValueError:
        raise ConfigError("cursor: not one that a list has given.") from None
