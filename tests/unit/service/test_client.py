"""The client and the commands on it, against a real server and a real worker."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scfae.service.client import Client
from scfae.store.errors import (
    AccessRefused,
    ConfigError,
    JobNotFound,
    JobStateError,
    ServiceUnreachable,
)

from .services import SETTINGS, Served, make_service_store, start_server, training, wait_for


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("stores")
    make_service_store(root)
    words = ["--store-root", str(root), "--gpus", "none"]
    with start_server(tmp_path_factory.mktemp("service"), *words) as served:
        yield served


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{served.port}") as client:
        yield client


def scfae(served: Served, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "scfae.cli", *words]
    command += ["--url", f"http://127.0.0.1:{served.port}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_training_from_the_command_line_to_its_last_event(
    served: Served, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(SETTINGS))
    words = ["--set", "lr=0.01", "seed=2", "--name", "mine"]
    submitted = scfae(served, "submit", str(tmp_path / "train.yaml"), *words)
    assert submitted.returncode == 0, submitted.stderr
    job = submitted.stdout.strip()
    events = list(client.events(job))
    assert [event["type"] for event in events] == ["started", "epoch", "epoch", "finished"]
    detail = client.get(job)
    assert (detail.state, detail.name, detail.progress["step"]) == ("finished", "mine", 8)
    assert detail.request.job.model_dump()["config"]["optim"]["lr"] == 0.01
    assert "val.loss" in client.metrics(job, "train.loss").keys
    client.download(job, "run/checkpoints/best.pt", tmp_path / "best.pt")
    assert (tmp_path / "best.pt").stat().st_size > 1000
    said = scfae(served, "logs", job, "--follow")
    assert said.returncode == 0
    assert "scfae train" in said.stdout
    listed = scfae(served, "runs", "--json")
    assert json.loads(listed.stdout)["jobs"][0]["id"] == job
    assert "finished, by worker:" in scfae(served, "runs", job).stdout


def test_a_training_is_cancelled_and_resumed(served: Served, client: Client) -> None:
    job = client.submit(training(epochs=4000)).id
    wait_for(lambda: client.get(job).progress.get("step", 0) > 0)
    assert scfae(served, "cancel", job, "--reason", "enough").returncode == 0
    wait_for(lambda: client.get(job).state == "cancelled")
    again = scfae(served, "resume", job)
    assert again.returncode == 0, again.stderr
    wait_for(lambda: client.get(job).state == "running")
    client.cancel(job, now=True)
    wait_for(lambda: client.get(job).state == "cancelled")
    wishes = [one.details["wish"] for one in client.get(job).history if one.type == "wish"]
    assert wishes == ["cancel", "kill"]
    client.delete(job)
    with pytest.raises(JobNotFound, match=job):
        client.get(job)


def test_errors_are_those_of_the_library(client: Client) -> None:
    with pytest.raises(ConfigError, match="lr = -1"):
        client.submit(training(lr=-1))
    with pytest.raises(JobNotFound, match="no job nothing"):
        client.cancel("nothing")
    job = client.submit(training(), key="same").id
    assert client.submit(training(), key="same").id == job
    wait_for(lambda: client.get(job).state == "finished")
    with pytest.raises(JobStateError, match="is finished"):
        client.resume(job)
    with Client(client.url, token="scfae_wrong") as other, pytest.raises(AccessRefused):
        other.whoami()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense", "http://[", "ftp://x"])
def test_no_service_is_said_in_a_sentence(url: str) -> None:
    with pytest.raises((ServiceUnreachable, ConfigError)), Client(url) as client:
        client.whoami()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["submit", "none.yaml"], 2, "there is no file"),
        (["runs", "0" * 12], 1, "there is no job"),
        (["runs", "--state", "wrong"], 2, "state"),
        (["cancel"], 2, "JOB"),
    ],
)
def test_wrong_words_end_in_a_sentence(
    served: Served, words: list[str], status: int, said: str
) -> None:
    done = scfae(served, *words)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr


def test_another_request_is_refused(served: Served, tmp_path: Path) -> None:
    document: Any = {"job": {"kind": "derive", "store": "/etc", "column": "a", "name": "b"}}
    (tmp_path / "job.json").write_text(json.dumps(document))
    done = scfae(served, "submit", str(tmp_path / "job.json"))
    assert (done.returncode, "outside of the folders" in done.stderr) == (2, True), done.stderr
