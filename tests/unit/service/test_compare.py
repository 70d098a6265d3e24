"""Comparisons: what differs, seeds together, curves and files, against a real server."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from scfae.service import Queue, Roots
from scfae.service.client import Client
from scfae.service.compare_export import as_latex
from scfae.service.jobs import read_request
from scfae.store.errors import ConfigError, JobNotFound, RunStateError
from scfae.train import sweep
from scfae.train.runs import RunFolder
from scfae.train.seeds import OverSeeds

from .services import SETTINGS, Served, make_service_store, start_server, training
from .trained import trained_job


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def served(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    make_service_store(root)
    words = ["--no-worker", "--store-root", str(root)]
    with start_server(tmp_path_factory.mktemp("service"), *words) as served:
        yield served


@pytest.fixture(scope="module")
def jobs(served: Served, root: Path) -> list[str]:
    """Two seeds of one config, one of them twice, and another config that is not evaluated."""
    roots = make_roots(root)
    made = [
        trained_job(served.queue, roots, name="base", seed=1),
        trained_job(served.queue, roots, name="base", seed=2),
        trained_job(served.queue, roots, name="base", seed=2),
        trained_job(
            served.queue, roots, name="=slow", lr=0.5, options={"expansion": 1}, evaluated=False
        ),
    ]
    return [one.id for one in made]


def make_roots(root: Path) -> Roots:
    return Roots(stores=(str(root),), media=(str(root),))


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{served.port}") as client:
        yield client


def test_what_differs_comes_first_and_by_flat_names(client: Client, jobs: list[str]) -> None:
    found = client.compare(*jobs)
    values = {one.name: one.values for one in found.differing}
    assert values["seed"] == (1, 2, 2, 1)
    assert values["lr"][3] == 0.5
    assert values["options.expansion"] == (None, None, None, 1)
    assert set(values) == {"seed", "lr", "options.expansion"}
    assert found.equal["columns.video"] == "video"
    assert not {"run", "trackers"} & found.equal.keys()
    assert [run.name for run in found.runs[:2]] == [f"base ({job})" for job in jobs[:2]]
    assert found.notes[0] == "Not evaluated yet: =slow."
    assert "noise, a baseline" in found.notes[1]


def test_figures_are_those_of_the_evaluations(
    client: Client, served: Served, jobs: list[str]
) -> None:
    found = client.compare(*jobs)
    assert found.conditions == ("video", "audio", "video+audio")
    assert found.metric == "accuracy"
    for place, job in enumerate(jobs[:3]):
        kept = RunFolder(served.queue.job(job).run_path).read("evaluation.json")
        run = found.runs[place]
        assert run.n == kept["n"]
        for condition, figures in run.conditions.items():
            for metric, one in figures.items():
                assert one.value == kept["conditions"][condition][metric]
                interval = kept["conditions"][condition][f"{metric}_ci95"]
                assert one.interval == (None if interval is None else tuple(interval))
        assert run.baseline[found.metric] == kept["majority"][found.metric]
    assert found.runs[3].conditions == {}
    assert found.runs[3].best["metric"]


def test_runs_that_differ_in_seed_alone_are_one_row(client: Client, jobs: list[str]) -> None:
    found = client.compare(*jobs)
    (group,) = found.groups
    assert group.runs == tuple(jobs[:3])
    assert group.seeds == (1, 2)  # the same seed again is no third one
    first, second = (run.conditions["audio"]["accuracy"].value for run in found.runs[:2])
    wanted = OverSeeds.of([first, second])
    one = group.conditions["audio"]["accuracy"]
    assert (one.mean, one.sd, one.n) == (wanted.mean, wanted.sd, 2)
    assert client.compare(*jobs[1:3]).groups == (), "of one seed alone there is no deviation"


def test_curves_are_those_asked_for(client: Client, jobs: list[str]) -> None:
    assert client.compare(*jobs).curves == {}
    found = client.compare(*jobs, keys=["val.loss"])
    assert "train.loss" in found.keys
    assert list(found.curves) == jobs
    assert all(list(one.curves) == ["val.loss"] for one in found.curves.values())
    assert len(found.curves[jobs[0]].curves["val.loss"].value) == 2


def test_what_is_shown_is_a_file_too(served: Served, client: Client, jobs: list[str]) -> None:
    query = {"ids": ",".join(jobs), "metric": "accuracy", "format": "csv"}
    answer = served.client.get("/api/v1/compare", params=query)
    assert answer.headers["content-type"].startswith("text/csv")
    assert 'filename="comparison.csv"' in answer.headers["content-disposition"]
    heads, *rows = csv.reader(io.StringIO(answer.text))
    assert heads[:2] == ["run", "id"]
    assert heads[-3:] == ["accuracy video", "accuracy audio", "accuracy video+audio"]
    assert [row[1] for row in rows] == [*jobs, ""]
    value = client.compare(*jobs).runs[0].conditions["video"]["accuracy"].value
    assert float(rows[0][-3]) == pytest.approx(value, abs=5e-4)
    assert "±" in rows[-1][-1]
    assert rows[3][0] == "'=slow"  # no formula of a spreadsheet
    latex = served.client.get("/api/v1/compare", params=query | {"format": "latex"}).text
    assert "\\begin{tabular}" in latex
    assert "$\\pm$" in latex
    assert "options.expansion" in latex
    assert as_latex(client.compare(*jobs), "accuracy") == latex
    whole = served.client.get("/api/v1/compare", params=query | {"format": "json"})
    assert whole.json() == served.client.get("/api/v1/compare", params={"ids": query["ids"]}).json()
    wrong = served.client.get("/api/v1/compare", params=query | {"metric": "mae"})
    assert (wrong.status_code, "the runs have accuracy" in wrong.text) == (422, True)


def test_two_runs_are_told_apart_by_a_paired_bootstrap(client: Client, jobs: list[str]) -> None:
    found = client.paired(jobs[0], jobs[1], resamples=20)
    one = found.conditions["video+audio"]["accuracy"]
    assert one.first is not None
    assert one.second is not None
    assert one.difference == pytest.approx(one.second - one.first)
    with pytest.raises(RunStateError, match="not evaluated yet"):
        client.paired(jobs[0], jobs[3])


def test_what_cannot_be_compared_is_said(
    client: Client, served: Served, root: Path, jobs: list[str]
) -> None:
    with pytest.raises(ConfigError, match="2 to 50 jobs"):
        client.compare(jobs[0], jobs[0])
    with pytest.raises(ConfigError, match="2 to 50 jobs"):
        client.compare(*(f"{i:012x}" for i in range(51)))
    with pytest.raises(JobNotFound):
        client.compare(jobs[0], "0" * 12)
    waiting = served.queue.submit(training(epochs=7), actor="test", roots=make_roots(root))
    found = client.compare(jobs[0], waiting.id)
    assert {one.name: one.values for one in found.differing}["epochs"] == (2, 7)
    assert found.runs[1].state == "queued"


def test_a_sweep_counts_as_its_runs(served: Served, root: Path, client: Client) -> None:
    config = {k: v for k, v in SETTINGS.items() if k != "seed"}
    body = {"job": {"kind": "sweep", "config": config, "seeds": [1, 2]}, "name": "seeds"}
    job = served.queue.submit(read_request(body), actor="test", roots=make_roots(root))
    other = served.queue.submit(training(), actor="test", roots=make_roots(root))
    with pytest.raises(Exception, match="without a run yet"):
        client.compare(job.id, other.id)
    settings = {**config, "store": str(root / "store")}
    sweep(settings, served.queue.job(job.id).run_path, seeds=(1, 2), bootstrap=5)
    found = client.compare(job.id, other.id)
    assert [run.id for run in found.runs] == [f"{job.id}/seed=1", f"{job.id}/seed=2", other.id]
    assert Queue(served.queue.folder).get(job.id).kind == "sweep"
    assert found.groups[0].name.startswith("seeds")


def test_the_page_shows_what_differs_and_seeds_together(served: Served, jobs: list[str]) -> None:
    page = served.client.get("/compare", params={"ids": ",".join(jobs), "metric": "accuracy"})
    assert page.status_code == 200
    assert "4 runs side by side" in page.text
    assert "options.expansion" in page.text
    assert "mean ± deviation of 2 seeds" in page.text
    assert "Not evaluated yet: =slow." in page.text
    assert f"/api/v1/compare?ids={','.join(jobs)}&amp;metric=accuracy&amp;format=csv" in page.text
    assert "Choose two runs or more" in served.client.get("/compare").text
    html = {"Accept": "text/html"}
    wrong = served.client.get("/compare", params={"ids": jobs[0]}, headers=html)
    assert (wrong.status_code, "2 to 50 jobs" in wrong.text) == (422, True)
