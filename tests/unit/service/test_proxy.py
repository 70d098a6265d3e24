"""Below a path, behind a real proxy that takes the path away or leaves it."""

import json
from pathlib import Path

import httpx
import pytest

from scfae.service.access import Tokens
from scfae.service.client import Client
from scfae.store.errors import AccessRefused

from .proxies import proxied
from .services import make_service_store, start_server, training


@pytest.mark.parametrize("is_stripping", [True, False])
def test_a_story_below_a_path(tmp_path: Path, is_stripping: bool) -> None:
    make_service_store(tmp_path / "stores")
    words = ["--no-worker", "--root-path", "/lab/scfae", "--store-root", str(tmp_path / "stores")]
    with (
        start_server(tmp_path / "service", *words) as served,
        proxied(served.port, "/lab/scfae", is_stripping=is_stripping) as url,
        Client(url) as client,
    ):
        job = client.submit(training(name="below"))
        assert [one.id for one in client.page().jobs] == [job.id]
        folder = served.queue.job(job.id)
        folder.run_path.mkdir()
        lines = [json.dumps({"type": "epoch", "step": i, "epoch": i, "time": 0.0}) for i in (1, 2)]
        folder.events_path.write_text("\n".join(lines) + "\n")
        client.cancel(job.id)
        assert [event["epoch"] for event in client.events(job.id)] == [1, 2]
        client.download(job.id, "run/events.jsonl", tmp_path / "events.jsonl")
        assert (tmp_path / "events.jsonl").read_text().splitlines() == lines
        # Links lead below the path, wherever a client resolves them.
        document = httpx.get(f"{url}/api/v1/openapi.json", timeout=60).json()
        assert document["servers"] == [{"url": "/lab/scfae"}]
        body = training().model_dump(mode="json")
        answer = httpx.post(f"{url}/api/v1/runs", json=body, timeout=60)
        where = answer.url.join(answer.headers["location"])
        assert httpx.get(where, timeout=60).json()["id"] == answer.json()["id"]


def test_whoever_comes_through_a_proxy_that_says_so_needs_a_token(tmp_path: Path) -> None:
    secret = Tokens(tmp_path).add("ann", "viewer")
    with start_server(tmp_path, "--no-worker") as served:
        headers = {"X-Forwarded-For": "203.0.113.9"}
        with proxied(served.port, "", is_stripping=True, headers=headers) as url:
            with Client(url) as client, pytest.raises(AccessRefused, match="token"):
                client.page()
            with Client(url, token=secret) as client:
                assert client.whoami().name == "ann"
        assert served.client.get("/api/v1/whoami").json()["name"] == "local"
    with start_server(tmp_path, "--no-worker", "--allow-host", "train.example.org") as served:
        assert served.client.get("/api/v1/whoami").status_code == 401
