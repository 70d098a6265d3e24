"""What a submitted config may not do, however it is spelled: each is refused in a sentence."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from scfae.service import Queue, Roots
from scfae.service.app import make_app
from scfae.service.context import Service
from scfae.train.yaml_text import to_yaml

from .services import SETTINGS, make_service_store

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stores")
    make_service_store(root)
    (root / "link").symlink_to("/etc")
    return root


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Queue:
    return Queue(tmp_path_factory.mktemp("service"))


@pytest.fixture(scope="module")
def client(queue: Queue, root: Path) -> Iterator[TestClient]:
    roots = Roots(stores=(str(root),), media=(str(root),))
    app = make_app(Service(queue, roots))
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


def post(client: TestClient, job: dict[str, Any]) -> Any:
    # By hand: the client would refuse to spell NaN and half characters itself.
    text = json.dumps({"job": job})
    return client.post("/api/v1/runs", content=text, headers={"Content-Type": "application/json"})


def train(**settings: Any) -> dict[str, Any]:
    return {"kind": "train", "config": SETTINGS | settings}


def sweep(grid: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"kind": "sweep", "config": SETTINGS | settings, "grid": grid}


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (train(store="../../etc"), "outside"),
        (train(store="/etc"), "outside"),
        (train(store="link"), "outside"),
        (train(store="file:///etc"), "outside"),
        (train(store="s3://bucket/store"), "outside"),
        (train(store="store\0"), "NUL"),
        (train(run="/tmp/elsewhere"), "run:"),
        (train(loop={"run": "/tmp/elsewhere"}), "run:"),
        (train(masking="table:/etc/passwd"), "outside"),
        (train(masking="table:../../etc/passwd"), "outside"),
        (train(masking="schedule:0:none,1:table:/etc/passwd"), "schedule"),
        (train(trackers=["wandb"]), "--allow-trackers"),
        (train(encoders={"video": "ge2e@/etc/passwd"}), "published weights or random:SEED"),
        (train(encoders={"video": {"encoder": "hf:/etc"}}), "no model of a folder"),
        (train(trackers="tensorboard,mlflow"), "--allow-trackers"),
        (train(loop={"trackers": ["mlflow"]}), "--allow-trackers"),
        (train(fusion="os.system"), "fusion"),
        (train(_component_="os.system"), "no such setting"),
        (train(where={"digit": NAN}), "JSON"),
        (train(options={"expansion": INF}), "JSON"),
        (train(label="\ud800"), "JSON"),
        (train(**{"\ud800": 1}), "no such setting"),
        (sweep({"store": ["/etc"]}), "cannot vary"),
        (sweep({"data.store": ["/etc"]}), "cannot vary"),
        (sweep({"loop.run": ["/etc"]}), "run:"),
        (sweep({"loop.trackers": [["wandb"]]}), "--allow-trackers"),
        (sweep({"trackers": ["mlflow"]}), "--allow-trackers"),
        (sweep({"masking": ["none", "table:/etc/passwd"]}), "outside"),
        (sweep({"lr": [float(i) for i in range(1, 60)], "lr_end": list(range(60))}), "2000"),
        (sweep({"lr": [-1.0]}), "lr = -1"),
        ({"kind": "evaluate", "run": "0" * 12, "columns": {"--debug": "x"}}, "pattern"),
        ({"kind": "predict-batch", "run": "0" * 12, "media": ".", "only": ["--x"]}, "pattern"),
        ({"kind": "evaluate", "run": "../../../../etc"}, "no id of a job"),
        ({"kind": "derive", "store": "store", "column": "--as", "name": "x"}, "pattern"),
        ({"kind": "derive", "store": "store", "column": "a", "name": "../x"}, "pattern"),
        ({"kind": "extract", "media": "/etc", "store": "new", "encoders": ["ge2e"]}, "outside"),
        ({"kind": "extract", "media": ".", "store": "/new", "encoders": ["ge2e"]}, "outside"),
        (
            {"kind": "extract", "media": ".", "store": "new", "encoders": ["ge2e@/etc/passwd"]},
            "outside",
        ),
        ({"kind": "extract", "media": ".", "store": "new", "encoders": ["-e"]}, "encoders"),
    ],
)
def test_what_leads_elsewhere_is_refused(
    client: TestClient, queue: Queue, job: dict[str, Any], said: str
) -> None:
    before = sorted(queue.runs.iterdir())
    answer = post(client, job)
    assert (answer.status_code, said in answer.json()["detail"]) == (422, True), answer.text
    assert sorted(queue.runs.iterdir()) == before


def test_a_table_of_masks_under_a_root_is_named_absolutely(
    client: TestClient, queue: Queue, root: Path
) -> None:
    job = post(client, train(masking="table:masks.npz")).json()["id"]
    config = yaml.safe_load((queue.job(job).path / "request.yaml").read_text())
    assert config["loop"]["masking"] == f"table:{root / 'masks.npz'}"


def test_trackers_may_be_allowed(root: Path, tmp_path: Path) -> None:
    roots = Roots(stores=(str(root),), trackers=("tensorboard", "mlflow"))
    with TestClient(make_app(Service(Queue(tmp_path), roots)), "http://127.0.0.1") as client:
        assert post(client, train(trackers=["mlflow"])).status_code == 201
        assert post(client, train(trackers=["wandb"])).status_code == 422
        assert post(client, sweep({"trackers": [["mlflow"], []]})).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        '{"job":' * 3000 + "1" + "}" * 3000,
        '{"job":{"kind":"train","config":{"seed":' + "1" * 6000 + "}}}",
        '{"job":' + "[" * 100_000,
        "!!python/object/apply:os.system ['true']",
        "\x00",
        '"',
    ],
)
def test_a_body_that_is_no_request_is_refused(client: TestClient, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/api/v1/runs", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("last", [b"\xb2", b"9" * 5000, b"-1", b"1.5", b"nan"])
def test_an_offset_that_is_none_begins_at_the_beginning(
    client: TestClient, queue: Queue, last: bytes
) -> None:
    job = post(client, train()).json()["id"]
    queue.wish(job, "kill", actor="t")
    answer = client.get(f"/api/v1/runs/{job}/events", headers=[(b"last-event-id", last)])
    assert answer.status_code == 200
    assert "event: end" in answer.text


@pytest.mark.parametrize(
    "cursor", ["nan_x", "1e999_x", "-1e999_", "_", "x", "1_'; DROP TABLE jobs"]
)
def test_a_cursor_of_nobody_harms_nobody(client: TestClient, cursor: str) -> None:
    answer = client.get("/api/v1/runs", params={"cursor": cursor})
    assert answer.status_code in (200, 422)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TRICKS = st.sampled_from(
    ["!!python/name:os.system", "&a", "*a", "<<", "yes", "~", "0x1F", "1_000", "1:20", "\x85", "%"]
)


@given(st.dictionaries(st.text() | TRICKS, VALUES | TRICKS, max_size=4))
def test_settings_are_read_back_from_yaml_as_they_are(settings: dict[str, Any]) -> None:
    assert yaml.safe_load(to_yaml(settings)) == settings
