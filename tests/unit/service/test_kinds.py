"""Every kind of job from a request over HTTP to the files it leaves, by a real worker."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scfae.demo.clips import make_media
from scfae.store import FeatureStore

from .services import Served, start_server, wait_for

ENCODERS = ["efficientnet-lite0:fps=2", "ge2e"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of a drifting digit and a voice."""
    root = tmp_path_factory.mktemp("data")
    make_media(root / "clips", {"train": 4, "val": 1, "test": 1}, fake_ratio=0.5, seed=2)
    return root


@pytest.fixture(scope="module")
def served(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    words = ["--store-root", str(root), "--media-root", str(root), "--gpus", "none"]
    with start_server(tmp_path_factory.mktemp("service"), *words) as served:
        yield served


def done(served: Served, **job: Any) -> dict[str, Any]:
    """Submit a job; return it when it is finished."""
    answer = served.client.post("/api/v1/runs", json={"job": job})
    assert answer.status_code == 201, answer.text
    url = f"/api/v1/runs/{answer.json()['id']}"

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = served.client.get(url).json()
        return found if found["state"] in ("finished", "failed", "cancelled") else None

    found: dict[str, Any] = wait_for(ended, seconds=240)
    log = served.client.get(f"{url}/log").json()["text"]
    assert (found["state"], found["attempt"]) == ("finished", 1), log
    assert log.startswith(" ".join(found["words"]))
    return found


def read(served: Served, job: dict[str, Any], path: str) -> str:
    listed = served.client.get(f"/api/v1/runs/{job['id']}/artifacts").json()
    assert path in [one["path"] for one in listed]
    answer = served.client.get(f"/api/v1/runs/{job['id']}/artifacts/{path}")
    assert answer.status_code == 200
    return answer.text


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_from_media_to_predictions_by_jobs_alone(served: Served, root: Path) -> None:
    manifest = "clips/manifest.csv"
    done(served, kind="extract", media=manifest, store="features", encoders=ENCODERS, batch_size=4)
    store = FeatureStore.open(root / "features")
    seen, heard = sorted(store.columns)
    assert len(store.samples) == 6

    done(served, kind="derive", store="features", column=heard, name="heard-mean", pool="mean")
    assert "heard-mean" in FeatureStore.open(root / "features").columns

    config: dict[str, Any] = {
        "store": "features",
        "columns": {"video": seen, "audio": heard},
        "label": "fake",
        "fusion": "concat",
        "options": {"hidden": 16},
        "epochs": 2,
        "batch_size": 4,
        "device": "cpu",
    }
    run = done(served, kind="train", config=config, missing_rates=[0.5])
    events = read(served, run, "run/events.jsonl").splitlines()
    assert [json.loads(line)["type"] for line in events] == [
        "started",
        "epoch",
        "epoch",
        "finished",
    ]
    assert (run["progress"]["epoch"], run["progress"]["epochs"]) == (2, 2)

    measured = done(served, kind="evaluate", run=run["id"], bootstrap=20, missing_rates=[0.5])
    evaluation = json.loads(read(served, measured, "artifacts/evaluation.json"))
    assert set(evaluation["conditions"]) >= {"video", "audio", "video+audio"}
    assert "<html" in read(served, run, "run/report.html")

    swept = done(served, kind="sweep", config=config, grid={"lr": [1e-3, 1e-2]})
    names = [one["path"] for one in served.client.get(f"{url_of(swept)}/artifacts").json()]
    assert sum(name.endswith("/config.yaml") for name in names) == 2
    assert "run/comparison.html" in names

    said = done(served, kind="predict-batch", run=run["id"], media=manifest, only=["audio"])
    lines = read(served, said, "artifacts/predictions.jsonl").splitlines()
    assert len(lines) == 6
    assert not [line for line in lines if "error" in json.loads(line)]


def test_tables_of_the_paper_by_a_job(served: Served) -> None:
    made = done(served, kind="reproduce", tables=["table12"])
    assert "24,141,824" in read(served, made, "artifacts/table12.md")
    assert "<html" in read(served, made, "artifacts/report.html")
    page = served.client.get(f"/runs/{made['id']}", headers={"Accept": "text/html"}).text
    assert "artifacts/report.html" in page
    for wrong, said in (
        ({"tables": ["table99"]}, "no such table"),
        ({"tables": ["table5"], "data": {"mosei": "/etc"}}, "outside of the folders"),
    ):
        answer = served.client.post("/api/v1/runs", json={"job": {"kind": "reproduce", **wrong}})
        assert answer.status_code == 422
        assert said in answer.json()["detail"]


def test_a_job_that_cannot_be_done_says_why(served: Served, root: Path) -> None:
    (root / "broken").mkdir()
    (root / "broken" / "clip.mp4").write_bytes(b"no clip")
    job = {"kind": "extract", "media": "broken", "store": "broken-features"}
    body = {"job": job | {"encoders": ENCODERS}}
    url = url_of(served.client.post("/api/v1/runs", json=body).json())
    wait_for(lambda: served.client.get(url).json()["ended_s"], seconds=240)
    found = served.client.get(url).json()
    assert found["state"] == "failed"
    assert "clip" in found["reason"] or "quarantine" in found["reason"], found["reason"]


def url_of(job: dict[str, Any]) -> str:
    return f"/api/v1/runs/{job['id']}"
