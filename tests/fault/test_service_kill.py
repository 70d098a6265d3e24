"""kill -9 of server, worker and trainer at random moments: no run lost, doubled or stuck."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.service.services import (
    SETTINGS,
    make_service_store,
    start_worker,
    training,
    wait_for,
    wait_for_state,
)

from scfae.service import Queue
from scfae.service.processes import is_alive
from scfae.service.stream import lines_from

pytestmark = pytest.mark.fault

FIGURES = ("step", "epoch", "train", "val", "lr", "grad_norm")
"""Of an epoch, what does not depend on how quick it was."""


class Machine:
    """A server, a worker and their trainers; what is killed comes back, as an init system does it.

    Args:
        folder: Of the service and what its processes print.
        epochs: Of each training.
    """

    def __init__(self, folder: Path, epochs: int) -> None:
        self.roots = make_service_store(folder / "stores")
        self.service, self.log = folder / "service", folder / "printed.txt"
        self.queue = Queue(self.service)
        self.epochs = epochs
        self.keys: list[str] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.server, self.worker = self._serve(), start_worker(self.service, self.log)

    def kill(self, victim: str) -> None:
        """Kill a part, or all at once, and start it again."""
        trainers = [one.process for one in self.queue.active() if one.process]
        if victim in ("trainer", "all"):
            for process in filter(is_alive, trainers):
                os.killpg(process.pid, signal.SIGKILL)
        if victim in ("worker", "all"):
            self.worker.kill()
        if victim in ("server", "all"):
            self.server.kill()
        if victim in ("worker", "all"):
            self.worker.wait()
            self.worker = start_worker(self.service, self.log)
        if victim in ("server", "all"):
            self.server.wait()
            self.server = self._serve()

    def submit(self, key: str) -> str:
        """Submit a training under a key, again and again until an answer comes."""
        job = {"kind": "train", "missing_rates": [], "config": SETTINGS | {"epochs": self.epochs}}
        body = {"job": job, "max_attempts": 100}
        headers = {"Idempotency-Key": key}

        def asked() -> str | None:
            answer = self.ask(lambda client: client.post("/runs", json=body, headers=headers))
            if answer is None:
                return None
            assert answer.status_code == 201, answer.text
            return str(answer.json()["id"])

        return str(wait_for(asked))

    def ask(self, question: Callable[[httpx.Client], httpx.Response]) -> httpx.Response | None:
        """Return an answer; None if none came."""
        try:
            with httpx.Client(base_url=self.url, timeout=20) as client:
                return question(client)
        except httpx.TransportError:
            return None

    def log_of(self, job: str) -> str:
        """Return a job's log as the server gives it."""
        answer = self.ask(lambda client: client.get(f"/runs/{job}/log?limit=4000000"))
        assert answer is not None
        return str(answer.json()["text"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1"

    def end(self) -> None:
        for process in (self.server, self.worker):
            process.kill()
            process.wait()
        for record in self.queue.active():
            if record.process and is_alive(record.process):
                os.killpg(record.process.pid, signal.SIGKILL)

    def _serve(self) -> "subprocess.Popen[bytes]":
        words = ["serve", "--service", str(self.service), "--port", str(self.port), "--no-worker"]
        words += ["--store-root", self.roots.stores[0]]
        with open(self.log, "ab") as log:
            return subprocess.Popen([sys.executable, "-m", "scfae.cli", *words], stderr=log)


class Follower(threading.Thread):
    """Follows the events of a job through every kill, as a page does; takes up lost connections."""

    def __init__(self, machine: Machine, job: str) -> None:
        super().__init__()
        self._machine, self._url = machine, f"/runs/{job}/events"
        self.lines: list[str] = []
        self.connections = 0
        self._offset = "0"
        self._has_ended = False

    def run(self) -> None:
        until = time.monotonic() + 3000
        while not self._has_ended and time.monotonic() < until:
            if self._machine.ask(self._read) is None:
                time.sleep(0.2)

    def _read(self, client: httpx.Client) -> httpx.Response:
        headers = {"Last-Event-ID": self._offset}
        with client.stream("GET", self._url, headers=headers, timeout=30) as stream:
            self.connections += 1
            found: dict[str, str] = {}
            for line in stream.iter_lines():
                name, _, value = line.partition(": ")
                if line:
                    found[name] = value
                elif found.get("event") == "end":
                    self._has_ended = True
                    break
                elif "data" in found:
                    self._offset = found["id"]
                    self.lines.append(found["data"])
                    found = {}
        return stream


@pytest.mark.parametrize(
    ("times", "epochs", "jobs"),
    [
        pytest.param(1, 60, 2, id="few"),
        pytest.param(50, 400, 4, id="many", marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
def test_no_run_is_lost_doubled_or_stuck(
    tmp_path: Path, times: int, epochs: int, jobs: int
) -> None:
    luck = random.Random(7)
    victims = [*("server", "worker", "trainer") * times, *["all"] * max(1, times // 5)]
    luck.shuffle(victims)
    machine = Machine(tmp_path, epochs)
    queue = machine.queue
    begun_s, longest_s = time.monotonic(), 3.0 if times < 10 else 6.0
    try:
        reference = queue.submit(
            training(epochs=epochs, evaluate=True), actor="t", roots=machine.roots
        ).id
        wait_for_state(queue, reference, "finished", seconds=600)
        machine.keys = [f"key-{i}" for i in range(jobs)]
        first = Follower(machine, machine.submit(machine.keys[0]))
        first.start()
        for number, victim in enumerate(victims):
            # A client whose answer is lost asks again under the same key.
            key = machine.keys[min(number + 1, jobs - 1)]
            asking = threading.Thread(target=machine.submit, args=[key])
            asking.start()
            time.sleep(luck.uniform(0.0, longest_s if number % 4 else 0.1))
            machine.kill(victim)
            asking.join()
        ids = [machine.submit(key) for key in machine.keys]
        wait_for(lambda: set(queue.counts()) == {"finished"}, seconds=900)
        first.join(timeout=60)
        assert not first.is_alive()
        check(machine, {reference, *ids}, reference)
        events = queue.job(ids[0]).events_path
        assert first.lines == [line for line, _ in all_lines(events)]
        print(figures(machine, ids, first, victims, time.monotonic() - begun_s))
    finally:
        machine.end()


def check(machine: Machine, ids: set[str], reference: str) -> None:
    """Check that each job is there once, and its curve that of one that nobody disturbed."""
    queue = machine.queue
    answer = machine.ask(lambda client: client.get("/runs?limit=500"))
    assert answer is not None
    listed = [job["id"] for job in answer.json()["jobs"]]
    assert sorted(listed) == sorted(ids) == sorted(path.name for path in queue.runs.iterdir())
    whole = curve(queue, reference)
    assert len(whole) == machine.epochs
    for job in ids:
        assert curve(queue, job) == whole, job
        history = queue.job(job).history()
        assert [event.seq for event in history] == list(range(1, len(history) + 1))
        log = queue.job(job).log_path.read_text()
        attempts = queue.get(job).attempt
        assert 1 <= log.count("scfae train ") <= attempts
        assert any("finished, step" in line for line in log.splitlines())
        assert log.splitlines()[-1].startswith("report: ")  # it was measured too
        assert machine.log_of(job) == log
    before = {job: queue.get(job) for job in ids}
    assert queue.reindex() == len(ids)
    assert {one.id: one for one in queue.page(limit=500).jobs} == before


def curve(queue: Queue, job: str) -> list[dict[str, Any]]:
    run = queue.job(job).run()
    assert run is not None
    epochs = [event for event in run.events() if event["type"] == "epoch"]
    assert [event["epoch"] for event in epochs] == list(range(1, len(epochs) + 1))
    return [{name: event[name] for name in FIGURES if name in event} for event in epochs]


def all_lines(path: Path) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    while more := list(lines_from(path, found[-1][1] if found else 0)):
        found += more
    return found


def figures(
    machine: Machine, ids: list[str], follower: Follower, victims: list[str], took_s: float
) -> str:
    records = [machine.queue.get(job) for job in ids]
    document = {
        "kills": {victim: victims.count(victim) for victim in dict.fromkeys(victims)},
        "attempts": [one.attempt for one in records],
        "losses": [one.losses for one in records],
        "resumed": [
            machine.queue.job(job).events_path.read_text().count('"resumed"') for job in ids
        ],
        "connections": follower.connections,
        "seconds": round(took_s),
    }
    return json.dumps(document)
