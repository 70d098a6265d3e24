"""An index of an earlier version opens, after a copy of it was kept."""

import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from scfae.service import Queue, Roots
from scfae.service.access import Tokens
from scfae.service.app import make_app
from scfae.service.context import Service
from scfae.service.database import MIGRATIONS, Database
from scfae.service.record import JobRecord

GOLDEN = Path(__file__).parents[2] / "golden" / "service" / "service-v1.sql"
SECRET = "scfae_wqVG7eCwJk7fFvM2BMh9o3016AEH7kFNi5RuznJ6n3A"
"""A token of the folder below, of no other service."""


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


@pytest.fixture
def old_service(tmp_path: Path) -> Path:
    """A whole service folder of version 1: one job finished, one cancelled, one waiting."""
    folder = tmp_path / "service"
    shutil.copytree(GOLDEN.parent / "folder-v1", folder)
    with closing(sqlite3.connect(folder / "service.db")) as connection:
        connection.executescript((folder / "service.sql").read_text())
    return folder


@pytest.mark.parametrize("more", [(), ("ALTER TABLE jobs ADD COLUMN more TEXT",)])
def test_a_whole_folder_of_the_first_version_opens(
    old_service: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    before = (old_service / "service.db").read_bytes()
    folders = {path: path.read_bytes() for path in old_service.glob("runs/*/*") if path.is_file()}
    newest = (*MIGRATIONS, *more)
    monkeypatch.setattr("scfae.service.reader.Database", partial(Database, migrations=newest))
    queue = Queue(old_service)
    jobs = queue.page().jobs
    assert [(one.name, one.state) for one in jobs] == [
        ("third", "queued"),
        ("second", "cancelled"),
        ("first", "finished"),
    ]
    copy = old_service / "service.db.v1.bak"
    assert copy.exists() == (len(newest) > 1)
    if copy.exists():
        kept = records(Database(copy, migrations=MIGRATIONS[:1]))
        assert {one.id for one in kept} == {one.id for one in jobs}
    # Nothing but the index was written, and the folders tell the same as it does.
    assert {path: path.read_bytes() for path in folders} == folders
    assert queue.reindex() == 3
    assert queue.page().jobs == jobs
    assert (old_service / "service.db").read_bytes() != before
    # The jobs are of use: one is read, one goes on, one starts.
    with TestClient(make_app(Service(queue, Roots())), "http://127.0.0.1") as client:
        first = client.get(f"/api/v1/runs/{jobs[2].id}").json()
        assert (first["state"], first["progress"]["step"]) == ("finished", 8)
        url = f"/api/v1/runs/{first['id']}"
        assert client.get(f"{url}/metrics").json()["curves"]["val.loss"]["step"] == [4, 8]
        assert client.get(f"{url}/events").text.count("event: epoch") == 2
        assert client.get(f"{url}/log").json()["text"].startswith("scfae train /service/runs/")
        assert client.post(f"/api/v1/runs/{jobs[1].id}/resume").json()["state"] == "queued"
    claimed = queue.claim("w", 0)
    assert claimed is not None
    assert claimed.name == "third"
    assert Tokens(old_service).actor(SECRET).role == "operator"
