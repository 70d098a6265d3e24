"""kill -9 of server, worker and trainer at random moments: no run lost, doubled or stuck."""

import os
import random
import signal
import time
from pathlib import Path

import httpx
import pytest
from tests.unit.service.services import (
    SETTINGS,
    make_service_store,
    start_server,
    start_worker,
    wait_for,
)

from scfae.service import Queue
from scfae.service.processes import is_alive

pytestmark = pytest.mark.fault


@pytest.mark.parametrize(
    ("num_kills", "epochs"),
    [
        pytest.param(4, 60, id="few"),
        pytest.param(150, 400, id="many", marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
def test_no_run_is_lost_doubled_or_stuck(tmp_path: Path, num_kills: int, epochs: int) -> None:
    make_service_store(tmp_path / "stores")
    service, log = tmp_path / "service", tmp_path / "worker.log"
    words = ["--no-worker", "--store-root", str(tmp_path / "stores")]
    luck = random.Random(7)
    victims = [("server", "worker", "trainer")[i % 3] for i in range(num_kills)]
    luck.shuffle(victims)
    queue = Queue(service)
    worker = start_worker(service, log)
    keys: list[str] = []
    try:
        while victims:
            with start_server(service, *words) as served:
                # A client whose answers may be lost asks again under the same key.
                keys.append(f"key-{len(keys)}")
                for key in keys[-2:]:
                    submit(served.client, key, epochs)
                while victims:
                    time.sleep(luck.uniform(0.0, 3.0))
                    victim = victims.pop()
                    if victim == "server":
                        served.process.kill()
                        served.process.wait()
                        break
                    if victim == "worker":
                        worker.kill()
                        worker.wait()
                        worker = start_worker(service, log)
                    for record in queue.active():
                        if victim == "trainer" and record.process and is_alive(record.process):
                            os.killpg(record.process.pid, signal.SIGKILL)
        with start_server(service, *words) as served:
            ids = {submit(served.client, key, epochs) for key in keys}
            wait_for(lambda: set(queue.counts()) == {"finished"}, seconds=120 + 20 * num_kills)
            jobs = served.client.get("/api/v1/runs?limit=500").json()["jobs"]
        assert {job["id"] for job in jobs} == ids
        assert len(jobs) == len(keys) == len(list((service / "runs").iterdir()))
        for job in jobs:
            run = queue.job(job["id"]).run()
            assert run is not None
            steps = [event["step"] for event in run.events() if event["type"] == "epoch"]
            assert steps == [4 * (i + 1) for i in range(epochs)], job["id"]
            history = queue.job(job["id"]).history()
            assert [event.seq for event in history] == list(range(1, len(history) + 1))
        assert queue.reindex() == len(keys)
    finally:
        worker.terminate()
        worker.wait(timeout=20)
        for record in queue.active():
            if record.process and is_alive(record.process):
                os.killpg(record.process.pid, signal.SIGKILL)


def submit(client: httpx.Client, key: str, epochs: int) -> str:
    job = {"kind": "train", "config": SETTINGS | {"epochs": epochs}}
    body = {"job": job, "max_attempts": 100}
    answer = client.post("/api/v1/runs", json=body, headers={"Idempotency-Key": key})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])
