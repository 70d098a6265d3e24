"""Webhooks: what a real receiver is told by a real server, and which addresses are never told."""

import hashlib
import hmac
import json
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scfae.service import Queue
from scfae.service.deliverer import Deliverer, post
from scfae.service.deliveries import BACKOFF_S, Deliveries
from scfae.service.webhooks import Webhooks, is_public
from scfae.store.errors import ConfigError

from .receiver import Receiver, start_receiver
from .services import make_service_store, start_server, training, wait_for

HOOKS = "/api/v1/webhooks"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with start_receiver() as receiver:
        yield receiver


def deliverer(queue: Queue, *, allows_private: bool = True) -> tuple[Deliverer, Webhooks, Any]:
    hooks = Webhooks(queue.folder, allows_private=allows_private)
    deliveries = Deliveries(queue.folder)
    stopping = threading.Event()
    return Deliverer(queue, hooks, deliveries, stopping=stopping), hooks, deliveries


def submit(queue: Queue, tmp_path: Path, count: int = 1) -> list[str]:
    roots = make_service_store(tmp_path)
    return [queue.submit(training(), actor="ann", roots=roots).id for _ in range(count)]


def test_a_server_tells_what_ended_signed_and_again_after_a_failure(
    tmp_path: Path, receiver: Receiver
) -> None:
    make_service_store(tmp_path)
    words = ["--store-root", str(tmp_path), "--gpus", "none", "--allow-private-webhooks"]
    with start_server(tmp_path / "service", *words) as served:
        client = served.client
        refused = client.post(HOOKS, json={"url": "ftp://example.org"})
        assert (refused.status_code, "https://" in refused.json()["detail"]) == (422, True)
        made = client.post(HOOKS, json={"url": receiver.url + "/in?x=1"}).json()
        listed = client.get(HOOKS).json()
        assert [set(one) for one in listed] == [set(made) - {"secret"}]
        mode = stat.S_IMODE((tmp_path / "service" / "webhooks.json").stat().st_mode)
        assert mode == 0o600
        receiver.answers = [500]
        body = training().model_dump(mode="json")
        job = client.post("/api/v1/runs", json=body | {"name": "told"}).json()["id"]
        wait_for(lambda: len(receiver.posts) == 2)
        first, second = receiver.told()
        assert first == second
        assert (first["event"], first["job"]["id"]) == ("job.finished", job)
        assert (first["job"]["name"], first["job"]["state"]) == ("told", "finished")
        for headers, sent in receiver.posts:
            assert headers["X-Scfae-Delivery"] == first["id"]
            assert headers["Host"] == receiver.url.removeprefix("http://")
            time_s, signed = (part[part.index("=") + 1 :] for part in _signature(headers))
            expected = hmac.new(
                made["secret"].encode(), f"{time_s}.".encode() + sent, hashlib.sha256
            )
            assert signed == expected.hexdigest()
        (log,) = wait_for(lambda: _ended(client))
        assert (log["state"], log["attempts"], log["status"]) == ("delivered", 2, 200)
        client.post(f"{HOOKS}/{made['id']}/ping")
        wait_for(lambda: len(receiver.posts) == 3)
        assert receiver.told()[2]["event"] == "ping"
        gone = client.post("/api/v1/runs", json=training(epochs=4000).model_dump(mode="json"))
        client.post(f"/api/v1/runs/{gone.json()['id']}/cancel", json={"now": True})
        wait_for(lambda: client.delete(f"/api/v1/{gone.headers['location']}").is_success)
        wait_for(lambda: len(receiver.posts) == 4)
        assert receiver.told()[3]["event"] == "job.cancelled"
        assert client.delete(f"{HOOKS}/{made['id']}").status_code == 204
        assert client.get(HOOKS).json() == []


def _signature(headers: dict[str, str]) -> list[str]:
    return headers["X-Scfae-Signature"].split(",")


def _ended(client: httpx.Client) -> list[dict[str, Any]]:
    log = client.get(f"{HOOKS}/deliveries").json()["deliveries"]
    return [one for one in log if one["state"] != "waiting"]


def test_a_server_refuses_private_addresses(tmp_path: Path, receiver: Receiver) -> None:
    with start_server(tmp_path / "service", "--no-worker") as served:
        for url in (receiver.url, "http://127.0.0.1", "http://[::1]/", "http://169.254.169.254/"):
            answer = served.client.post(HOOKS, json={"url": url})
            assert answer.status_code == 422, url
            assert "--allow-private-webhooks" in answer.json()["detail"]
    assert receiver.posts == []


def test_nothing_is_lost_or_doubled_over_restarts(
    tmp_path: Path, queue: Queue, receiver: Receiver
) -> None:
    jobs = submit(queue, tmp_path, 4)
    first, hooks, _ = deliverer(queue)
    queue.wish(jobs[0], "cancel", actor="ann", reason="before there was a webhook")
    hook = hooks.add(receiver.url, ["job.cancelled"], actor="ann")
    queue.wish(jobs[1], "cancel", actor="ann", reason="first")
    first.step()
    first.step()
    queue.wish(jobs[2], "cancel", actor="ann")  # while no server runs
    again, _, deliveries = deliverer(Queue(queue.folder))
    again.step()
    queue.resume(jobs[1], actor="ann")
    queue.wish(jobs[1], "cancel", actor="ann", reason="second")
    queue.wish(jobs[3], "cancel", actor="ann")
    deliveries.collect(queue, hooks.webhooks())  # killed before it posted
    last, _, _ = deliverer(Queue(queue.folder))
    last.step()
    told = [(one["job"]["id"], one["job"]["reason"]) for one in receiver.told()]
    assert sorted(told) == sorted(
        [(jobs[1], "first"), (jobs[2], ""), (jobs[1], "second"), (jobs[3], "")]
    )
    assert len({one["id"] for one in receiver.told()}) == 4
    assert {one.webhook for one in deliveries.page().deliveries} == {hook.id}


def test_what_happened_to_a_job_is_told_though_it_is_in_the_trash_by_then(
    tmp_path: Path, queue: Queue, receiver: Receiver
) -> None:
    (job,) = submit(queue, tmp_path)
    one, hooks, deliveries = deliverer(queue)
    hooks.add(receiver.url, [], actor="ann")
    one.step()
    queue.wish(job, "cancel", actor="ann", reason="not wanted")
    queue.discard(job, first=lambda left: deliveries.collect_last(left, hooks.webhooks()))
    one.step()
    assert [(each["job"]["id"], each["job"]["reason"]) for each in receiver.told()] == [
        (job, "not wanted")
    ]


def test_an_interruption_is_told_and_an_adoption_is_not(
    tmp_path: Path, queue: Queue, receiver: Receiver
) -> None:
    (job,) = submit(queue, tmp_path)
    one, hooks, _ = deliverer(queue)
    hooks.add(receiver.url, [], actor="ann")
    queue.claim("w", 0)
    queue.adopt(job, worker="v", slot=0, before="w")
    queue.move(job, "interrupted", actor="v", reason="its process went")
    queue.move(job, "queued", actor="v")
    (queue.runs / "0123456789ab").mkdir()  # a damaged folder does not keep the others
    one.step()
    told = [
        (each["event"], each["job"]["state"], each["job"]["reason"]) for each in receiver.told()
    ]
    assert told == [("job.interrupted", "interrupted", "its process went")]


def test_one_that_does_not_answer_is_tried_less_and_less_and_holds_up_nobody(
    tmp_path: Path, queue: Queue, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = submit(queue, tmp_path, 2)
    one, hooks, deliveries = deliverer(queue)
    dead = hooks.add("http://127.0.0.1:9/", [], actor="ann")
    hooks.add(receiver.url, [], actor="ann")
    receiver.answers = [302]
    for job in jobs:
        queue.wish(job, "cancel", actor="ann")
    one.step()
    assert len(receiver.posts) == 1  # the redirect was not followed, and the rest waits with it
    monkeypatch.setattr("scfae.service.deliveries.BACKOFF_S", [0.0] * len(BACKOFF_S))
    with deliveries._database.writing() as connection:
        connection.execute("UPDATE deliveries SET next_s = 0 WHERE state = 'waiting'")
    for _ in range(20):
        one.step()
    states = {(each.webhook == dead.id, each.state) for each in deliveries.page().deliveries}
    assert states == {(True, "failed"), (False, "delivered")}
    assert len(receiver.posts) == 3
    failed = deliveries.page(webhook=dead.id).deliveries
    assert {each.attempts for each in failed} == {len(BACKOFF_S) + 1}
    assert all("ConnectError" in each.error for each in failed)
    again = deliveries.retry(failed[0].id)
    assert (again.state, again.attempts) == ("waiting", 0)
    hooks.remove(dead.id)
    one.step()
    assert deliveries.get(again.id).error == "its webhook was removed"


def test_addresses_are_judged_again_when_a_post_is_made(receiver: Receiver) -> None:
    words: dict[str, Any] = {"secret": "s", "event": "ping", "delivery": "d"}
    with pytest.raises(ConfigError, match="only this network knows"):
        post(receiver.url, b"{}", allows_private=False, **words)
    assert post(receiver.url, b"{}", allows_private=True, **words) == 200
    assert len(receiver.posts) == 1


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
    ],
)
def test_private_addresses(address: str) -> None:
    assert not is_public(address)


def test_public_addresses() -> None:
    assert all(map(is_public, ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"]))


@pytest.mark.parametrize(
    "url",
    [
        "example.org",
        "http://",
        "http://a:b@example.org",
        "http://[",
        "http://x:99999",
        "http://..",
        f"http://{80 * 'x'}",
    ],
)
def test_addresses_that_are_none(queue: Queue, url: str) -> None:
    with pytest.raises(ConfigError, match="url"):
        Webhooks(queue.folder, allows_private=True).add(url, [], actor="ann")


def test_secrets_are_for_their_owner_only(queue: Queue) -> None:
    hooks = Webhooks(queue.folder, allows_private=True)
    made = hooks.add("http://127.0.0.1:9", [], actor="ann")
    path = queue.folder / "webhooks.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["webhooks"][0]["secret"] == made.secret
    assert made.secret not in json.dumps([one.view().model_dump() for one in hooks.webhooks()])
