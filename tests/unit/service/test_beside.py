"""The worker beside a server: there again after a kill, never twice; and the end of a server."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from scfae.service import JobRecord, Process, Queue
from scfae.service.processes import is_alive
from scfae.service.roster import Roster, WorkerRecord

from .services import SETTINGS, Served, busy_machine, make_service_store, start_server, wait_for

NUM_STREAMS = 20


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stores")
    make_service_store(root)
    return root


def submit(served: Served) -> str:
    body: dict[str, Any] = {"job": {"kind": "train", "config": SETTINGS | {"epochs": 4000}}}
    return str(served.client.post("/api/v1/runs", json=body).json()["id"])


def running(queue: Queue, job: str) -> JobRecord:
    """Return the job once it trains."""

    def there() -> JobRecord | None:
        record = queue.get(job)
        has_begun = queue.job(job).progress().get("step", 0) > 0
        return record if record.state == "running" and has_begun else None

    record: JobRecord = wait_for(there)
    return record


def only_worker(queue: Queue, *, but: str = "") -> WorkerRecord:
    """Return the worker, once there is one and only one, of another name."""

    def alone() -> WorkerRecord | None:
        workers = Roster(queue.database).workers()
        return workers[0] if len(workers) == 1 and workers[0].id != but else None

    record: WorkerRecord = wait_for(alone)
    return record


def kill_jobs(queue: Queue) -> None:
    for record in queue.active():
        if record.process is not None and is_alive(record.process):
            os.killpg(record.process.pid, signal.SIGKILL)


def test_a_killed_worker_or_server_comes_back_and_the_training_goes_on(
    tmp_path: Path, root: Path
) -> None:
    queue = Queue(tmp_path)
    words = ["--store-root", str(root), "--gpus", "none"]
    try:
        with start_server(tmp_path, *words) as served:
            job = submit(served)
            first = running(queue, job)
            told = only_worker(queue)
            os.kill(told.process.pid, signal.SIGKILL)
            second = only_worker(queue, but=told.id)
            wait_for(lambda: queue.get(job).worker == second.id)
            served.process.kill()
            served.process.wait()
        assert is_alive(second.process)
        with start_server(tmp_path, *words) as served:
            third = only_worker(queue, but=second.id)
            wait_for(lambda: queue.get(job).worker == third.id)
            record = queue.get(job)
            assert (record.state, record.attempt) == ("running", 1)
            assert record.process == first.process
            both = json.loads((tmp_path / "beside.json").read_text())
            assert Process.model_validate(both["worker"]) == third.process
            # Of two servers on one folder, neither ends the worker of the other.
            with start_server(tmp_path, *words):
                wait_for(lambda: len(Roster(queue.database).workers()) == 2)
        wait_for(lambda: Roster(queue.database).workers() == [])
    finally:
        kill_jobs(queue)


@pytest.mark.parametrize("on_stop", ["leave", "checkpoint"])
def test_the_server_ends_within_seconds_with_many_streams_and_its_run_goes_on_or_saves(
    tmp_path: Path, root: Path, on_stop: str
) -> None:
    queue = Queue(tmp_path)
    words = ["--store-root", str(root), "--gpus", "none", "--on-stop", on_stop]
    try:
        with start_server(tmp_path, *words) as served:
            job = submit(served)
            before = running(queue, job)
            assert before.process is not None
            streams = [_Stream(served, job) for _ in range(NUM_STREAMS)]
            for stream in streams:
                stream.start()
            wait_for(lambda: all(stream.lines for stream in streams))
            with busy_machine():
                begun_s = time.monotonic()
                served.process.send_signal(signal.SIGTERM)
                assert served.process.wait(timeout=60) == 143
                assert time.monotonic() - begun_s < 5
            for stream in streams:
                stream.join(timeout=30)
                assert not stream.is_alive()
        wait_for(lambda: Roster(queue.database).workers() == [])
        record = queue.get(job)
        if on_stop == "leave":
            assert record.state == "running"
            assert is_alive(before.process)
        else:
            assert (record.state, record.losses) == ("queued", 0)
            assert not is_alive(before.process)
            assert (queue.job(job).run_path / "checkpoints" / "last.pt").exists()
    finally:
        kill_jobs(queue)


class _Stream(threading.Thread):
    """Reads a stream of events until it ends."""

    def __init__(self, served: Served, job: str) -> None:
        super().__init__()
        self._url = f"http://127.0.0.1:{served.port}/api/v1/runs/{job}/events"
        self.lines = 0

    def run(self) -> None:
        import httpx

        with httpx.Client(timeout=60) as client, client.stream("GET", self._url) as stream:
            try:
                for line in stream.iter_lines():
                    self.lines += line.startswith("id:")
            except httpx.TransportError:
                return  # cut off, as streams of a server that ends are
