"""What an admin sees and does: audit log, wrong tokens, trash, tokens, edits, disk and GPUs."""

import json
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from scfae.service import Queue
from scfae.service.access import Tokens
from scfae.service.attempts import MOST_WRONG, PAUSE_S, Attempts
from scfae.service.audit import REFUSALS_A_MINUTE, Audit, AuditEvent
from scfae.service.gpus import GpuMeter
from scfae.service.trash import Trash
from scfae.store.errors import AttemptsExceeded, JobNotFound, JobStateError

from .services import Served, make_service_store, start_server, training

API = "/api/v1"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("stores")
    make_service_store(root)
    folder = tmp_path_factory.mktemp("service")
    with start_server(folder, "--no-worker", "--store-root", str(root)) as served:
        yield served


def submit(served: Served) -> str:
    body = training().model_dump(mode="json")
    answer = served.client.post(f"{API}/runs", json=body)
    assert answer.status_code == 201, answer.text
    job: str = answer.json()["id"]
    return job


def discard(served: Served, job: str) -> None:
    served.client.post(f"{API}/runs/{job}/cancel")
    assert served.client.delete(f"{API}/runs/{job}").status_code == 204


def test_edits_of_what_has_changed_are_refused(served: Served) -> None:
    client, job = served.client, submit(served)
    url = f"{API}/runs/{job}"
    tag = client.get(url).headers["etag"]
    first = client.patch(url, json={"name": "mine"}, headers={"If-Match": tag})
    assert (first.status_code, first.headers["etag"] != tag) == (200, True)
    late = client.patch(url, json={"name": "other"}, headers={"If-Match": tag})
    assert (late.status_code, late.json()["type"]) == (412, "urn:scfae:EditConflict")
    assert client.get(url).json()["name"] == "mine"
    tag = first.headers["etag"]
    for header in ("{}", '"x", {}', "*"):
        changes = {"name": secrets.token_hex(3)}
        answer = client.patch(url, json=changes, headers={"If-Match": header.format(tag)})
        assert answer.status_code == 200, header
        tag = answer.headers["etag"]


def test_the_trash_is_shown_restored_and_emptied(served: Served) -> None:
    client, kept, gone = served.client, submit(served), submit(served)
    (served.queue.job(gone).artifacts / "large").write_bytes(b"x" * 100_000)
    for job in (kept, gone):
        discard(served, job)
    found = client.get(f"{API}/trash").json()
    entries = {one["id"]: one for one in found["jobs"]}
    assert entries[gone]["size_bytes"] > 100_000
    assert found["size_bytes"] >= entries[gone]["size_bytes"] + entries[kept]["size_bytes"]
    back = client.post(f"{API}/trash/{entries[kept]['entry']}/restore").json()
    assert (back["id"], back["state"]) == (kept, "cancelled")
    assert client.get(f"{API}/runs/{kept}").json()["history"]
    assert kept in {one["id"] for one in client.get(f"{API}/runs").json()["jobs"]}
    emptied = client.post(f"{API}/trash/empty").json()
    assert emptied["num_jobs"] == len(found["jobs"]) - 1
    assert emptied["freed_bytes"] == found["size_bytes"] - entries[kept]["size_bytes"]
    assert client.get(f"{API}/trash").json() == {"jobs": [], "size_bytes": 0}
    assert list((served.queue.folder / "trash").iterdir()) == []
    assert client.post(f"{API}/trash/{entries[gone]['entry']}/restore").status_code == 404
    assert client.delete(f"{API}/trash/..").status_code in (404, 405)


def test_what_cannot_be_restored_is_said(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "service")
    roots = make_service_store(tmp_path)
    job = queue.submit(training(), actor="ann", roots=roots, key="same").id
    queue.wish(job, "cancel", actor="ann")
    queue.discard(job)
    trash = Trash(queue)
    (entry,) = [one.entry for one in trash.view().jobs]
    again = queue.submit(training(), actor="ann", roots=roots, key="same").id
    assert again == job
    with pytest.raises(JobStateError, match="again"):
        trash.restore(entry)
    for name in ("none", "..", "../runs", ""):
        with pytest.raises(JobNotFound):
            trash.restore(name)
        with pytest.raises(JobNotFound):
            trash.empty(name)
    (queue.folder / "trash" / ".leaving-x").mkdir()
    (queue.folder / "trash" / "broken-1").mkdir()
    assert {one.state for one in trash.view().jobs} == {"cancelled", "damaged"}
    assert trash.empty(entry).num_jobs == 2  # and what a kill had left
    assert [one.id for one in trash.view().jobs] == ["broken"]


def test_changes_and_refusals_are_written_down(served: Served) -> None:
    client, job = served.client, submit(served)
    client.get(f"{API}/runs/{job}")
    client.patch(f"{API}/runs/{job}", json={"name": "audited"})
    client.get(f"{API}/runs", headers={"Host": "evil.example"})
    found = client.get(f"{API}/audit", params={"limit": 3}).json()
    lines = [(one["method"], one["path"], one["status"]) for one in found["events"]]
    assert lines == [
        ("GET", f"{API}/runs", 421),
        ("PATCH", f"{API}/runs/{job}", 200),
        ("POST", f"{API}/runs", 201),
    ]
    assert found["events"][2]["made"] == f"runs/{job}"
    assert {one["actor"] for one in found["events"]} == {"", "local"}
    assert {one["address"] for one in found["events"]} == {"127.0.0.1"}
    rest = client.get(f"{API}/audit", params={"cursor": found["cursor"], "limit": 500}).json()
    times = [one["time_s"] for one in found["events"] + rest["events"]]
    assert times == sorted(times, reverse=True)
    assert client.get(f"{API}/audit", params={"q": f"patch {job}"}).json()["events"]
    assert client.get(f"{API}/audit?cursor=x").status_code == 422


def test_the_audit_log_is_put_aside_and_refusals_cannot_push_it_out(tmp_path: Path) -> None:
    audit = Audit(tmp_path, max_bytes=2000)

    def write(status: int, time_s: float, path: str = "/x", address: str = "1.2.3.4") -> None:
        event = AuditEvent(time_s=time_s, address=address, method="POST", path=path, status=status)
        audit.write(event)

    write(201, 1000.0, "/first")
    for _ in range(500):
        write(401, 1001.0)
    write(401, 1001.0, address="5.6.7.8")
    write(401, 1100.0)
    found = audit.page(limit=1000).events
    assert found[-1].path == "/first"
    assert len(found) == 1 + REFUSALS_A_MINUTE + 2
    assert found[0].num_more == 500 - REFUSALS_A_MINUTE
    for number in range(200):
        write(201, 1200.0 + number, f"/{number}")
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [*(f"audit.{number}.jsonl" for number in range(1, 6)), "audit.jsonl"]
    assert all(path.stat().st_size < 2200 for path in tmp_path.iterdir())
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    paged: list[str] = []
    cursor = None
    while True:
        page = audit.page(cursor=cursor, limit=7)
        paged += [one.path for one in page.events]
        cursor = page.cursor
        if cursor is None:
            break
    assert paged == [f"/{number}" for number in range(199, 199 - len(paged), -1)]
    with open(tmp_path / "audit.jsonl", "ab") as file:
        file.write(b'{"half')
    assert audit.page(limit=1).events[0].path == "/199"


def test_wrong_tokens_are_looked_at_less(tmp_path: Path) -> None:
    good = Tokens(tmp_path).add("ada", "admin")
    other = Tokens(tmp_path).add("otto", "operator")
    words = ["--host", "0.0.0.0", "--no-worker"]
    with start_server(tmp_path, *words) as served:

        def ask(secret: str) -> httpx.Response:
            headers = {"Authorization": f"Bearer {secret}"}
            return served.client.get(f"{API}/whoami", headers=headers)

        assert ask(good).status_code == 200
        found = [ask(f"scfae_{secrets.token_urlsafe(32)}") for _ in range(40)]
        statuses = [one.status_code for one in found]
        assert statuses == [401] * MOST_WRONG + [429] * (40 - MOST_WRONG)
        assert found[-1].headers["retry-after"] == "60"
        assert found[-1].json()["type"] == "urn:scfae:AttemptsExceeded"
        assert ask(other).status_code == 429  # right, and not even looked at
        assert ask(good).status_code == 200  # known from before
        headers = {"Authorization": f"Bearer {good}"}
        log = served.client.get(f"{API}/audit", headers=headers).json()["events"]
        assert len([one for one in log if one["status"] in (401, 429)]) == REFUSALS_A_MINUTE
        assert all("scfae_" not in json.dumps(one) for one in log)


def test_a_pause_ends_and_is_for_one_address_only() -> None:
    now = [0.0]
    attempts = Attempts(now=lambda: now[0])
    for number in range(MOST_WRONG):
        attempts.check("2001:db8::1", f"{number}")
        attempts.wrong("2001:db8::1", f"{number}")
    with pytest.raises(AttemptsExceeded, match="60 s"):
        attempts.check("2001:db8::2", "x")  # of the same network
    attempts.check("2001:db8:1::1", "x")
    attempts.check("192.0.2.1", "x")
    now[0] = PAUSE_S + 1
    attempts.check("2001:db8::1", "x")
    for _ in range(5 * MOST_WRONG):  # seldom enough to be a person
        now[0] += 30.0
        attempts.check("192.0.2.1", "x")
        attempts.wrong("192.0.2.1", "x")


def test_tokens_are_made_listed_and_removed_over_http(served: Served) -> None:
    client = served.client
    made = client.post(f"{API}/tokens", json={"name": "vera", "role": "viewer"}).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert client.get(f"{API}/whoami", headers=headers).json()["name"] == "vera"
    listed = client.get(f"{API}/tokens").json()
    assert [(one["name"], one["role"]) for one in listed] == [("vera", "viewer")]
    assert made["token"] not in json.dumps(listed)
    assert client.post(f"{API}/tokens", json={"name": "vera"}).status_code == 422
    for path in ("tokens", "audit", "webhooks", "webhooks/deliveries"):
        assert client.get(f"{API}/{path}", headers=headers).status_code == 403, path
    for path in ("trash/empty", "tokens", "webhooks"):
        assert client.post(f"{API}/{path}", headers=headers).status_code == 403, path
    assert client.delete(f"{API}/tokens/vera").status_code == 204
    assert client.get(f"{API}/whoami", headers=headers).status_code == 401
    assert client.delete(f"{API}/tokens/vera").status_code == 422


def test_the_system_says_what_takes_the_disk(served: Served) -> None:
    submit(served)
    found = served.client.get(f"{API}/system", params={"fresh": "true"}).json()
    places = {os.path.basename(one["name"]): one["size_bytes"] for one in found["disk"]["places"]}
    assert set(places) == {"runs", "trash", "store"}
    assert places["store"] > 10_000
    assert places["runs"] > 500
    assert 0 < found["disk"]["free_bytes"] < found["disk"]["total_bytes"]
    assert found["counts"]["queued"] >= 1
    assert found["oldest_wait_s"] > 0
    assert (found["workers"], found["num_slots"]) == ([], 0)
    again = served.client.get(f"{API}/system").json()
    assert again["disk"]["measured_s"] == found["disk"]["measured_s"]


def test_gpus_are_as_nvml_tells_them() -> None:
    # The bindings are no dependency: what they answer is written down here.
    nvml = SimpleNamespace(
        NVMLError=RuntimeError,
        NVML_TEMPERATURE_GPU=0,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=25, total=100),
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=50),
        nvmlDeviceGetName=lambda handle: b"H200",
        nvmlDeviceGetTemperature=lambda handle, sensor: 40,
    )
    meter = GpuMeter(nvml)
    (gpu,) = meter.gpus()
    assert (gpu.name, gpu.used_bytes, gpu.busy, gpu.temperature_c) == ("H200", 25, 0.5, 40.0)
    assert [one[1:] for one in gpu.history] == [(0.25, 0.5)]
    assert GpuMeter(None).gpus() == ()
    stopping = threading.Event()
    GpuMeter(None).watch(stopping)  # returns at once
