"""The pages as the server makes them: every view is a URL, readable without scripts."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from scfae.cli import main
from scfae.cli.job import run_job
from scfae.service import Queue
from scfae.service.app import make_app
from scfae.service.context import Service
from scfae.service.jobs import read_request
from scfae.service.processes import machine
from scfae.service.record import JobRecord, Process
from scfae.service.web.forms import form_groups
from scfae.service.web.rows import Search, polyline
from scfae.service.words import ago, duration, figure, size
from scfae.train.arguments import parse_train_args, setting_words
from scfae.train.config import RunConfig, load_config
from scfae.train.settings import GROUP_OF

from .services import SETTINGS, make_service_store, training

HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    root = tmp_path_factory.mktemp("pages")
    return Service(Queue(root / "service"), make_service_store(root))


@pytest.fixture(scope="module")
def finished(service: Service) -> JobRecord:
    """A training that has ended, without a worker."""
    queue = service.queue
    request = training(
        name="first <b>try</b>", tags=["small"], epochs=3, evaluate=True, missing_rates=[0.0, 0.5]
    )
    record = queue.submit(request, actor="ann", roots=service.roots)
    claimed = queue.claim("worker", 0)
    assert claimed is not None
    queue.start(record.id, 1, Process(pid=1, start=1, machine=machine()), worker="worker")
    folder = queue.job(record.id)
    assert run_job(folder, 1) == 0
    return queue.move(record.id, "finished", actor="worker", details={"summary": folder.summary()})


@pytest.fixture(scope="module")
def waiting(service: Service, finished: JobRecord) -> JobRecord:
    return service.queue.submit(training(), actor="bob", roots=service.roots)


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(make_app(service), base_url="http://localhost", headers=HTML) as client:
        yield client


def test_every_place_is_a_whole_page_that_loads_nothing_from_elsewhere(
    client: TestClient, finished: JobRecord, waiting: JobRecord
) -> None:
    places = ["/", "/?q=state:finished", "/new", f"/new?clone={finished.id}"]
    for job in (finished, waiting):
        places += [
            f"/runs/{job.id}{tab}" for tab in ("", "/log", "/settings", "/files", "/history")
        ]
    for place in places:
        page = client.get(place)
        assert page.status_code == 200, place
        assert page.text.startswith("<!doctype html>")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        loaded = re.findall(r'(?:src|href|action)="([^"]*)"', page.text)
        assert all(link.startswith(("/", "#")) for link in loaded), place
        assert "<script>" not in page.text
        ids = re.findall(r' id="([^"]+)"', page.text)
        assert len(ids) == len(set(ids)), place


def test_the_list_shows_state_figure_line_and_place_in_the_queue(
    client: TestClient, finished: JobRecord, waiting: JobRecord
) -> None:
    page = client.get("/").text
    assert "first &lt;b&gt;try&lt;/b&gt;" in page
    assert "<polyline" in page
    assert "balanced accuracy" in page
    assert "next in the queue" in page
    assert "No worker runs" in page
    only = client.get("/?q=state:queued").text
    assert waiting.id in only
    assert finished.id not in only
    assert "there is no such state" in client.get("/?q=state:happy").text
    assert "No run has all of that" in client.get("/?q=nothing-of-the-kind").text


def test_htmx_is_given_the_table_alone(client: TestClient, finished: JobRecord) -> None:
    part = client.get("/", headers={"HX-Request": "true"}).text
    assert part.lstrip().startswith('<div id="runs"')
    head = client.get(f"/runs/{finished.id}/head").text
    assert "<title>" in head
    assert 'hx-trigger="every' not in head  # it has ended


def test_a_run_shows_its_evaluation_with_modalities_missing(
    client: TestClient, finished: JobRecord
) -> None:
    page = client.get(f"/runs/{finished.id}").text
    assert "With modalities missing" in page
    assert page.count('class="presence"') == 3
    assert "always the majority" in page
    assert "Against the share of samples that miss modalities" in page
    assert "run/report.html" in page


def test_settings_stand_beside_the_defaults_or_another_run(
    client: TestClient, finished: JobRecord, waiting: JobRecord
) -> None:
    page = client.get(f"/runs/{finished.id}/settings").text
    assert re.search(r"epochs</th><td><strong>3</strong></td><td>20", page)
    page = client.get(f"/runs/{finished.id}/settings?against={waiting.id}").text
    assert re.search(r"epochs</th><td><strong>3</strong></td><td>2<", page)
    assert "scfae train" in page


def test_settings_of_a_clone_outlive_the_run_it_was_cloned_from(
    client: TestClient, service: Service
) -> None:
    queue = service.queue
    parent = queue.submit(training(), actor="ann", roots=service.roots)
    request = training(epochs=5).model_copy(update={"parent": parent.id})
    child = queue.submit(request, actor="ann", roots=service.roots)
    assert f"Run {parent.id}" in client.get(f"/runs/{child.id}/settings").text
    queue.wish(parent.id, "cancel", actor="ann")
    queue.discard(parent.id)
    page = client.get(f"/runs/{child.id}/settings")
    assert page.status_code == 200
    assert "Default</th>" in page.text
    assert client.get(f"/runs/{child.id}/settings?against={parent.id}").status_code == 404
    queue.wish(child.id, "cancel", actor="ann")


def test_the_line_of_an_ended_run_is_for_its_page_alone(
    client: TestClient, service: Service, finished: JobRecord
) -> None:
    assert len(service.queue.get(finished.id).summary["spark"]) == 3
    job = client.get(f"/api/v1/runs/{finished.id}").json()
    (listed,) = (
        one for one in client.get("/api/v1/runs").json()["jobs"] if one["id"] == finished.id
    )
    for view in (job, listed):
        assert view["progress"]["epoch"] == 3
        assert "spark" not in view["progress"]


def test_a_run_that_is_not_there_is_a_page_that_says_so(client: TestClient) -> None:
    page = client.get("/runs/0123456789ab")
    assert page.status_code == 404
    assert "there is no job 0123456789ab" in page.text
    problem = client.get("/api/v1/runs/0123456789ab")
    assert problem.headers["content-type"] == "application/problem+json"
    assert client.get("/nowhere").status_code == 404


def test_assets_are_kept_for_good_only_under_their_digest(client: TestClient) -> None:
    link = re.search(r'href="(/static/site\.css\?v=\w+)"', client.get("/").text)
    assert link is not None
    assert "immutable" in client.get(link[1]).headers["cache-control"]
    assert client.get("/static/site.css").headers["cache-control"] == "no-cache"
    for name in ("../app.py", "..%2fapp.py", "__init__.py", "nothing.js"):
        assert client.get(f"/static/{name}").status_code == 404


def test_the_form_has_every_setting_once() -> None:
    names = [field.name for group in form_groups({}) for field in group.fields]
    apart = {"run", "trackers", "store", "columns", "label"}
    assert sorted(names) == sorted(GROUP_OF.keys() - apart)
    changed = form_groups({"clip_norm": 1.0, "options": {"expansion": 4}})
    fields = {field.name: field for group in changed for field in group.fields}
    assert (fields["clip_norm"].value, fields["clip_norm"].is_shown) == ("1.0", True)
    assert fields["options"].value == "expansion=4"
    assert fields["clip_norm"].default == "none"


def test_a_request_is_looked_at_before_it_is_submitted(
    client: TestClient, service: Service
) -> None:
    def look(**settings: Any) -> dict[str, Any]:
        body = {"job": {"kind": "train", "config": SETTINGS | settings}}
        answer = client.post("/api/v1/runs/check", json=body)
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    before = service.queue.counts()
    good = look()
    assert good["problems"] == []
    assert good["facts"]["test samples"] == 70
    assert good["facts"]["parameters"] > 0
    assert any("has no rows of" in note for note in good["notes"])
    assert "epochs: 2" in good["yaml"]
    assert json.loads(good["curl"].split("-d ")[1].strip("'"))["job"]["kind"] == "train"
    assert "lr = 'x'" in look(lr="x")["problems"][0]
    assert "video2" in look(columns={"video": "video2"})["problems"][0]
    assert "label" in look(label="nothing")["problems"][0]
    assert "outside of the folders" in look(store="/etc")["problems"][0]
    assert "the test split 'none'" in look(test_split="none")["problems"][0]
    assert service.queue.counts() == before


def test_the_command_of_a_request_is_the_same_request(client: TestClient, tmp_path: Path) -> None:
    settings = SETTINGS | {
        "store": str(tmp_path / "s"),
        "options": {"expansion": 2},
        "where": {"fake": 0, "name": "1"},
        "standardise": False,
        "clip_norm": 1.5,
        "trackers": [],
        "lr": 1e-3,
        "run": "runs/mine",
    }
    config = load_config(None, settings)
    again = parse_train_args(setting_words(config))
    assert isinstance(again, RunConfig)
    assert again == config


def test_a_clone_tells_the_form_what_the_other_had(client: TestClient, finished: JobRecord) -> None:
    page = client.get(f"/new?clone={finished.id}").text
    assert "A run like first" in page
    start = json.loads(page.split('id="start">')[1].split("</script>")[0])
    assert start["columns"] == {"video": "video", "audio": "audio"}
    assert 'value="small"' in page


def test_a_sweep_shows_its_runs(client: TestClient, service: Service) -> None:
    job = {"kind": "sweep", "config": SETTINGS | {"epochs": 1}, "seeds": [1, 2]}
    record = service.queue.submit(read_request({"job": job}), actor="ann", roots=service.roots)
    folder = service.queue.job(record.id)
    assert main(folder.submitted().request.job.words(folder.path)) == 0
    page = client.get(f"/runs/{record.id}").text
    assert "seed=1" in page
    assert "seed=2" in page
    assert "Over seeds" in page
    assert "±" in page
    assert "cannot be read" not in page
    (damaged,) = folder.run_path.glob("*seed=2*/config.yaml")
    damaged.write_text("loop: [")
    page = client.get(f"/runs/{record.id}").text
    assert f"The run {damaged.parent.name} cannot be read" in page
    assert "seed=1" in page


def test_words_typed_to_find_runs() -> None:
    search = Search.of("state:running kind:train mosei lr<1 state:odd lr:x name=")
    assert search.states == ("running",)
    assert search.kinds == ("train",)
    assert search.words == "mosei lr:x"
    assert [(one.name, one.number) for one in search.terms] == []
    assert search.complaints == (
        "state:odd: there is no such state or kind.",
        "filter, character 57: a value is due after name=.",
    )
    assert [(one.name, one.number) for one in Search.of("mosei lr < 1").terms] == [("lr", 1.0)]


def test_words_of_times_sizes_and_figures() -> None:
    assert duration(0.2) == "0 s"
    assert duration(65) == "1 min 5 s"
    assert duration(7260) == "2 h 1 min"
    assert duration(3 * 86400 + 5) == "3 d"
    assert ago(100.0, now_s=160.0) == "1 min ago"
    assert ago(160.2, now_s=160.0) == "now"
    assert size(999) == "999 B"
    assert size(1_400_000) == "1.4 MB"
    assert figure(0.12345) == "0.123"
    assert figure(5e-4) == "0.0005"
    assert figure(None) == "\N{EN DASH}"
    assert polyline((1.0,)) == ""
    assert polyline((0.0, None, 1.0)) == "2.0,20.0 82.0,2.0"
