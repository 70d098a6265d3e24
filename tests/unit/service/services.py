"""Small services: a store, a queue beside it, and real workers and jobs that end soon."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from scfae.service import JobRecord, JobRequest, Queue, Roots
from scfae.service.jobs import read_request
from scfae.service.processes import is_alive
from scfae.store.testing import make_store

StartWorker = Callable[..., "subprocess.Popen[bytes]"]

SETTINGS: dict[str, Any] = {
    "store": "store",
    "columns": {"video": "video", "audio": "audio"},
    "label": "digit",
    "epochs": 2,
    "batch_size": 25,
    "device": "cpu",
}


def make_service_store(root: Path) -> Roots:
    """Write a store of 200 samples under a root and return the roots."""
    make_store(
        root / "store",
        num_samples=200,
        labels={"digit": 3, "fake": 2},
        missing=0.2,
        shard_size=32,
        splits=(("train", 0.5), ("val", 0.15), ("test", 0.35)),
    )
    return Roots(stores=(str(root),), media=(str(root),))


def training(**others: Any) -> JobRequest:
    """Return a request for a training; settings win over those above.

    It is not measured, which takes longer than so small a training, unless by `evaluate=True`,
    and with modalities missing by shares only where `missing_rates` says which.
    """
    outer: dict[str, Any] = {
        k: others.pop(k) for k in ("name", "tags", "priority", "max_attempts") if k in others
    }
    job = {
        "kind": "train",
        "evaluate": others.pop("evaluate", False),
        "missing_rates": others.pop("missing_rates", ()),
    }
    return read_request({"job": job | {"config": SETTINGS | others}, **outer})


def deriving(name: str) -> JobRequest:
    """Return a request for a column of that name: the quickest job, which needs no torch."""
    job = {"kind": "derive", "store": "store", "column": "video", "name": name, "pool": "mean"}
    return read_request({"job": job})


def start_worker(service: Path, log: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start `scfae worker` on a service folder."""
    command = [sys.executable, "-m", "scfae.cli", "worker", "--service", str(service)]
    with open(log, "ab") as file:
        return subprocess.Popen(
            [*command, "--gpus", "none", *words], stderr=file, env=os.environ | {"RANK": "0"}
        )


@contextmanager
def workers(queue: Queue, log: Path) -> Iterator[StartWorker]:
    """Yield what starts workers of a queue; kill them and what they leave after the block."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> "subprocess.Popen[bytes]":
        started.append(start_worker(queue.folder, log, *words))
        return started[-1]

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.wait()
        for record in queue.active():
            if record.process is not None and is_alive(record.process):
                os.killpg(record.process.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], Any], *, seconds: float = 90.0) -> Any:
    """Return the first true answer; fail after so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if answer := condition():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"still waiting after {seconds} s")


def wait_for_state(queue: Queue, job_id: str, *states: str, seconds: float = 90.0) -> JobRecord:
    """Return the job once it is in one of the states."""

    def there() -> JobRecord | None:
        record = queue.get(job_id)
        return record if record.state in states else None

    record: JobRecord = wait_for(there, seconds=seconds)
    return record


@contextmanager
def busy_machine() -> Iterator[None]:
    """Have others take the processors meanwhile, three for each."""
    loop = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(loop) for _ in range(3 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for one in others:
            one.kill()
            one.wait()


@dataclass
class Served:
    """A running server.

    Attributes:
        process: Of the server.
        port: That it listens on.
        client: An HTTP client for it.
        queue: Its jobs.
    """

    process: subprocess.Popen[str]
    port: int
    client: httpx.Client
    queue: Queue


@contextmanager
def start_server(service: Path, *words: str) -> Iterator[Served]:
    """Start `scfae serve` on a free port; end it and its worker after the block."""
    command = [sys.executable, "-m", "scfae.cli", "serve", "--service", str(service)]
    process = subprocess.Popen([*command, "--port", "0", *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    reader = threading.Thread(target=process.stderr.read)  # a full pipe would stop the server
    try:
        line = next((line for line in process.stderr if "serves on" in line), "")
        port = int(line.rpartition(":")[2])
        reader.start()
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, timeout=60) as client:
            wait_for(lambda: _answers(client))
            yield Served(process, port, client, Queue(service))
    finally:
        process.terminate()
        process.wait(timeout=60)
        if reader.ident is not None:
            reader.join()
        process.stderr.close()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False
