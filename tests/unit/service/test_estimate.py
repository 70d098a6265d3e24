"""What a training will take: by earlier runs like it, by steps timed now, or not known."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from scfae.service import Queue
from scfae.service.app import make_app
from scfae.service.context import Service
from scfae.service.estimate import Sizes, estimate

from .services import SETTINGS, make_service_store
from .trained import trained_job


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    root = tmp_path_factory.mktemp("estimates")
    return Service(Queue(root / "service"), make_service_store(root))


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(make_app(service), base_url="http://localhost") as client:
        yield client


def look(client: TestClient, query: str = "", **others: Any) -> dict[str, Any]:
    job = {key: others.pop(key) for key in ("kind", "seeds", "grid") if key in others}
    body = {"job": {"kind": "train"} | job | {"config": SETTINGS | others}}
    answer = client.post(f"/api/v1/runs/check{query}", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_without_a_run_like_it_sizes_alone_are_told(client: TestClient) -> None:
    found = look(client, epochs=9, options={"expansion": 3})["estimate"]
    assert (found["steps_per_epoch"], found["epochs"], found["runs"]) == (4, 9, 1)
    assert (found["source"], found["step_s"], found["seconds"]) == ("unknown", None, None)
    assert found["said"][0] == "4 steps an epoch, 36 in all"
    assert "not known: no run like it" in found["said"][-1]
    assert look(client, lr=-1)["estimate"] is None


def test_earlier_runs_like_it_tell_how_long_it_takes(client: TestClient, service: Service) -> None:
    job = trained_job(service.queue, service.roots, evaluated=False, epochs=3).id
    rate = service.queue.job(job).pace().steps_per_s
    assert rate is not None
    found = look(client, epochs=100, lr=1e-3, seed=5)["estimate"]
    assert found["source"] == "earlier runs"
    assert found["step_s"] == pytest.approx(1 / rate)
    assert found["seconds"] == pytest.approx(400 / rate)
    assert "one earlier run like it took" in found["said"][-1]
    for other in ({"batch_size": 20}, {"columns": {"video": "video"}}, {"fusion": "concat"}):
        assert look(client, **other)["estimate"]["source"] == "unknown", other


def test_a_sweep_takes_as_long_as_its_runs_together(client: TestClient) -> None:
    one = look(client, epochs=10)["estimate"]["seconds"]
    seeds = look(client, kind="sweep", seeds=[1, 2, 3], grid={"lr": [1e-3, 1e-4]}, epochs=10)
    assert seeds["estimate"]["runs"] == 6
    assert seeds["estimate"]["seconds"] == pytest.approx(6 * one)
    assert "in each of 6 runs" in seeds["estimate"]["said"][0]
    sizes = look(client, kind="sweep", grid={"batch_size": [10, 25]}, epochs=10)["estimate"]
    assert (sizes["runs"], sizes["seconds"]) == (2, None)
    assert "differ in size" in sizes["said"][-1]


def test_steps_are_timed_when_that_is_asked_for(client: TestClient, service: Service) -> None:
    before = service.queue.counts()
    found = look(client, "?measure=true", epochs=50)["estimate"]
    assert found["source"] == "measured"
    assert 0 < found["step_s"] < 5
    assert found["seconds"] == pytest.approx(200 * found["step_s"])
    assert "just now on this server's cpu; without validation" in found["said"][-1]
    assert service.queue.counts() == before


def test_a_viewer_may_not_have_steps_timed(tmp_path: Path) -> None:
    guarded = Service(Queue(tmp_path / "service"), make_service_store(tmp_path), needs_token=True)
    headers = {"Authorization": f"Bearer {guarded.tokens.add('eve', 'viewer')}"}
    with TestClient(make_app(guarded), base_url="http://localhost", headers=headers) as client:
        assert look(client)["estimate"]["source"] == "unknown"
        body = {"job": {"kind": "train", "config": SETTINGS}}
        refused = client.post("/api/v1/runs/check?measure=true", json=body)
    assert (refused.status_code, "takes operator" in refused.json()["detail"]) == (403, True)


def test_the_words_keep_to_what_is_known() -> None:
    sizes = Sizes(epochs=10, steps_per_epoch=1000, feature_bytes=2_500_000, learning_bytes=4000)
    found = estimate(sizes, [0.012, 0.02, 0.015], runs=1, is_alike=True)
    assert found.said == (
        "1,000 steps an epoch, 10,000 in all",
        "2.5 MB of features to read an epoch; weights, gradients and optimizer take 4.0 kB",
        "About 2 min 30 s of training: 3 earlier runs like it took 12 ms to 20 ms a step, "
        "validation included",
    )


def test_a_short_training_is_said_to_be_short() -> None:
    sizes = Sizes(epochs=20, steps_per_epoch=4, feature_bytes=20_000, learning_bytes=4000)
    found = estimate(sizes, [0.003702], runs=1, is_alike=True, how="the median of 60 just now")
    assert found.said[-1] == (
        "Less than a second of training: 3.7 ms a step, the median of 60 just now; "
        "without validation"
    )
