"""The queue: the folder is the truth, the index follows, no job is lost, doubled or misled."""

import json
import sqlite3
import threading
from pathlib import Path

import pytest

from scfae.service import JobRecord, Queue, Roots
from scfae.service.jobs import read_request
from scfae.service.record import HistoryEvent
from scfae.store.errors import ConfigError, JobNotFound, JobStateError, ServiceError

from .services import training


def rows(queue: Queue) -> list[tuple[object, ...]]:
    with queue.database.reading() as connection:
        return [tuple(row) for row in connection.execute("SELECT * FROM jobs ORDER BY id")]


def live(queue: Queue, roots: Roots) -> list[JobRecord]:
    """Put jobs into many states."""
    jobs = [queue.submit(training(name=f"job {i}"), actor="ann", roots=roots) for i in range(5)]
    queue.wish(jobs[0].id, "cancel", actor="bob", reason="no need")
    claimed = [queue.claim("w", slot) for slot in (0, 1)]
    for one in claimed:
        assert one is not None
        process = {"pid": 1, "start": 1, "machine": "elsewhere"}
        queue.move(one.id, "running", actor="worker:w", details={"process": process})
    assert claimed[0] is not None
    queue.move(claimed[0].id, "failed", actor="worker:w", reason="no labels")
    queue.resume(claimed[0].id, actor="ann")
    queue.edit(jobs[4].id, {"tags": ["x", "y"], "priority": 3}, actor="bob")
    return [queue.get(job.id) for job in jobs]


def test_every_change_says_who_when_and_why(queue: Queue, roots: Roots) -> None:
    jobs = live(queue, roots)
    assert [job.state for job in jobs] == ["cancelled", "queued", "running", "queued", "queued"]
    (event,) = queue.job(jobs[0].id).history()
    assert (event.actor, event.reason, event.details["state"]) == ("bob", "no need", "cancelled")
    assert [event.seq for event in queue.job(jobs[1].id).history()] == [1, 2, 3, 4]
    assert jobs[1].attempt == 1
    assert jobs[4].tags == ("x", "y")


def test_the_index_is_made_anew_from_the_folders(queue: Queue, roots: Roots) -> None:
    live(queue, roots)
    before = rows(queue)
    for path in queue.folder.glob("service.db*"):
        path.unlink()
    again = Queue(queue.folder)
    assert rows(again) == before
    with again.database.writing() as connection:
        connection.execute("UPDATE jobs SET state = 'queued', record = '{}'")
    assert again.reindex() == 5
    assert rows(again) == before


def test_a_job_of_higher_priority_starts_first_then_the_older(queue: Queue, roots: Roots) -> None:
    ids = [
        queue.submit(training(priority=priority), actor="ann", roots=roots).id
        for priority in (0, 0, 5)
    ]
    claims = [queue.claim("w", 0) for _ in range(4)]
    assert [one.id if one else None for one in claims] == [ids[2], ids[0], ids[1], None]


def test_many_threads_claim_each_job_once(queue: Queue, roots: Roots) -> None:
    request = training()
    ids = {queue.submit(request, actor="ann", roots=roots).id for _ in range(20)}
    claimed: list[str] = []

    def claim_all(name: str) -> None:
        while (record := queue.claim(name, 0)) is not None:
            claimed.append(record.id)

    threads = [threading.Thread(target=claim_all, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 20
    assert set(claimed) == ids


def test_one_key_is_one_job(queue: Queue, roots: Roots) -> None:
    first = queue.submit(training(), actor="ann", roots=roots, key="k")
    # As after a kill between folder and index:
    with queue.database.writing() as connection:
        connection.execute("DELETE FROM jobs")
    assert queue.submit(training(), actor="ann", roots=roots, key="k").id == first.id
    assert queue.submit(training(), actor="bob", roots=roots, key="k").id != first.id
    with pytest.raises(ConfigError, match="another request"):
        queue.submit(training(epochs=3), actor="ann", roots=roots, key="k")
    assert len(Queue(queue.folder).page().jobs) == 2


def test_the_folder_wins_over_an_index_that_is_behind(queue: Queue, roots: Roots) -> None:
    job = queue.submit(training(), actor="ann", roots=roots)
    event = HistoryEvent(seq=1, time_s=2e9, actor="x", type="state", details={"state": "cancelled"})
    queue.job(job.id).append(event)  # and the process was killed before it told the index
    assert queue.page(states=["queued"]).jobs
    assert queue.claim("w", 0) is None
    assert not queue.page(states=["queued"]).jobs


def test_a_folder_that_a_killed_submission_half_made_is_removed(queue: Queue, roots: Roots) -> None:
    job = queue.submit(training(), actor="ann", roots=roots).id
    half = queue.runs / ".tmp-0123456789abcdef"
    half.mkdir()
    (half / "job.json").write_text("{")
    assert [one.name for one in Queue(queue.folder).runs.iterdir()] == [job]


def test_a_half_written_line_is_left_out_and_closed(queue: Queue, roots: Roots) -> None:
    job = queue.submit(training(), actor="ann", roots=roots)
    with open(queue.job(job.id).path / "history.jsonl", "a") as file:
        file.write('{"seq": 1, "ti')
    assert queue.get(job.id).state == "queued"
    queue.wish(job.id, "cancel", actor="ann")
    assert queue.get(job.id).state == "cancelled"


def test_what_cannot_follow_is_refused(queue: Queue, roots: Roots) -> None:
    job = queue.submit(training(), actor="ann", roots=roots)
    with pytest.raises(JobStateError, match="is queued; it cannot become finished"):
        queue.move(job.id, "finished", actor="ann")
    with pytest.raises(JobStateError, match="cannot become queued"):
        queue.resume(job.id, actor="ann")
    queue.wish(job.id, "cancel", actor="ann")
    with pytest.raises(JobStateError, match="cancelled already"):
        queue.wish(job.id, "cancel", actor="ann")
    for name in ("nobody", "../runs", "a" * 12):
        with pytest.raises(JobNotFound):
            queue.get(name)


def test_pages_hold_every_job_once(queue: Queue, roots: Roots) -> None:
    request = training()
    ids = [queue.submit(request, actor="ann", roots=roots).id for _ in range(7)]
    seen, cursor = [], None
    while True:
        page = queue.page(cursor=cursor, limit=3)
        seen += [job.id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == ids[::-1]
    queue.edit(ids[2], {"name": "50%_off"}, actor="ann")
    assert [job.id for job in queue.page(q="ANN 50%_").jobs] == [ids[2]]
    assert len(queue.page(q="scfae").jobs) == 7
    assert queue.page(q="5__off").jobs == []


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({"kind": "train", "config": {"store": "/etc"}}, "columns"),
        ({"kind": "train", "config": {"run": "/tmp/x"}}, "chooses the folder"),
        ({"kind": "train", "config": {"loop": {"run": "x"}}}, "chooses the folder"),
        ({"kind": "derive", "store": "../..", "column": "a", "name": "b"}, "outside"),
        ({"kind": "derive", "store": "s3://b/x", "column": "a", "name": "b"}, "outside"),
        ({"kind": "extract", "media": "/etc", "store": "s", "encoders": ["ge2e"]}, "outside"),
        (
            {"kind": "extract", "media": ".", "store": "s", "encoders": ["ge2e@/etc/passwd"]},
            "outside",
        ),
        ({"kind": "extract", "media": ".", "store": "s", "encoders": ["--debug x"]}, "is not NAME"),
        ({"kind": "evaluate", "run": "0" * 12}, "no job of that id"),
    ],
)
def test_a_request_names_nothing_outside(
    queue: Queue, roots: Roots, job: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        queue.submit(read_request({"job": job}), actor="ann", roots=roots)
    assert not queue.page().jobs


def test_a_store_outside_of_the_roots_is_refused(
    queue: Queue, roots: Roots, tmp_path: Path
) -> None:
    (Path(roots.stores[0]) / "link").symlink_to(tmp_path)
    for place in (str(tmp_path), "../x", "link/x"):
        with pytest.raises(ConfigError, match="outside of the folders"):
            queue.submit(training(store=place), actor="ann", roots=roots)


@pytest.mark.parametrize(
    "document",
    [
        {"job": {"kind": "shell", "words": ["ls"]}},
        {"job": {"kind": "evaluate", "run": "../x"}},
        {"job": {"kind": "evaluate", "run": "0" * 12, "more": 1}},
        {"job": {"kind": "train", "config": {}}, "priority": 1e9},
        {},
    ],
)
def test_a_request_of_another_shape_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="request cannot be used"):
        read_request(document)


def test_an_index_of_a_newer_scfae_is_left_alone(queue: Queue) -> None:
    connection = sqlite3.connect(queue.database.path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(ServiceError, match="newer scfae"):
        Queue(queue.folder)


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "service.db").write_bytes(b"no database" * 100)
    with pytest.raises(ServiceError, match="index only"):
        Queue(tmp_path)


def test_the_request_is_kept_as_it_was_checked(queue: Queue, roots: Roots) -> None:
    job = queue.submit(training(), actor="ann", roots=roots)
    document = json.loads((queue.job(job.id).path / "job.json").read_text())
    config = document["request"]["job"]["config"]
    assert config["data"]["store"] == str(Path(roots.stores[0]) / "store")
    assert config["optim"]["weight_decay"] == 0.01


def test_a_training_may_wait_for_the_extraction_of_its_store_and_for_nothing_else(
    queue: Queue, roots: Roots
) -> None:
    with pytest.raises(ConfigError, match="no feature store, and no job that makes one"):
        queue.submit(training(store="later"), actor="ann", roots=roots)
    job = {"kind": "extract", "media": ".", "store": "later", "encoders": ["ge2e"]}
    first = queue.submit(read_request({"job": job}), actor="ann", roots=roots)
    assert queue.submit(training(store="later"), actor="ann", roots=roots).state == "queued"
    queue.wish(first.id, "cancel", actor="ann")
    with pytest.raises(ConfigError, match="no feature store"):
        queue.submit(training(store="later"), actor="ann", roots=roots)


def test_a_file_is_no_service(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="file is a file; a service is a folder"):
        Queue(tmp_path / "file")
