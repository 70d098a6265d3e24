"""Stores over HTTP: what is in them, their samples and media, and another backbone for one."""

import contextlib
import csv
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.unit.extract.media_kit import write_clip

from scfae.service.roots import Roots
from scfae.service.store_media import source_of
from scfae.service.store_summary import summary
from scfae.service.stores import Stores, store_id
from scfae.store import ColumnInfo, FeatureStore, SampleRow, ShardSample
from scfae.store.atomic import write_atomic

from .services import Served, make_service_store, start_server, wait_for

NAMES = [f"clip{i}" for i in range(6)]
DIM = 100


def write_media(root: Path) -> None:
    """Write six clips, and the manifest that names them."""
    (root / "clips").mkdir(parents=True)
    for i, name in enumerate(NAMES):
        write_clip(root / "clips" / f"{name}.mp4", frames=10, sound_s=0.4 if i else None)
    with open(root / "clips.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "video", "text", "split", "fake"])
        for i, name in enumerate(NAMES):
            table.writerow([name, f"clips/{name}.mp4", f"words of {name}", "train", i % 2])


def write_store(path: Path, references: dict[str, dict[str, str]]) -> FeatureStore:
    """Write a store with a long column, and one with a constant feature."""
    rows = [
        SampleRow(name, media=media, split="train", labels={"fake": i % 2, "who": f"p{i % 3}"})
        for i, (name, media) in enumerate(references.items())
    ]
    store = FeatureStore.create(path, rows, shard_size=4)
    video = ColumnInfo.create("video", "video", encoder="by-hand", dim=DIM)
    with store.add_column(video) as writer:
        for shard in range(store.samples.num_shards):
            writer.commit(shard, [_long(index) for index in store.samples.rows_of(shard)])
    audio = ColumnInfo.create("audio", "audio", encoder="by-hand", dim=2, is_random=True)
    with store.add_column(audio) as writer:
        writer.commit(0, [_flat(index) for index in store.samples.rows_of(0)])
    return store


def _long(index: int) -> ShardSample:
    count = 450 + index
    values = np.arange(count)[:, None] + np.zeros((1, DIM))
    times = np.stack([np.arange(count), np.arange(count) + 1], axis=1) / 100
    return ShardSample(values.astype(np.float32), times=times)


def _flat(index: int) -> ShardSample:
    if index == 1:
        return ShardSample(None, status="missing", reason="no sound")
    return ShardSample(np.array([[1.0, float(index)]], dtype=np.float32))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_media(root)
    references = {
        name: {"video": f"clips/{name}.mp4", "text": f"words of {name}"} for name in NAMES
    }
    write_store(root / "small", references)
    make_service_store(root / "sub")
    return root


@pytest.fixture(scope="module")
def served(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("service")
    words = ["--store-root", str(root), "--media-root", str(root), "--gpus", "none"]
    with start_server(folder, *words) as served:
        yield served


def get(served: Served, path: str, **params: Any) -> Any:
    answer = served.client.get(f"/api/v1/stores{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def id_of(served: Served, name: str) -> str:
    found: str = next(one["id"] for one in get(served, "") if one["path"].endswith(name))
    return found


def test_stores_are_listed_and_summed_up(served: Served) -> None:
    lines = {Path(one["path"]).name: one for one in get(served, "")}
    assert lines["store"]["num_samples"] == 200
    assert set(lines["store"]["columns"]) == {"audio", "video"}
    assert lines["small"]["size_bytes"] > 6 * 450 * DIM * 4
    found = get(served, f"/{lines['store']['id']}")
    assert sum(found["splits"].values()) == found["num_samples"] == 200
    assert sum(found["presence"]["edges"][-1:]) == 200
    columns = {one["name"]: one for one in found["columns"]}
    for name, column in columns.items():
        assert sum(column["counts"].values()) == 200
        assert column["num_present"] == sum(column["lengths"]["counts"])
        with_it = sum(one["count"] for one in found["combinations"] if name in one["columns"])
        assert with_it == column["num_present"]
        share = np.mean(found["presence"]["shares"][name])
        assert share == pytest.approx(column["num_present"] / 200)
    labels = {one["name"]: one for one in found["labels"]}
    assert sum(count for _, count in labels["digit"]["counts"]) == 200
    assert sum(map(sum, labels["digit"]["splits"].values())) == 200


def test_what_looks_wrong_is_said(served: Served) -> None:
    found = get(served, f"/{id_of(served, 'small')}")
    alarms = {(one["about"], one["kind"]): one["text"] for one in found["alarms"]}
    assert "2 of 6 samples are not extracted yet" in alarms["audio", "incomplete"]
    assert "1 of 2 features never change" in alarms["audio", "constant"]
    assert "noise" in alarms["audio", "noise"]
    audio = next(one for one in found["columns"] if one["name"] == "audio")
    assert (audio["num_pending"], audio["counts"]["missing"]) == (2, 3)
    assert {"status": "missing", "reason": "no sound", "count": 1} in audio["reasons"]


def test_samples_are_found_by_words_and_paged(served: Served) -> None:
    url = f"/{id_of(served, 'sub/store')}/samples"
    first = get(served, url, limit=150)
    rest = get(served, url, limit=150, cursor=first["cursor"])
    assert (len(first["samples"]), len(rest["samples"]), rest["cursor"]) == (150, 50, None)
    assert len({one["key"] for one in first["samples"] + rest["samples"]}) == 200
    for q, is_right in (
        ("digit=2", lambda one: one["labels"]["digit"] == 2),
        ("missing:audio split:test", lambda one: not one["rows"]["audio"]),
        ("ok:video", lambda one: one["status"]["video"] == "ok"),
        ("SAMPLE-0001", lambda one: one["key"].startswith("sample-0001")),
    ):
        found = get(served, url, q=q, limit=500)
        assert 0 < found["num_found"] == len(found["samples"]) < 200, q
        assert all(map(is_right, found["samples"])), q
    for bad in ("digit=x", "has:nothing"):
        answer = served.client.get(f"/api/v1/stores{url}", params={"q": bad})
        assert answer.status_code in (404, 422), bad
    assert served.client.get(f"/api/v1/stores{url}?cursor=x").status_code == 422
    assert served.client.get("/api/v1/stores/none/samples").status_code == 404
    assert served.client.get(f"/api/v1/stores{url}/none").status_code == 404


def test_a_sample_is_shown_with_its_rows_and_its_media(served: Served) -> None:
    url = f"/{id_of(served, 'small')}/samples"
    found = get(served, f"{url}/clip3")
    columns = {one["name"]: one for one in found["columns"]}
    shown = columns["video"]["map"]
    count = columns["video"]["num_rows"]
    assert (len(shown["values"]), len(shown["values"][0])) == (200, 64)
    assert (shown["low"], shown["high"]) == (
        pytest.approx(0.5, abs=0.6),
        pytest.approx(count, abs=3),
    )
    assert (shown["starts_s"][0], shown["ends_s"][-1]) == (
        0.0,
        pytest.approx(count / 100, abs=0.01),
    )
    media = {one["kind"]: one for one in found["shown"]}
    assert media["text"]["text"] == "words of clip3"
    assert media["text"]["reference"] is None
    assert 2 < len(media["video"]["frames"]) <= 8
    assert media["video"]["frames"][0]["src"].startswith("data:image/jpeg;base64,")
    loudest = max(high for _, high in media["video"]["wave"]["bins"])
    assert 0.3 < loudest < 0.7
    silent = get(served, f"{url}/clip0", maps="audio")
    assert next(one for one in silent["shown"] if one["kind"] == "video")["wave"] is None
    assert next(one for one in silent["columns"] if one["name"] == "video")["map"] is None
    fates = {get(served, f"{url}/{name}", media="false")["columns"][0]["reason"] for name in NAMES}
    assert fates == {None, "no sound", "not extracted yet"}


def test_only_media_under_a_root_are_read(tmp_path: Path) -> None:
    (tmp_path / "media" / "in").mkdir(parents=True)
    (tmp_path / "media" / "in" / "a.txt").write_text("yes")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "media" / "link.txt").symlink_to(tmp_path / "secret.txt")
    roots = Roots(media=(str(tmp_path / "media"),))
    store = tmp_path / "stores" / "s"

    def found(reference: str, kind: str = "text") -> Any:
        return source_of(kind, reference, roots, store)

    assert found("a.txt") == (tmp_path / "media" / "in" / "a.txt").resolve()
    assert found("in/a.txt") == found("a.txt")
    for name in ("../secret.txt", str(tmp_path / "secret.txt"), "link.txt", "none.txt", "a\0.txt"):
        assert found(name) is None, name
        assert found(name, "video") is None, name
    assert found("in/../../secret.txt") is None
    assert found("some words").text == "some words"


def test_a_store_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", {name: {} for name in NAMES})
    stores = Stores(Roots(stores=(str(tmp_path),)))
    opened = stores.open(store_id(tmp_path.resolve() / "s"))
    assert stores.open(opened.id) is opened
    assert summary(opened) is summary(opened)
    with store.add_column(store.columns["audio"]) as writer:
        writer.commit(1, [_flat(index + 2) for index in store.samples.rows_of(1)])
    again = stores.open(opened.id)
    assert again is not opened
    assert [one.num_pending for one in summary(again).columns] == [0, 0]
    write_atomic(tmp_path / "s" / "columns" / "audio" / "shard-00000.json", b"{")
    columns = summary(stores.open(opened.id)).columns
    assert ["is damaged" in str(one.error) for one in columns] == [True, False]
    shutil.rmtree(tmp_path / "s")
    with pytest.raises(FileNotFoundError):
        stores.open(opened.id)


def test_a_backbone_is_swapped_beside_the_old_one(served: Served) -> None:
    client, one = served.client, id_of(served, "small")
    url = f"/api/v1/stores/{one}/swap"

    def ask(**params: str) -> httpx.Response:
        return client.get(url, params=params, timeout=120)

    assert ask(column="none", encoder="ge2e").status_code == 404
    assert "it is of audio" in ask(column="video", encoder="ge2e").json()["detail"]
    assert "did you mean" in ask(column="audio", encoder="ge2").json()["detail"].lower()
    for media in ("/etc", "x" * 150, "x" * 300, "é" * 190):
        assert ask(column="audio", encoder="ge2e", media=media).status_code == 422, media
    answer = ask(column="audio", encoder="ge2e@random:0")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["new_column"], found["dim"], found["is_random"]) == ("ge2e", 2, True)
    assert found["media"].endswith("clips.csv")
    assert (found["shards_to_extract"], found["shards_kept"], found["num_files"]) == (2, 0, 6)
    assert found["feature_bytes"] > 0
    assert found["seconds"] > 0
    # Nothing was touched.
    assert "ge2e" not in {column["name"] for column in get(served, f"/{one}")["columns"]}


@pytest.mark.slow
def test_the_job_of_a_swap_extracts_what_was_said(served: Served) -> None:
    client, one = served.client, id_of(served, "small")
    words = {"column": "video", "encoder": "efficientnet-lite0@random:0"}
    url = f"/api/v1/stores/{one}/swap"
    found = client.get(url, params=words, timeout=300).json()
    job = client.post("/api/v1/runs", json=found["request"]).json()
    ended = wait_for(lambda: _ended(client, job["id"]), seconds=250)
    assert ended["state"] == "finished", ended["reason"]
    columns = {column["name"]: column for column in get(served, f"/{one}")["columns"]}
    made = columns[found["new_column"]]
    assert made["num_rows"] * made["dim"] * 4 == pytest.approx(found["feature_bytes"], rel=0.3)
    again = client.get(url, params=words, timeout=300).json()
    assert (again["shards_to_extract"], again["shards_kept"], again["seconds"]) == (0, 2, 0)
    assert again["media"] == found["media"]


def _ended(client: httpx.Client, job: str) -> Any:
    found = client.get(f"/api/v1/runs/{job}").json()
    return found if found["ended_s"] is not None else None


def test_no_link_leads_to_a_store_elsewhere(tmp_path: Path) -> None:
    for name in ("under", "elsewhere"):
        FeatureStore.create(tmp_path / name / "s", [SampleRow("a")])
    (tmp_path / "under" / "link").symlink_to(tmp_path / "elsewhere" / "s")
    (tmp_path / "under" / "again").symlink_to(tmp_path / "under" / "s")
    (tmp_path / "root").symlink_to(tmp_path / "under")
    stores = Stores(Roots(stores=(str(tmp_path / "root"),)))
    assert list(stores.paths().values()) == [(tmp_path / "under" / "s").resolve()]


def test_many_stores_are_kept_open_but_not_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        FeatureStore.create(tmp_path / f"s{number}", [SampleRow(f"{i}") for i in range(10)])
    stores = Stores(Roots(stores=(str(tmp_path),)))
    first = {one: stores.open(one) for one in stores.paths()}
    assert all(stores.open(one) is opened for one, opened in first.items())
    monkeypatch.setattr("scfae.service.stores.MAX_SAMPLES", 25)
    again = Stores(Roots(stores=(str(tmp_path),)))
    before = {one: again.open(one) for one in again.paths()}
    is_kept = [again.open(one) is before[one] for one in reversed(before)]
    assert is_kept[:2] == [True, True]
    assert not any(is_kept[2:])


def test_a_server_ends_within_seconds_while_something_is_estimated(
    root: Path, tmp_path: Path
) -> None:
    words = ["--store-root", str(root), "--media-root", str(root), "--no-worker"]
    with start_server(tmp_path, *words) as served:
        one = id_of(served, "small")
        params = {"column": "audio", "encoder": "ge2e@random:1"}
        url = f"http://127.0.0.1:{served.port}/api/v1/stores/{one}/swap"
        asking = threading.Thread(target=_ask_in_vain, args=[url, params])
        asking.start()
        wait_for(lambda: _estimates(served.process.pid))
        (child,) = _estimates(served.process.pid)
        begun_s = time.monotonic()
        served.process.terminate()
        assert served.process.wait(timeout=60) == 143
        assert time.monotonic() - begun_s < 5
        asking.join()
        wait_for(lambda: not Path(f"/proc/{child}").exists())


def _ask_in_vain(url: str, params: dict[str, str]) -> None:
    with contextlib.suppress(httpx.TransportError):
        httpx.get(url, params=params, timeout=60)


def _estimates(server: int) -> list[int]:
    children = Path(f"/proc/{server}/task").glob("*/children")
    return [int(pid) for one in children for pid in one.read_text().split()]
