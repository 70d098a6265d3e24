"""An index of an earlier version opens, after a copy of it was kept."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from scfae.service.database import MIGRATIONS, Database
from scfae.service.record import JobRecord

GOLDEN = Path(__file__).parents[2] / "golden" / "service" / "service-v1.sql"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "service.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(GOLDEN.read_text())
    return path


def records(database: Database) -> list[JobRecord]:
    with database.reading() as connection:
        rows = connection.execute("SELECT record FROM jobs ORDER BY id").fetchall()
    return [JobRecord.model_validate_json(row["record"]) for row in rows]


def test_the_first_version_opens(old: Path) -> None:
    found = records(Database(old))
    assert [(one.id, one.state) for one in found] == [
        ("0123456789ab", "finished"),
        ("ba9876543210", "queued"),
    ]


def test_a_newer_schema_keeps_the_rows_and_a_copy_of_the_file(old: Path) -> None:
    more = (*MIGRATIONS, "ALTER TABLE jobs ADD COLUMN more TEXT")
    before = records(Database(old))
    database = Database(old, migrations=more)
    assert records(database) == before
    with database.reading() as connection:
        assert connection.execute("SELECT more FROM jobs").fetchone()[0] is None
    copy = old.with_name(f"service.db.v{len(MIGRATIONS)}.bak")
    assert records(Database(copy)) == before
    Database(old, migrations=more)  # nothing is left to do


def test_a_migration_that_fails_leaves_the_old_version(old: Path) -> None:
    before = records(Database(old))
    wrong = (*MIGRATIONS, "ALTER TABLE jobs ADD COLUMN more TEXT; SELECT wrong FROM nowhere")
    with pytest.raises(Exception, match="nowhere"):
        Database(old, migrations=wrong)
    assert records(Database(old)) == before
