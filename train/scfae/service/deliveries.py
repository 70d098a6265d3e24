"""What webhooks are told: taken from the jobs' histories, kept until it arrives or is given up.

webhooks.db says up to which event each job's history was read, and holds what is to be posted; both
change in one transaction. So nothing is lost or doubled over a restart: a post whose answer a kill
cut off is repeated under the same id.
"""

import hashlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from scfae.store.config import Frozen
from scfae.store.errors import ConfigError, JobNotFound, JobStateError, ScfaeError

from .database import Database
from .folder import JobFolder
from .queue import Queue
from .record import HistoryEvent
from .views import JobView
from .webhooks import EVENTS, PING, Webhook, body_of

logger = logging.getLogger("scfae.service.webhooks")

MIGRATIONS: Final = (
    """
    CREATE TABLE seen (job TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
    CREATE TABLE deliveries (
        id TEXT PRIMARY KEY,
        webhook TEXT NOT NULL,
        url TEXT NOT NULL,
        event TEXT NOT NULL,
        job TEXT NOT NULL,
        body TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        made_s REAL NOT NULL,
        next_s REAL NOT NULL,
        ended_s REAL,
        status INTEGER,
        error TEXT NOT NULL
    ) STRICT;
    CREATE INDEX deliveries_due ON deliveries (state, next_s);
    CREATE INDEX deliveries_recent ON deliveries (made_s DESC, id DESC);
    """,
)
BACKOFF_S: Final = (2.0, 10.0, 60.0, 300.0, 1800.0, 7200.0)
"""Seconds after the first, second, … failure; after the last of them it is given up."""
KEPT_S: Final = 30 * 86_400.0
"""How long the log keeps what has ended."""
DeliveryState = Literal["waiting", "delivered", "failed"]


class Delivery(Frozen):
    """Something that a webhook is told.

    Attributes:
        id: In the header `X-Scfae-Delivery` and in the body; the same in every attempt.
        webhook: Of which webhook.
        url: Of it.
        event: job.finished, … or ping.
        job: Id of the job; empty for a ping.
        state: waiting, delivered or failed.
        attempts: How often it was posted.
        made_s: When it was taken from the history, in seconds since 1970.
        next_s: When it is posted next, while it waits.
        ended_s: When it was delivered or given up.
        status: Of the last answer.
        error: Why the last attempt failed.
    """

    id: str
    webhook: str
    url: str
    event: str
    job: str
    state: DeliveryState
    attempts: int
    made_s: float
    next_s: float
    ended_s: float | None
    status: int | None
    error: str


class DeliveryPage(Frozen):
    """A page of the log.

    Attributes:
        deliveries: The newest first.
        cursor: Where the next page begins; null after the last.
    """

    deliveries: tuple[Delivery, ...]
    cursor: str | None


class Deliveries:
    """The deliveries of a service.

    Args:
        folder: The service's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / "webhooks.db", migrations=MIGRATIONS)

    def collect(self, queue: Queue, webhooks: Sequence[Webhook]) -> int:
        """Take what has happened to jobs since the last time; return how much is to be told."""
        if not webhooks:
            return 0  # what happens before a webhook is made is not told to it
        with queue.database.reading() as connection:
            rows = connection.execute("SELECT id, seq FROM jobs").fetchall()
        with self._database.reading() as connection:
            seen = {row["job"]: row["seq"] for row in connection.execute("SELECT * FROM seen")}
        behind = [row["id"] for row in rows if row["seq"] > seen.get(row["id"], 0)]
        count = 0
        for job in behind:
            try:
                count += self._take(JobFolder(queue.runs / job), seen.get(job, 0), webhooks)
            except ScfaeError:
                logger.exception("job %s", job)  # a damaged folder; the others are told of
        return count

    def collect_last(self, job: JobFolder, webhooks: Sequence[Webhook]) -> int:
        """Take what has happened to a job that is about to leave; return how much is to be told.

        Its folder is asked, not the index, which may not have its last event yet.
        """
        if not webhooks:
            return 0
        with self._database.reading() as connection:
            row = connection.execute("SELECT seq FROM seen WHERE job = ?", [job.id]).fetchone()
        return self._take(job, row["seq"] if row else 0, webhooks)

    def ping(self, webhook: Webhook) -> Delivery:
        """Have a webhook told that it is there, to try it."""
        made_s = time.time()
        found = _id(webhook.id, PING, repr(made_s))
        body = body_of(PING, found, made_s, None)
        with self._database.writing() as connection:
            connection.execute(_INSERT, _row(found, webhook, PING, "", body, made_s))
        return self.get(found)

    def get(self, delivery: str) -> Delivery:
        """Return a delivery.

        Raises:
            JobNotFound: There is none of this id.
        """
        with self._database.reading() as connection:
            row = connection.execute(
                f"SELECT {_SHOWN} FROM deliveries WHERE id = ?", [delivery]
            ).fetchone()
        if row is None:
            raise JobNotFound(f"there is no delivery {delivery}.")
        return Delivery(**dict(row))

    def page(
        self, *, webhook: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> DeliveryPage:
        """Return a page of the log, the newest first.

        Args:
            webhook: Only what this one was told.
            cursor: Where to begin, from the page before.
            limit: Deliveries a page.

        Raises:
            ConfigError: The cursor is not one of ours.
        """
        terms, values = ["1"], list[Any]()
        if webhook is not None:
            terms.append("webhook = ?")
            values.append(webhook)
        if cursor is not None:
            made, _, delivery = cursor.partition("_")
            try:
                values += [float(made), delivery]
            except ValueError:
                raise ConfigError("cursor: not one that a list has given.") from None
            terms.append("(made_s, id) < (?, ?)")
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_SHOWN} FROM deliveries WHERE {' AND '.join(terms)} "
                "ORDER BY made_s DESC, id DESC LIMIT ?",
                [*values, limit + 1],
            ).fetchall()
        found = [Delivery(**dict(row)) for row in rows[:limit]]
        more = len(rows) > limit
        return DeliveryPage(
            deliveries=tuple(found),
            cursor=f"{found[-1].made_s!r}_{found[-1].id}" if more else None,
        )

    def due(self, *, limit: int = 20) -> list[tuple[Delivery, str]]:
        """Return what is to be posted now, with its body, the longest due first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_SHOWN}, body FROM deliveries WHERE state = 'waiting' AND next_s <= ? "
                "ORDER BY next_s, made_s LIMIT ?",
                [time.time(), limit],
            ).fetchall()
        return [
            (Delivery(**{name: row[name] for name in _NAMES}), str(row["body"])) for row in rows
        ]

    def delivered(self, delivery: Delivery, status: int) -> None:
        """Say that a delivery has arrived."""
        self._end(delivery, "delivered", status, "")

    def give_up(self, delivery: Delivery, why: str) -> None:
        """Say that a delivery is never tried again."""
        self._end(delivery, "failed", delivery.status, why)

    def failed(self, delivery: Delivery, status: int | None, error: str) -> None:
        """Say that an attempt failed; all that its webhook is told waits for the next one."""
        tried = delivery.attempts + 1
        if tried > len(BACKOFF_S):
            self._end(delivery, "failed", status, error)
            return
        next_s = time.time() + BACKOFF_S[tried - 1]
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE deliveries SET attempts = ?, status = ?, error = ? WHERE id = ?",
                [tried, status, error, delivery.id],
            )
            # One attempt for the whole of a webhook that does not answer: the others go on.
            connection.execute(
                "UPDATE deliveries SET next_s = max(next_s, ?) "
                "WHERE webhook = ? AND state = 'waiting'",
                [next_s, delivery.webhook],
            )

    def retry(self, delivery: str) -> Delivery:
        """Have a delivery that has failed tried again, as if it were new.

        Raises:
            JobNotFound: There is none of this id.
            JobStateError: It has arrived.
        """
        found = self.get(delivery)
        if found.state == "delivered":
            raise JobStateError(f"delivery {delivery} has arrived already.")
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE deliveries SET state = 'waiting', attempts = 0, next_s = ?, ended_s = NULL"
                " WHERE id = ? AND state != 'delivered'",
                [time.time(), delivery],
            )
        return self.get(delivery)

    def forget_old(self) -> None:
        """Strike what ended long ago from the log."""
        with self._database.writing() as connection:
            connection.execute(
                "DELETE FROM deliveries WHERE state != 'waiting' AND ended_s < ?",
                [time.time() - KEPT_S],
            )

    def _take(self, folder: JobFolder, seq: int, webhooks: Sequence[Webhook]) -> int:
        if not folder.exists():
            return 0  # deleted just now
        history = folder.history()
        new = [event for event in history if event.seq > seq]
        if not new:
            return 0  # the index knows of an event that is not in the folder: later
        rows = [row for event in new for row in _told(folder, event, webhooks)]
        with self._database.writing() as connection:
            connection.executemany(_INSERT, rows)
            connection.execute(
                "INSERT INTO seen (job, seq) VALUES (?, ?) ON CONFLICT (job) DO UPDATE "
                "SET seq = max(seq, excluded.seq)",
                [folder.id, new[-1].seq],
            )
        return len(rows)

    def _end(self, delivery: Delivery, state: DeliveryState, status: int | None, why: str) -> None:
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE deliveries SET state = ?, attempts = attempts + 1, status = ?, error = ?, "
                "ended_s = ? WHERE id = ?",
                [state, status, why, time.time(), delivery.id],
            )


_NAMES: Final = tuple(Delivery.model_fields)
_SHOWN: Final = ", ".join(_NAMES)
_INSERT: Final = (
    "INSERT OR IGNORE INTO deliveries (id, webhook, url, event, job, body, state, attempts, "
    "made_s, next_s, error) VALUES (?, ?, ?, ?, ?, ?, 'waiting', 0, ?, ?, '')"
)


def _told(
    folder: JobFolder, event: HistoryEvent, webhooks: Sequence[Webhook]
) -> list[tuple[Any, ...]]:
    """Return the rows of what webhooks are told of an event."""
    name = f"job.{event.details.get('state')}"
    if event.type != "state" or name not in EVENTS:
        return []
    rows = []
    for webhook in webhooks:
        if name in webhook.events and event.time_s >= webhook.made_s:
            found = _id(webhook.id, folder.id, str(event.seq))
            view = JobView.of(folder.record(), folder).model_dump(mode="json")
            # As it was at that moment, whatever has become of it since.
            job = view | {"state": event.details["state"], "reason": event.reason}
            body = body_of(name, found, event.time_s, job)
            rows.append(_row(found, webhook, name, folder.id, body, time.time()))
    return rows


def _row(
    delivery: str, webhook: Webhook, event: str, job: str, body: str, made_s: float
) -> tuple[Any, ...]:
    return (delivery, webhook.id, webhook.url, event, job, body, made_s, made_s)


def _id(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]
