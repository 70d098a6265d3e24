"""Workers with real trainings: each ends as it should, whoever is killed meanwhile.

Those that are slow here have a quick likeness with a server beside: `test_beside`, `test_client`,
and the few kills of `tests/fault/test_service_kill`.
"""

import os
import signal

import pytest

from scfae.service import JobRecord, Queue, Roots
from scfae.service.processes import is_alive
from scfae.service.roster import Roster
from scfae.service.worker import named_gpus
from scfae.store.errors import ConfigError

from .services import (
    StartWorker,
    training,
    wait_for,
    wait_for_state,
)

LONG = 4000
"""Epochs of a training that a test stops."""


def states(queue: Queue, job_id: str) -> list[str]:
    history = queue.job(job_id).history()
    return [event.details["state"] for event in history if event.type == "state"]


def wait_for_training(queue: Queue, job_id: str, *, attempt: int = 1) -> JobRecord:
    """Return the job once its run says that it trains."""

    def is_there() -> JobRecord | None:
        record, folder = queue.get(job_id), queue.job(job_id)
        begun = folder.events_path.exists() and folder.progress().get("step", 0) > 0
        return record if record.state == "running" and record.attempt == attempt and begun else None

    record: JobRecord = wait_for(is_there)
    return record


def test_jobs_end_as_their_commands_do(queue: Queue, roots: Roots, worker: StartWorker) -> None:
    good = queue.submit(training(), actor="ann", roots=roots)
    bad = queue.submit(training(label="nothing"), actor="ann", roots=roots)
    process = worker("--slots", "2")
    record = wait_for_state(queue, good.id, "finished", "failed")
    assert (record.state, record.attempt, record.reason) == ("finished", 1, "")
    assert states(queue, good.id) == ["starting", "running", "finished"]
    assert record.summary["step"] == record.summary["total_steps"] == 8
    failed = wait_for_state(queue, bad.id, "finished", "failed")
    assert failed.state == "failed"
    assert "nothing" in failed.reason
    assert "scfae train" in queue.job(bad.id).log_path.read_text()
    (one,) = Roster(queue.database).workers()
    Roster(queue.database).drain(one.id)
    assert process.wait(timeout=60) == 0
    assert Roster(queue.database).workers() == []


@pytest.mark.slow
def test_a_cancelled_job_saves_and_a_resumed_one_goes_on(
    queue: Queue, roots: Roots, worker: StartWorker
) -> None:
    job = queue.submit(training(epochs=LONG), actor="ann", roots=roots)
    worker()
    wait_for_training(queue, job.id)
    queue.wish(job.id, "cancel", actor="ann", reason="wrong label")
    record = wait_for_state(queue, job.id, "cancelled")
    assert record.reason == "stopped with a checkpoint, as asked"
    step = record.summary["step"]
    assert queue.job(job.id).run_path.joinpath("checkpoints", "last.pt").exists()
    queue.resume(job.id, actor="bob")
    assert wait_for_training(queue, job.id, attempt=2).process != record.process
    wait_for(lambda: queue.job(job.id).progress()["step"] > step)
    queue.wish(job.id, "kill", actor="bob")
    assert wait_for_state(queue, job.id, "cancelled").attempt == 2


def test_a_killed_training_goes_on_from_its_checkpoint_and_fails_after_too_many(
    queue: Queue, roots: Roots, worker: StartWorker
) -> None:
    job = queue.submit(training(epochs=LONG, max_attempts=2), actor="ann", roots=roots)
    worker()
    first = wait_for_training(queue, job.id)
    assert first.process is not None
    os.killpg(first.process.pid, signal.SIGKILL)
    second = wait_for_training(queue, job.id, attempt=2)
    assert second.process is not None
    assert second.losses == 1
    run = queue.job(job.id).run()
    assert run is not None
    wait_for(lambda: [event for event in run.events() if event["type"] == "resumed"])
    os.killpg(second.process.pid, signal.SIGKILL)
    record = wait_for_state(queue, job.id, "failed")
    assert record.reason.startswith("2 interruptions; the last: its process went")


@pytest.mark.slow
def test_a_killed_worker_takes_nothing_with_it(
    queue: Queue, roots: Roots, worker: StartWorker
) -> None:
    job = queue.submit(training(epochs=LONG), actor="ann", roots=roots)
    first = worker()
    before = wait_for_training(queue, job.id)
    first.kill()
    first.wait()
    assert before.process is not None
    assert is_alive(before.process)
    worker()
    after = wait_for(
        lambda: record if (record := queue.get(job.id)).worker != before.worker else None
    )
    assert (after.attempt, after.process) == (1, before.process)  # adopted, not started again
    queue.wish(job.id, "cancel", actor="ann")
    record = wait_for_state(queue, job.id, "cancelled")
    assert record.reason == "stopped with a checkpoint, as asked"


@pytest.mark.slow
def test_all_killed_at_once_recover_by_themselves(
    queue: Queue, roots: Roots, worker: StartWorker
) -> None:
    job = queue.submit(training(epochs=100), actor="ann", roots=roots)
    first = worker()
    before = wait_for_training(queue, job.id)
    assert before.process is not None
    first.kill()
    os.killpg(before.process.pid, signal.SIGKILL)
    first.wait()
    worker()
    record = wait_for_state(queue, job.id, "finished", "failed")
    assert (record.state, record.attempt, record.losses) == ("finished", 2, 1)


@pytest.mark.slow
@pytest.mark.parametrize("on_stop", ["leave", "checkpoint"])
def test_a_stopped_worker_leaves_its_jobs_or_has_them_save(
    queue: Queue, roots: Roots, worker: StartWorker, on_stop: str
) -> None:
    job = queue.submit(training(epochs=LONG), actor="ann", roots=roots)
    process = worker("--on-stop", on_stop)
    before = wait_for_training(queue, job.id)
    assert before.process is not None
    process.terminate()
    assert process.wait(timeout=60) == 0
    record = queue.get(job.id)
    if on_stop == "leave":
        assert record.state == "running"
        assert is_alive(before.process)
    else:
        assert (record.state, record.losses) == ("queued", 0)
        assert not is_alive(before.process)
        assert queue.job(job.id).run_path.joinpath("checkpoints", "last.pt").exists()


def test_gpus_are_named_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert named_gpus(["auto"], 1) == ["2", "3"]
    assert named_gpus(["none"], 2) == ["", ""]
    assert named_gpus(["0", "GPU-1f-2"], 1) == ["0", "GPU-1f-2"]
    for wrong in (["nonsense"], ["auto", "1"], ["-1"], ["1", "1"], [""]):
        with pytest.raises(ConfigError, match="--gpus"):
            named_gpus(wrong, 1)
