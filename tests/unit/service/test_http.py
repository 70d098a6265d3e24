"""The HTTP API on a real server: every answer, who may ask, and an end within seconds."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scfae.service import Queue, Roots
from scfae.service.access import Tokens
from scfae.service.app import make_app
from scfae.service.context import Service
from scfae.train.runs import RunFolder

from .services import SETTINGS, Served, make_service_store, start_server, wait_for

GOLDEN = Path(__file__).parents[2] / "golden" / "service"
BODY = {"job": {"kind": "train", "config": SETTINGS}, "name": "first"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stores")
    make_service_store(root)
    return root


@pytest.fixture(scope="module")
def served(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server without a worker, and one run that is trained already."""
    folder = tmp_path_factory.mktemp("service")
    with start_server(folder, "--no-worker", "--store-root", str(root)) as served:
        yield served


def submit(served: Served, **others: Any) -> dict[str, Any]:
    answer = served.client.post("/api/v1/runs", json=BODY | others)
    assert answer.status_code == 201, answer.text
    job: dict[str, Any] = answer.json()
    return job


def write_events(served: Served, job: str, count: int) -> Path:
    """Write a run's events, as a trainer does."""
    folder = served.queue.job(job)
    folder.run_path.mkdir(exist_ok=True)
    lines = [
        {
            "type": "epoch",
            "step": 4 * i,
            "epoch": i,
            "time": float(i),
            "train": {"loss": 1 / i},
            "val": {"accuracy": (i * 7919 % 100) / 100, "text": "ä" * (i % 3)},
        }
        for i in range(1, count + 1)
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    folder.events_path.write_text(text, encoding="utf-8")
    return folder.events_path


def test_a_job_is_submitted_read_edited_cloned_cancelled_resumed_deleted(served: Served) -> None:
    client = served.client
    job = submit(served)
    assert job["state"] == "queued"
    assert served.queue.job(job["id"]).exists()
    whole = client.get(f"/api/v1/runs/{job['id']}").json()
    assert whole["request"]["job"]["config"]["optim"]["epochs"] == 2
    assert whole["words"][:2] == ["scfae", "train"]
    edited = client.patch(f"/api/v1/runs/{job['id']}", json={"tags": ["x"], "priority": 2}).json()
    assert (edited["tags"], edited["name"]) == (["x"], "first")
    clone = client.post(f"/api/v1/runs/{job['id']}/clone", json={"config": {"lr": 0.5}}).json()
    other = client.get(f"/api/v1/runs/{clone['id']}").json()
    assert (other["parent"], other["request"]["job"]["config"]["optim"]["lr"]) == (job["id"], 0.5)
    assert client.delete(f"/api/v1/runs/{job['id']}").status_code == 409
    cancelled = client.post(f"/api/v1/runs/{job['id']}/cancel", json={"reason": "no"}).json()
    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "no")
    assert client.post(f"/api/v1/runs/{job['id']}/cancel").status_code == 409
    assert client.post(f"/api/v1/runs/{job['id']}/resume").json()["state"] == "queued"
    client.post(f"/api/v1/runs/{job['id']}/cancel")
    assert client.delete(f"/api/v1/runs/{job['id']}").status_code == 204
    assert client.get(f"/api/v1/runs/{job['id']}").status_code == 404


def test_one_key_is_one_job(served: Served) -> None:
    headers = {"Idempotency-Key": "once"}
    first, second = (
        served.client.post("/api/v1/runs", json=BODY, headers=headers).json() for _ in range(2)
    )
    assert first["id"] == second["id"]
    other = served.client.post("/api/v1/runs", json=BODY | {"name": "b"}, headers=headers)
    assert other.status_code == 422


def test_lists_are_paged_and_filtered(served: Served) -> None:
    ids = [submit(served, tags=["paged"])["id"] for _ in range(3)]
    first = served.client.get("/api/v1/runs", params={"q": "paged", "limit": 2}).json()
    rest = {"q": "paged", "limit": 2, "cursor": first["cursor"]}
    second = served.client.get("/api/v1/runs", params=rest).json()
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == ids[::-1]
    assert second["cursor"] is None
    assert served.client.get("/api/v1/runs?state=running").json()["jobs"] == []
    assert served.client.get("/api/v1/runs?state=wrong").status_code == 422


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"job": {"kind": "train", "config": {"store": "/etc"}}}, "columns"),
        ({"job": {"kind": "shell"}}, "kind"),
        ({"job": {"kind": "train", "config": SETTINGS | {"store": "/"}}}, "outside"),
        ({"job": {"kind": "train", "config": SETTINGS | {"lr": -1}}}, "lr = -1"),
        ([], "body"),
    ],
)
def test_bad_requests_are_problems(served: Served, body: Any, said: str) -> None:
    answer = served.client.post("/api/v1/runs", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]


def test_a_stream_goes_on_where_it_was_and_leaves_a_half_line(served: Served) -> None:
    job = submit(served)["id"]
    path = write_events(served, job, 6)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])  # the last line is being written
    seen = list(read_events(served, job, 5))
    assert [event["data"]["epoch"] for event in seen] == [1, 2, 3, 4, 5]
    path.write_bytes(whole)
    served.queue.wish(job, "cancel", actor="test")
    rest = list(read_events(served, job, 10, last=seen[2]["id"]))
    assert [event["data"].get("epoch") for event in rest] == [4, 5, 6, None]
    assert (rest[-1]["event"], rest[-1]["data"]) == ("end", {"state": "cancelled"})


def test_a_stream_of_no_job_is_refused(served: Served) -> None:
    answer = served.client.get(f"/api/v1/runs/{'0' * 12}/events")
    assert (answer.status_code, "no job" in answer.json()["detail"]) == (404, True)


def test_curves_keep_their_extremes(served: Served) -> None:
    job = submit(served)["id"]
    write_events(served, job, 500)
    url = f"/api/v1/runs/{job}/metrics"
    found = served.client.get(url, params={"keys": "val.accuracy", "max_points": 40}).json()
    curve = found["curves"]["val.accuracy"]
    assert found["keys"] == ["train.loss", "val.accuracy"]
    assert len(curve["value"]) <= 40
    assert (min(curve["value"]), max(curve["value"])) == (0.0, 0.99)
    assert (curve["epoch"][0], curve["epoch"][-1]) == (1, 500)


def test_the_log_is_read_in_parts(served: Served) -> None:
    job = submit(served)["id"]
    served.queue.job(job).log_path.write_text("one\ntwo\nthree")
    url = f"/api/v1/runs/{job}/log"
    first = served.client.get(url, params={"limit": 6}).json()
    assert (first["text"], first["next_offset"], first["size_bytes"]) == ("one\n", 4, 13)
    assert served.client.get(url, params={"offset": 4}).json()["text"] == "two\nthree"
    assert served.client.get(url, params={"offset": -5}).json()["text"] == "three"


def test_files_are_read_in_ranges_and_nothing_else_is(served: Served, tmp_path: Path) -> None:
    job = submit(served)["id"]
    folder = served.queue.job(job)
    (folder.artifacts / "x.txt").write_text("0123456789")
    (tmp_path / "secret").write_text("secret")
    (folder.artifacts / "link").symlink_to(tmp_path / "secret")
    url = f"/api/v1/runs/{job}/artifacts"
    paths = [one["path"] for one in served.client.get(url).json()]
    assert "artifacts/x.txt" in paths
    assert "artifacts/link" not in paths
    part = served.client.get(f"{url}/artifacts/x.txt", headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.text) == (206, "234")
    for name in (
        "artifacts/link",
        "artifacts/../../../service.db",
        "artifacts/%2e%2e/%2e%2e/%2e%2e/service.db",
        "..%2f..%2fservice.db",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        ".lock",
        "artifacts/x.txt%00",
        "artifacts",
    ):
        # Through a socket of our own: a client would tidy the path.
        assert raw_status(served, f"{url}/{name}") == 404, name


def test_other_hosts_and_other_sites_are_refused(served: Served) -> None:
    client = served.client
    assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 421
    elsewhere = f"http://127.0.0.1:{served.port + 1}"  # another program's page on this machine
    for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example", elsewhere, ""):
        answer = client.post("/api/v1/runs", json=BODY, headers={"Origin": origin})
        assert answer.status_code == 403, origin
    own = {"Origin": f"http://127.0.0.1:{served.port}"}
    assert client.post("/api/v1/runs", json=BODY, headers=own).status_code == 201
    text = {"Content-Type": "text/plain"}
    assert client.post("/api/v1/runs", content=json.dumps(BODY), headers=text).status_code == 422
    large = json.dumps(BODY | {"name": "x" * (1 << 21)})
    assert client.post("/api/v1/runs", content=large).status_code == 413


def test_machines_read_health_and_counts(served: Served) -> None:
    client = served.client
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "workers": 0}
    text = client.get("/metrics").text
    assert 'scfae_jobs{state="queued"}' in text
    assert 'scfae_http_requests{status="200"}' in text
    assert client.get("/api/v1/whoami").json() == {"name": "local", "role": "admin"}
    (store,) = client.get("/api/v1/stores").json()
    assert store["num_samples"] == 200
    assert set(store["columns"]) == {"audio", "video"}
    assert client.get("/api/v1/workers").json() == []
    assert client.post("/api/v1/workers/none/drain").status_code == 404
    assert "properties" in client.get("/api/v1/schema/run").json()


def test_the_openapi_document_is_as_it_was(tmp_path: Path) -> None:
    app = make_app(Service(Queue(tmp_path), Roots()))
    text = json.dumps(app.openapi(), indent=1, sort_keys=True) + "\n"
    path = GOLDEN / "openapi.json"
    if os.environ.get("SCFAE_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_tokens_say_who_may_do_what(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scfae.cli", "serve", "--service", str(tmp_path)]
    command += ["--host", "0.0.0.0", "--port", "0", "--no-worker"]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "a token is due first" in refused.stderr
    tokens = Tokens(tmp_path)
    secrets = {
        "viewer": tokens.add("vera", "viewer"),
        "operator": tokens.add("otto", "operator"),
        "admin": tokens.add("ada", "admin"),
    }
    assert all(secret not in (tmp_path / "tokens.json").read_text() for secret in secrets.values())
    words = ["--host", "0.0.0.0", "--no-worker", "--store-root", str(root)]
    with start_server(tmp_path, *words) as served:
        client = served.client
        for path in ("/api/v1/runs", "/api/v1/whoami", "/metrics", "/api/v1/stores"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert client.get("/healthz").status_code == 200
        assert client.get("/api/v1/whoami", headers=bearer("scfae_x")).status_code == 401
        who = client.get("/api/v1/whoami", headers=bearer(secrets["operator"])).json()
        assert who == {"name": "otto", "role": "operator"}

        def post(role: str) -> httpx.Response:
            return client.post("/api/v1/runs", json=BODY, headers=bearer(secrets[role]))

        assert post("viewer").status_code == 403
        job = post("operator").json()
        assert job["actor"] == "otto"
        url = f"/api/v1/runs/{job['id']}"
        client.post(f"{url}/cancel", headers=bearer(secrets["operator"]))
        assert client.delete(url, headers=bearer(secrets["operator"])).status_code == 403
        assert client.delete(url, headers=bearer(secrets["admin"])).status_code == 204
        tokens.remove("otto")
        assert post("operator").status_code == 401


def test_a_proxy_may_put_a_path_before_ours(tmp_path: Path) -> None:
    with start_server(tmp_path, "--no-worker", "--root-path", "/scfae") as served:
        for prefix in ("", "/scfae"):  # a proxy may take it away, or leave it
            assert served.client.get(f"{prefix}/api/v1/whoami").status_code == 200
        document = served.client.get("/api/v1/openapi.json").json()
        assert document["servers"] == [{"url": "/scfae"}]


@pytest.mark.parametrize(
    "wrong",
    [
        "--port=99999",
        "--port=-1",
        "--slots=0",
        "--gpus=nonsense",
        "--max-upload-mb=0",
        "--root-path=scfae",
        "--store-root=none",
        "--media-root=none",
    ],
)
def test_what_cannot_be_served_is_named(tmp_path: Path, wrong: str) -> None:
    command = [sys.executable, "-m", "scfae.cli", "serve", "--service", str(tmp_path / "s")]
    done = subprocess.run([*command, wrong], capture_output=True, text=True, timeout=60)
    assert (done.returncode, wrong.partition("=")[0] in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr


def test_only_a_first_token_makes_a_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scfae.cli", "service", "token"]
    for action, words in (("list", []), ("remove", ["ann"]), ("add", [])):
        done = subprocess.run([*command, action, str(tmp_path / "no"), *words], capture_output=True)
        assert done.returncode in (1, 2)
        assert not (tmp_path / "no").exists()


def test_the_server_ends_within_seconds_with_an_open_stream(tmp_path: Path, root: Path) -> None:
    with start_server(tmp_path, "--no-worker", "--store-root", str(root)) as served:
        job = submit(served)["id"]
        write_events(served, job, 2)
        with served.client.stream("GET", f"/api/v1/runs/{job}/events") as stream:
            lines = stream.iter_lines()
            wait_for(lambda: next(lines).startswith("id:"))
            begun = time.monotonic()
            served.process.send_signal(signal.SIGTERM)
            assert served.process.wait(timeout=60) == 143
            assert time.monotonic() - begun < 5
        assert served.queue.get(job).state == "queued"


def test_a_whole_story_with_a_server_that_is_killed(tmp_path: Path, root: Path) -> None:
    with start_server(tmp_path, "--store-root", str(root), "--gpus", "none") as served:
        job = submit(served)["id"]
        served.process.kill()  # with kill -9 nobody tells the worker, which goes on
        served.process.wait()
    with start_server(tmp_path, "--no-worker", "--store-root", str(root)) as served:
        events = list(read_events(served, job, 100))
        assert [event["event"] for event in events] == [
            "started",
            "epoch",
            "epoch",
            "finished",
            "end",
        ]
        whole = served.client.get(f"/api/v1/runs/{job}").json()
        assert (whole["state"], whole["attempt"]) == ("finished", 1)
        assert whole["progress"]["step"] == 8
        assert RunFolder(served.queue.job(job).run_path).state()["state"] == "finished"
        for worker in served.client.get("/api/v1/workers").json():
            served.client.post(f"/api/v1/workers/{worker['id']}/drain")
        wait_for(lambda: served.client.get("/api/v1/workers").json() == [])


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def read_events(
    served: Served, job: str, count: int, *, last: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield so many events of a stream, or those until its end."""
    headers = {"Last-Event-ID": last} if last else {}
    url = f"/api/v1/runs/{job}/events"
    with served.client.stream("GET", url, headers=headers, timeout=90) as stream:
        found: dict[str, Any] = {"id": None}
        for line in stream.iter_lines():
            name, _, value = line.partition(": ")
            if name in ("event", "id"):
                found[name] = value
            elif name == "data":
                found["data"] = json.loads(value)
            elif not line and "data" in found:
                yield found
                count -= 1
                if not count or found["event"] == "end":
                    return
                found = {"id": None}


def raw_status(served: Served, path: str) -> int:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        return int(connection.recv(4096).split()[1])
