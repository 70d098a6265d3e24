"""What is wrong with a request is said in a sentence, not in pydantic's own words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from scfae.service.app import make_app
from scfae.service.context import Service
from scfae.service.jobs import read_request
from scfae.service.queue import Queue
from scfae.service.roots import Roots
from scfae.store.errors import ConfigError, JobNotFound


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    service = Service(Queue(tmp_path_factory.mktemp("service")), Roots())
    with TestClient(make_app(service), base_url="http://localhost") as client:
        yield client


EVALUATE = {"kind": "evaluate", "run": "0123456789ab"}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "job: missing"),
        ({"job": 3}, "job = 3: should be a mapping"),
        ({"job": {}}, "job.kind: missing"),
        ({"job": {"kind": "x"}}, "job.kind = 'x': should be one of train, sweep, evaluate, "),
        ({"job": {"kind": "train"}}, "job.config: missing"),
        ({"job": EVALUATE | {"run": "first"}}, "job.run = 'first': is no id of a job, which is 12"),
        ({"job": EVALUATE | {"device": "gpu"}}, "job.device = 'gpu': is no device of a job"),
        ({"job": EVALUATE | {"missing_rates": [2]}}, "job.missing_rates.0 = 2: should be less"),
        ({"job": EVALUATE | {"missing_rates": 2}}, "job.missing_rates = 2: should be a list"),
        ({"job": EVALUATE, "nonsense": 1}, "nonsense: there is no such field"),
        ({"job": EVALUATE, "name": "x" * 999}, "xxx': should have at most 200 characters"),
        ({"job": EVALUATE, "priority": 1000}, "priority = 1000: should be less than or equal"),
    ],
)
def test_a_request_is_told_what_is_wrong_with_it(
    client: TestClient, document: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        read_request(document)
    answer = client.post("/api/v1/runs", json=document)
    assert answer.status_code == 422
    for text in (str(raised.value), answer.json()["detail"]):
        assert said in text
        assert "body" not in text
        assert "Input" not in text
        assert len(text) < 300


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/v1/runs?limit=0", "limit = '0': should be greater than or equal to 1"),
        ("/api/v1/runs?state=done", "state.0 = 'done': should be 'queued', 'starting', "),
        ("/api/v1/runs/first", "there is no job 'first': a job goes by its id, 12 digits"),
        ("/api/v1/runs/0123456789ab", "there is no job 0123456789ab."),
    ],
)
def test_a_question_is_told_what_is_wrong_with_it(client: TestClient, path: str, said: str) -> None:
    assert client.get(path).json()["detail"].startswith(said)


def test_a_body_that_is_no_json_is_called_so(client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/api/v1/runs", content="{", headers=headers).json()
    assert answer["detail"].startswith("the request is no JSON: ")
    answer = client.post("/api/v1/runs", content="[]", headers=headers).json()
    assert answer["detail"] == "the body = []: should be a mapping"


def test_a_model_is_told_what_a_name_is(client: TestClient) -> None:
    answer = client.post("/api/v1/models/a b/promote", json={"run": "0123456789ab"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("name = 'a b': is no name: letters, digits")


def test_a_config_of_a_local_training_can_be_submitted_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "features" / "inner").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    monkeypatch.chdir(tmp_path)
    roots = Roots(stores=("features",))
    assert roots.store("features") == str(tmp_path / "features")
    assert roots.store("features/inner") == roots.store("inner")
    assert roots.store("new") == str(tmp_path / "features" / "new")  # as before: made there
    assert roots.store("secret") == str(tmp_path / "features" / "secret")
    with pytest.raises(ConfigError, match="outside"):
        roots.store("../secret")


def test_a_job_without_an_id_is_not_looked_for(tmp_path: Path) -> None:
    for name in ("", "..", "a/b", "first"):
        with pytest.raises(JobNotFound, match="a job goes by its id"):
            Queue(tmp_path).job(name)
