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
    FilterError,
    JobNotFound,
    JobStateError,
    ServiceUnreachable,
    StoreNotFound,
    UnknownEncoder,
)

from .services import (
    SETTINGS,
    Served,
    deriving,
    make_service_store,
    start_server,
    training,
    wait_for,
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("stores")
    make_service_store(root)
    words = ["--store-root", str(root), "--media-root", str(root), "--gpus", "none"]
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
    stopped = wait_for(lambda: one if (one := client.get(job)).state == "cancelled" else None)
    assert stopped.reason == "stopped with a checkpoint, as asked"
    again = scfae(served, "resume", job)
    assert again.returncode == 0, again.stderr
    wait_for(lambda: client.get(job).state == "running")
    wait_for(lambda: client.get(job).progress["step"] > stopped.progress["step"])
    client.cancel(job, now=True)
    wait_for(lambda: client.get(job).state == "cancelled")
    wishes = [one.details["wish"] for one in client.get(job).history if one.type == "wish"]
    assert wishes == ["cancel", "kill"]
    client.delete(job)
    with pytest.raises(JobNotFound, match=job):
        client.get(job)


def test_a_request_is_looked_at_and_found_by_a_filter(client: Client) -> None:
    assert client.check(training(lr=0.25)).problems == ()
    assert "lr" in client.check(training(lr=-1)).problems[0]
    job = client.submit(training(lr=0.125, epochs=4000, priority=-100)).id
    assert [one.id for one in client.page(where="lr=0.125").jobs] == [job]
    with pytest.raises(FilterError, match="character 4"):
        client.page(where="lr<")
    client.cancel(job, now=True)
    wait_for(lambda: client.get(job).state == "cancelled")
    assert "job.json" in [one.path for one in client.artifacts(job)]
    client.delete(job)
    (entry,) = [one.entry for one in client.trash().jobs if one.id == job]
    assert client.restore(entry).id == job
    client.delete(job)
    (entry,) = [one.entry for one in client.trash().jobs if one.id == job]
    assert client.empty_trash(entry).num_jobs == 1
    with pytest.raises(JobNotFound):
        client.empty_trash(entry)
    others = len(client.trash().jobs)
    assert client.empty_trash().num_jobs == others
    assert client.trash().jobs == ()


def test_stores_and_samples(client: Client) -> None:
    (store,) = client.stores()
    assert (store.num_samples, store.error) == (200, None)
    whole = client.store(store.id)
    assert {one.name for one in whole.columns} == set(store.columns)
    page = client.samples(store.id, q="split:test", limit=2)
    assert (len(page.samples), page.num_found) == (2, 70)
    more = client.samples(store.id, q="split:test", limit=2, cursor=page.cursor)
    assert more.samples[0].key != page.samples[0].key
    sample = client.sample(store.id, page.samples[0].key, maps=["audio"], media=False)
    assert sample.key == page.samples[0].key
    assert {one.name for one in sample.columns if one.map is not None} <= {"audio"}
    with pytest.raises(StoreNotFound):
        client.store("nothing")
    with pytest.raises(UnknownEncoder, match="no such encoder"):
        client.swap(store.id, "audio", "no such encoder")
    assert "ge2e" in [one["name"] for one in client.encoders()]


def test_the_service_itself(client: Client) -> None:
    assert client.whoami().role == "admin"
    assert client.system(fresh=True).num_slots == len(client.workers()) == 1
    made = client.add_token("ann", "operator")
    assert [(one.name, one.role) for one in client.tokens()] == [("ann", "operator")]
    with Client(client.url, token=made.token) as other:
        assert (other.whoami().name, other.whoami().role) == ("ann", "operator")
        with pytest.raises(AccessRefused, match="takes admin"):
            other.tokens()
    client.remove_token("ann")
    assert client.tokens() == []
    lines = client.audit(q="tokens", limit=1)
    assert (len(lines.events), lines.cursor is None) == (1, False)
    assert client.models() == []


def test_webhooks(client: Client) -> None:
    hook = client.add_webhook("https://93.184.216.34/x", ["job.failed"])
    assert hook.secret
    assert [(one.id, one.events) for one in client.webhooks()] == [(hook.id, ("job.failed",))]
    told = client.ping_webhook(hook.id)
    assert told.id in [one.id for one in client.deliveries(webhook=hook.id).deliveries]
    client.remove_webhook(hook.id)
    assert client.webhooks() == []
    with pytest.raises(ConfigError, match="private"):
        client.add_webhook("http://127.0.0.1/x")


def test_errors_are_those_of_the_library(client: Client) -> None:
    with pytest.raises(ConfigError, match="lr = -1"):
        client.submit(training(lr=-1))
    with pytest.raises(JobNotFound, match="no job 'nothing': a job goes by its id"):
        client.cancel("nothing")
    job = client.submit(deriving("mean"), key="same").id
    assert client.submit(deriving("mean"), key="same").id == job
    wait_for(lambda: client.get(job).state == "finished")
    with pytest.raises(JobStateError, match="is finished"):
        client.resume(job)
    with Client(client.url, token="scfae_wrong") as other, pytest.raises(AccessRefused):
        other.whoami()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://["])
def test_no_service_is_said_in_a_sentence(url: str) -> None:
    with pytest.raises(ServiceUnreachable), Client(url) as client:
        client.whoami()


@pytest.mark.parametrize("url", ["nonsense", "http://", "http://[::1", "ftp://x", "127.0.0.1:1"])
def test_an_address_that_is_none_is_wrong_usage(url: str) -> None:
    with pytest.raises(ConfigError, match="--url"):
        Client(url)


@pytest.mark.parametrize("token", ["scfae_\N{LATIN SMALL LETTER E WITH ACUTE}", "two\nlines"])
def test_a_token_that_no_header_can_carry_is_named(token: str) -> None:
    with pytest.raises(ConfigError, match=r"\$SCFAE_TOKEN: a token has letters"):
        Client("http://127.0.0.1:9", token=token)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["submit", "none.yaml"], 2, "there is no config file"),
        (["submit", "none.json"], 2, "there is no file"),
        (["runs", "0" * 12], 1, "there is no job"),
        (["runs", "first"], 1, "a job goes by its id"),
        (["runs", ""], 2, "'' is no name of anything here"),
        (["runs", "../stores"], 2, "'../stores' is no name of anything here"),
        (["cancel", ".."], 2, "'..' is no name of anything here"),
        (["models", "../runs"], 2, "is no name of anything here"),
        (["promote", "0" * 12, ""], 2, "is no name of anything here"),
        (["runs", "a b?c#d%2e"], 1, "there is no job 'a b?c#d%2e'"),
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


def test_what_could_only_fail_is_refused_at_once(served: Served, tmp_path: Path) -> None:
    def refused(text: str, name: str = "a.yaml") -> str:
        (tmp_path / name).write_text(text)
        done = scfae(served, "submit", str(tmp_path / name))
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr

    gone = yaml.safe_dump(SETTINGS | {"store": "nowhere"})
    assert "there is no feature store, and no job that makes one there" in refused(gone)
    assert "line 2, column 1: expected ',' or ']'" in refused("store: [a\n")
    done = scfae(served, "submit", str(tmp_path / "a.yaml"), "--set", "lr=[1,")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    job: dict[str, Any] = {"kind": "extract", "store": "x", "media": ".", "encoders": ["no-such"]}
    assert "no-such" in refused(json.dumps({"job": job}), "a.json")
    job = {"kind": "derive", "store": "nowhere", "column": "a", "name": "b", "pool": "mean"}
    assert "there is no feature store" in refused(json.dumps({"job": job}), "a.json")


def test_a_dry_submission_tells_and_submits_nothing(
    served: Served, tmp_path: Path, client: Client
) -> None:
    before = client.page().counts
    file = tmp_path / "train.yaml"
    file.write_text(yaml.safe_dump(SETTINGS))
    done = scfae(served, "submit", str(file), "--dry-run", "--set", "epochs=7")
    assert (done.returncode, "4 steps an epoch, 28 in all" in done.stdout) == (0, True), done.stderr
    timed = scfae(served, "submit", str(file), "--dry-run", "--measure", "--json")
    assert json.loads(timed.stdout)["estimate"]["source"] == "measured", timed.stderr
    wrong = scfae(served, "submit", str(file), "--dry-run", "--set", "label=nothing")
    assert (wrong.returncode, "nothing" in wrong.stderr) == (2, True), wrong.stderr
    alone = scfae(served, "submit", str(file), "--measure")
    assert (alone.returncode, "belongs to --dry-run" in alone.stderr) == (2, True), alone.stderr
    assert client.page().counts == before


def test_another_request_is_refused(served: Served, tmp_path: Path) -> None:
    document: Any = {"job": {"kind": "derive", "store": "/etc", "column": "a", "name": "b"}}
    (tmp_path / "job.json").write_text(json.dumps(document))
    done = scfae(served, "submit", str(tmp_path / "job.json"))
    assert (done.returncode, "outside of the folders" in done.stderr) == (2, True), done.stderr
