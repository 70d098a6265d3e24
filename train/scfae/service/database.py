"""service.db: an index of the job folders, in SQLite, which can be made anew from them.

Only server and workers write it, never a trainer. Every transaction opens a connection of its own
(0.2 ms), so threads share none, and a file that was replaced is seen at once.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from scfae.store.errors import ServiceError

BUSY_MS = 30_000
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        seq INTEGER NOT NULL,
        state TEXT NOT NULL,
        kind TEXT NOT NULL,
        priority INTEGER NOT NULL,
        queued_s REAL NOT NULL,
        submitted_s REAL NOT NULL,
        worker TEXT,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX jobs_queue ON jobs (state, priority DESC, queued_s, id);
    CREATE INDEX jobs_recent ON jobs (submitted_s DESC, id DESC);
    CREATE TABLE workers (
        id TEXT PRIMARY KEY,
        seen_s REAL NOT NULL,
        record TEXT NOT NULL
    ) STRICT;
    """,
    """
    ALTER TABLE jobs ADD COLUMN words TEXT;
    DROP INDEX jobs_recent;
    CREATE INDEX jobs_recent ON jobs (submitted_s DESC, id DESC, words);
    CREATE TABLE facts (
        job TEXT NOT NULL,
        name TEXT NOT NULL,
        text TEXT NOT NULL,
        number REAL
    ) STRICT;
    CREATE INDEX facts_job ON facts (job);
    CREATE INDEX facts_number ON facts (name, number, job);
    CREATE INDEX facts_text ON facts (name, text COLLATE NOCASE, job);
    """,
)
"""Each brings the schema from the version that is its index to the next one."""


class Database:
    """The file, at the newest version.

    Args:
        path: `SERVICE/service.db`; made if it is not there.
        migrations: See `MIGRATIONS`; their number is the newest version.

    Raises:
        ServiceError: A newer scfae wrote it, or it is no database.
    """

    def __init__(self, path: Path, *, migrations: Sequence[str] = MIGRATIONS) -> None:
        self.path = path
        self._migrations = migrations
        try:
            with closing(self._connect()) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                if _version(connection) != len(migrations):
                    self._migrate(connection)
        except sqlite3.DatabaseError as error:
            raise ServiceError(
                f"{path} cannot be used: {error}. It is an index only: move it away, and the next "
                "command makes it anew."
            ) from None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that sees one state of the index."""
        with closing(self._connect()) as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that alone may write, until the block ends; nothing stays on error."""
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_MS / 1000, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        connection.execute("PRAGMA synchronous=NORMAL")  # the folders are what must last
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        newest = len(self._migrations)
        version = _version(connection)  # another process may have been quicker
        if version > newest:
            connection.execute("ROLLBACK")
            raise ServiceError(
                f"{self.path} is of version {version}; this scfae knows versions up to {newest}: "
                "use a newer scfae."
            )
        if version:
            self._back_up(version)
        for number in range(version, newest):
            for statement in self._migrations[number].split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={newest}")
        connection.execute("COMMIT")

    def _back_up(self, version: int) -> None:
        copy = self.path.with_name(f"{self.path.name}.v{version}.bak")
        with closing(self._connect()) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
