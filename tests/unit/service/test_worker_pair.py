"""Two workers on one queue, jobs that will not end, workers that hang, and the drain."""

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from scfae.service import Queue, Roots
from scfae.service.processes import is_alive, process_of
from scfae.service.roster import Roster, WorkerRecord
from scfae.service.states import DEADLINE_S
from scfae.service.worker import Worker

from .services import (
    StartWorker,
    deriving,
    training,
    wait_for,
    wait_for_state,
)

LONG = 4000


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that does nothing, in a session of its own, as a job's is."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def begun(queue: Queue, job: str) -> bool:
    return queue.get(job).state == "running" and queue.job(job).progress().get("step", 0) > 0


def test_two_workers_share_the_jobs_and_none_is_done_twice(
    queue: Queue, roots: Roots, worker: StartWorker
) -> None:
    worker()
    worker()
    wait_for(lambda: len(Roster(queue.database).workers()) == 2)
    requests = [deriving(f"mean-{number}") for number in range(6)]
    ids = [queue.submit(one, actor="ann", roots=roots).id for one in requests]
    wait_for(lambda: queue.counts() == {"finished": 6}, seconds=240)
    records = [queue.get(job) for job in ids]
    assert [one.attempt for one in records] == [1] * 6
    assert len({one.worker for one in records}) == 2
    for name in {one.worker for one in records}:  # one slot each: one job after the other
        spans = sorted(
            (one.started_s or 0.0, one.ended_s or 0.0) for one in records if one.worker == name
        )
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    logs = [queue.job(job).log_path.read_text() for job in ids]
    assert [log.count("scfae store derive") for log in logs] == [1] * 6


def test_a_job_that_does_not_heed_sigterm_is_killed_after_the_grace(
    queue: Queue, roots: Roots, worker: StartWorker
) -> None:
    job = queue.submit(training(epochs=LONG), actor="ann", roots=roots)
    worker("--grace", "1.5")
    wait_for(lambda: begun(queue, job.id))
    process = queue.get(job.id).process
    assert process is not None
    os.killpg(process.pid, signal.SIGSTOP)  # it hears nothing any more
    begun_s = time.time()
    queue.wish(job.id, "cancel", actor="ann")
    record = wait_for_state(queue, job.id, "cancelled", "failed", "finished")
    assert (record.state, record.reason) == ("cancelled", "stopped at once, as asked")
    assert 1.5 < time.time() - begun_s < 10
    assert not is_alive(process)


def test_a_job_whose_worker_hangs_is_started_by_another_after_its_deadline(
    queue: Queue,
    roots: Roots,
    worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(DEADLINE_S, "starting", 1.0)
    hung = worker()
    (told,) = wait_for(lambda: Roster(queue.database).workers())
    hung.send_signal(signal.SIGSTOP)
    job = queue.submit(deriving("late"), actor="ann", roots=roots)
    assert queue.claim(told.id, 0) is not None
    other = Worker(queue, gpus=[""], id="other")
    other.step()
    assert queue.get(job.id).worker == told.id  # it lives, and has its time
    time.sleep(1.1)

    def is_finished() -> bool:
        other.step()
        return queue.get(job.id).state == "finished"

    wait_for(is_finished)
    record = queue.get(job.id)
    assert (record.worker, record.attempt, record.losses) == ("other", 2, 1)
    reasons = [event.reason for event in queue.job(job.id).history()]
    assert f"worker {told.id} did not start it in time" in reasons


def test_a_job_of_this_worker_that_never_began_is_given_up_too(
    queue: Queue, roots: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DEADLINE_S, "starting", 0.0)
    job = queue.submit(training(max_attempts=1), actor="ann", roots=roots)
    assert queue.claim("one", 0) is not None
    Worker(queue, gpus=[""], id="one").step()
    record = queue.get(job.id)
    assert record.state == "failed"
    assert "could not be started in time" in record.reason


def test_a_process_that_came_late_does_not_work_beside_the_next_attempt(
    queue: Queue, roots: Roots, sleeper: "subprocess.Popen[bytes]"
) -> None:
    job = queue.submit(training(), actor="ann", roots=roots)
    assert queue.claim("gone", 0) is not None
    queue.move(job.id, "interrupted", actor="worker:x")
    queue.job(job.id).write_process(1, process_of(sleeper.pid))
    worker = Worker(queue, num_slots=0, id="one")
    worker.step()
    assert queue.get(job.id).state == "interrupted"
    assert sleeper.wait(timeout=60) == -signal.SIGKILL
    worker.step()
    assert queue.get(job.id).state == "queued"


def test_an_attempt_that_began_meanwhile_is_not_given_up(
    queue: Queue, roots: Roots, sleeper: "subprocess.Popen[bytes]"
) -> None:
    job = queue.submit(training(), actor="ann", roots=roots)
    seen = queue.claim("slow", 0)
    assert seen is not None
    queue.start(job.id, 1, process_of(sleeper.pid), worker="slow")
    Worker(queue, id="one")._interrupt(seen, "as it looked before")
    assert queue.get(job.id).state == "running"


def test_a_drained_worker_ends_with_its_last_job_and_leaves_the_next(
    queue: Queue, roots: Roots, worker: StartWorker
) -> None:
    first = queue.submit(training(epochs=LONG), actor="ann", roots=roots)
    process = worker()
    wait_for(lambda: begun(queue, first.id))
    second = queue.submit(deriving("next"), actor="ann", roots=roots)
    roster = Roster(queue.database)
    (told,) = roster.workers()
    roster.drain(told.id)
    wait_for(lambda: roster.workers()[0].seen_s > told.seen_s, seconds=20)
    assert process.poll() is None
    queue.wish(first.id, "cancel", actor="ann")
    assert process.wait(timeout=30) == 0
    assert queue.get(first.id).state == "cancelled"
    assert (queue.get(second.id).state, queue.get(second.id).attempt) == ("queued", 0)
    assert roster.workers() == []


def test_a_job_whose_folder_was_taken_away_or_damaged_holds_nobody_up(
    queue: Queue, roots: Roots, sleeper: "subprocess.Popen[bytes]"
) -> None:
    ids = [queue.submit(training(), actor="ann", roots=roots).id for _ in range(4)]
    claimed = queue.claim("one", 0)
    assert claimed is not None
    assert claimed.id == ids[0]
    queue.start(ids[0], 1, process_of(sleeper.pid), worker="one")
    for job in (ids[0], ids[1]):  # a running one and one that waits
        queue.job(job).path.rename(queue.folder / job)
    (queue.job(ids[2]).path / "job.json").write_text("{")
    worker = Worker(queue, num_slots=0, id="one")
    worker.step()
    assert len(queue.active()) == 1  # its process lives
    sleeper.kill()
    sleeper.wait()
    worker.step()
    assert queue.active() == []
    after = queue.claim("one", 0)
    assert after is not None
    assert after.id == ids[3]
    assert [one.id for one in queue.page().jobs] == [ids[3]]
    again = Queue(queue.folder)
    assert again.reindex() == 1


def test_a_worker_outlives_a_step_that_fails(
    queue: Queue, roots: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scfae.service.worker.TROUBLE_S", 0.0)
    worker = Worker(queue, num_slots=0, id="one", poll_s=0.0)
    queue.database.path.rename(queue.folder / "away")
    queue.database.path.mkdir()  # no file can be had there
    steps = 0
    step = worker.step

    def counted() -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            queue.database.path.rmdir()
            (queue.folder / "away").rename(queue.database.path)
            os.kill(os.getpid(), signal.SIGTERM)
        step()

    worker.step = counted  # type: ignore[method-assign]
    worker.run()
    assert steps == 3
    assert Roster(queue.database).workers() == []


def test_a_record_of_a_worker_without_a_process_is_gone(queue: Queue) -> None:
    process = subprocess.Popen(["true"])
    record = WorkerRecord(
        id="w",
        process=process_of(process.pid),
        host="h",
        num_slots=1,
        gpus=(),
        on_stop="leave",
    )
    Roster(queue.database).beat(record)
    process.wait()
    assert Roster(queue.database).is_gone("w")
