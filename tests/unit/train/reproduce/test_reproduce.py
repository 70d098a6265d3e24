"""Tables end to end on a miniature: what is run, what is kept, and what is run anew."""

import csv
import json
import re
import shutil
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scfae.store import FeatureStore
from scfae.train.evaluation import EVALUATION_FILE
from scfae.train.reproduce.exports import lines_of
from scfae.train.reproduce.page import _plot, documents_of, write_reproduction
from scfae.train.reproduce.results import ResultRow, ResultTable
from scfae.train.reproduce.running import Reproduction, reproduce
from scfae.train.reproduce.verdicts import standing, summary
from scfae.train.runs import RunFolder
from scfae.train.seeds import OverSeeds
from scfae.train.sweeps.plan import Cell
from scfae.train.sweeps.running import SweepInterrupted

from .small_data import QUICK, paper_store, parts_of

NAMES = ("table4", "table5", "table14")
METHODS = ("scfae", "concat", "mmin")
BOOTSTRAP = 40


class Heard:
    """What `tell` was told."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.failures: list[str] = []

    def __call__(self, cell: Cell, failure: str | None) -> None:
        self.ended.append(cell.name)
        if failure is not None:
            self.failures.append(failure)


def go(
    store: FeatureStore, out: Path, names: Sequence[str] = NAMES, **options: Any
) -> Reproduction:
    asked: dict[str, Any] = {
        "methods": METHODS,
        "num_seeds": 2,
        "settings": QUICK,
        "bootstrap": BOOTSTRAP,
    }
    return reproduce(names, parts_of(store), out, **asked | options)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return paper_store(tmp_path_factory.mktemp("paper") / "store")


@pytest.fixture(scope="module")
def made(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> Reproduction:
    """Three tables, two methods each, two seeds; not to be changed."""
    found = go(store, tmp_path_factory.mktemp("repro") / "out")
    write_reproduction(found)
    return found


def table_of(found: Reproduction, name: str) -> ResultTable:
    return next(one for one in found.results if one.table.name == name)


def row_of(result: ResultTable, name: str) -> ResultRow:
    return next(one for one in result.rows if one.row.name == name)


def test_rows_are_measured_or_say_why_not(made: Reproduction) -> None:
    states = {row.row.name: row.state for row in table_of(made, "table5").rows}
    assert {name for name, state in states.items() if state == "measured"} == {"SCFAE", "MMIN"}
    assert set(states.values()) == {"measured", "published"}
    assert not made.failed
    assert not made.superseded


def test_figures_are_means_over_seeds_of_the_runs_own(made: Reproduction) -> None:
    table = table_of(made, "table5")
    row = row_of(table, "SCFAE")
    evaluations = [RunFolder(path).read(EVALUATION_FILE) for path in row.runs["full"]]
    assert len(evaluations) == 2
    conditions = ["audio", "text", "video", "audio+video", "audio+text", "video+text"]
    everything = [*conditions, "audio+video+text"]
    for head, names in (
        ("{a,v}", ["audio+video"]),
        ("Avg.", everything),
        ("Avg. of 6", conditions),
    ):
        each = [
            sum(one["conditions"][name]["acc2_nonzero"] for name in names) / len(names)
            for one in evaluations
        ]
        assert row.figures[head][0].seeds.mean == pytest.approx(OverSeeds.of(each).mean)
        assert row.figures[head][0].seeds.sd == pytest.approx(OverSeeds.of(each).sd)
    ends = [one["conditions"]["audio+video"]["f1_nonzero_ci95"] for one in evaluations]
    interval = row.figures["{a,v}"][1].interval
    assert interval is not None
    assert list(interval) == pytest.approx([(ends[0][i] + ends[1][i]) / 2 for i in range(2)])
    majority = evaluations[0]["majority_of_conditions"]["audio+video"]["acc2_nonzero"]
    assert table.baseline["{a,v}"][0] == majority


def test_masked_branches_are_of_the_run_of_the_full_model(made: Reproduction) -> None:
    table = table_of(made, "table14")
    runs = {row.row.name: row.runs["full"] for row in table.rows}
    assert len(set(runs.values())) == 1
    kept = RunFolder(runs["Shared-only"][0]).read("branches.json")
    figure = row_of(table, "Shared-only").figures["AUC (AV)"][0]
    others = RunFolder(runs["Shared-only"][1]).read("branches.json")
    both = [one["shared"]["audio+video"]["roc_auc"] for one in (kept, others)]
    assert figure.seeds.mean == pytest.approx(sum(both) / 2)
    full = RunFolder(runs["Shared-only"][0]).read(EVALUATION_FILE)["conditions"]["audio+video"]
    assert kept["shared"]["audio+video"]["roc_auc"] != full["roc_auc"]


def test_verdicts_name_the_other_rows_and_their_noise(made: Reproduction) -> None:
    (one,) = made.verdicts["table5"]
    assert one.row.name == "MMIN"
    low, high = one.interval
    assert low <= one.difference <= high
    ours, other = (row_of(table_of(made, "table5"), name) for name in ("SCFAE", "MMIN"))
    means = [row.figures["Avg."][0].seeds.mean or 0.0 for row in (ours, other)]
    assert one.difference == pytest.approx(means[0] - means[1], abs=1e-6)
    assert one.outcome == ("ahead" if low > 0 else "behind" if high < 0 else "within noise")
    assert "MMIN" in summary(table_of(made, "table5"), [one])


def test_every_form_is_written(made: Reproduction) -> None:
    markdown = (made.path / "table5.md").read_text()
    assert "| SCFAE | printed | 69.3/71.0 | 87.3/87.4 |" in markdown
    assert re.search(r"\|  \| ours, 2 seeds \| \d+\.\d ± \d+\.\d \[\d+\.\d, \d+\.\d\] / ", markdown)
    assert "| SALM | printed |" in markdown
    assert "cannot be rerun: no code, and no public text was found" in markdown
    assert "MoMKE trains one model for each test condition" in markdown
    latex = (made.path / "table5.tex").read_text()
    assert r"\{a,v\}" in latex
    rows = len(lines_of(table_of(made, "table5")))
    assert sum(one.endswith(r" \\") for one in latex.splitlines()) == rows + 1
    lines = list(csv.DictReader((made.path / "table5.csv").read_text().splitlines()))
    (line,) = (
        one
        for one in lines
        if (one["row"], one["column"], one["metric"]) == ("SCFAE", "{a,v}", "f1")
    )
    row = row_of(table_of(made, "table5"), "SCFAE")
    assert float(line["mean"]) == row.figures["{a,v}"][1].seeds.mean
    assert (line["printed"], line["seeds"], line["protocol"]) == ("73.3", "2", "honest")
    document = json.loads((made.path / "table5.json").read_text())
    assert document["columns"][-1] == "Avg. of 6"
    assert document["data"]["label"] == "sentiment"


def test_the_page_is_whole_and_fetches_nothing(made: Reproduction) -> None:
    page = (made.path / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert not re.search(r"""(src|href)=["']?http""", page)
    for name in NAMES:
        assert f'<section id="{name}">' in page
    assert "69.3/71.0" in page
    assert "ours, 2 seeds" in page


def test_the_baseline_is_within_the_plot(made: Reproduction) -> None:
    table = table_of(made, "table5")
    low = replace(table, baseline={**table.baseline, table.table.headline: (-0.3, None)})
    plot = _plot(low)
    assert plot is not None
    place = re.search(r'class="mark" x1="([\d.]+)%"', plot["rows"][0]["plot"])
    assert place is not None
    assert float(place[1]) > 3  # at the edge it would say the wrong figure


def test_again_nothing_is_run(made: Reproduction, store: FeatureStore) -> None:
    heard = Heard()
    again = go(store, made.path, tell=heard)
    assert heard.ended == []
    assert [one.rows for one in again.results] == [one.rows for one in made.results]
    assert documents_of(again) == documents_of(made)


def test_a_further_seed_method_and_table_run_only_what_is_new(
    store: FeatureStore, tmp_path: Path
) -> None:
    few = {"methods": ["scfae"], "num_seeds": 1, "bootstrap": 5}
    runs: list[list[str]] = []
    for names, more in (
        (["table14"], {}),
        (["table14"], {"num_seeds": 2}),
        (["table14", "table4"], {"num_seeds": 2}),
        (["table14", "table4"], {"num_seeds": 2, "methods": ["scfae", "concat"]}),
    ):
        heard = Heard()
        go(store, tmp_path / "out", names, tell=heard, **few | more)
        runs.append(heard.ended)
    assert [len(one) for one in runs] == [1, 1, 0, 2]
    assert "seed=2" in runs[1][0]
    assert all("concat" in name for name in runs[3])


def test_a_changed_column_is_noticed(tmp_path: Path) -> None:
    store = paper_store(tmp_path / "store", num_samples=60)
    options = {"methods": ["scfae"], "num_seeds": 1, "bootstrap": 5}
    go(store, tmp_path / "out", ["table14"], **options)
    # A column that a run has pinned cannot be replaced; a store can be made anew in its place.
    shutil.rmtree(store.path)
    now = paper_store(tmp_path / "store", num_samples=60, seed=5)
    heard = Heard()
    found = go(now, tmp_path / "out", ["table14"], tell=heard, **options)
    assert len(heard.ended) == 1
    assert list(found.superseded) == heard.ended
    (old,) = found.superseded[heard.ended[0]]
    assert (tmp_path / "out" / "runs" / old / EVALUATION_FILE).is_file()
    write_reproduction(found)
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"the data have changed since {old}" in page


def test_a_run_that_fails_is_a_row_that_says_why_and_is_tried_again(
    store: FeatureStore, tmp_path: Path
) -> None:
    heard = Heard()
    bad = QUICK | {"lr": 1e30}
    found = go(store, tmp_path / "out", ["table14"], settings=bad, num_seeds=1, tell=heard)
    assert len(heard.failures) == 1
    row = found.results[0].rows[0]
    assert row.state == "failed"
    assert row.note == heard.failures[0]
    again = Heard()
    go(store, tmp_path / "out", ["table14"], settings=bad, num_seeds=1, tell=again)
    assert again.ended == heard.ended


def test_orders_are_the_same_cycle_and_have_their_gradients(
    store: FeatureStore, tmp_path: Path
) -> None:
    found = go(store, tmp_path / "out", ["table7"], num_seeds=1, bootstrap=0)
    rows = found.results[0].rows
    assert rows[1].figures["Avg."] == rows[2].figures["Avg."]
    assert rows[0].figures["Avg."] != rows[1].figures["Avg."]
    for row in rows:
        kept = RunFolder(row.runs["full"][0]).read("gradients.json")["modalities"]["all"]
        assert row.figures["Neg."][0].seeds.mean == kept["negative_share"]
        assert row.figures["Grad. norm"][0].seeds.mean == kept["task_norm"]


def test_without_data_a_table_is_as_printed(tmp_path: Path) -> None:
    found = reproduce(["table10"], {}, tmp_path / "out")
    write_reproduction(found)
    markdown = (tmp_path / "out" / "table10.md").read_text()
    assert "| n = 2, b = 0.5 | printed | 72.0 |" in markdown
    assert "not run: no data of mosei were given" in markdown
    assert not (tmp_path / "out" / "runs").exists()


def test_the_page_says_first_where_scfae_stands(made: Reproduction) -> None:
    page = (made.path / "report.html").read_text()
    (one,) = made.verdicts["table5"]
    table = table_of(made, "table5")
    told = standing(table, [one])
    assert (told["name"], told["by"]) == ("table5", table.table.headline)
    counts = [int(told[name]) for name in ("ahead", "behind", "within")]
    assert sum(counts) == 1
    assert told["range"] == f"{100 * one.difference:+.1f}"
    assert page.index('<a href="#table5">') < page.index('<section id="table5">')
    # What is of all tables stands once, and the protocol sentence by sentence.
    assert page.count("95 % bootstrap interval over test samples") == 1
    assert "Protocol honest. " not in page
    assert "Protocol honest. " in (made.path / "table5.md").read_text()


def test_more_resamples_evaluate_anew_and_train_nothing(
    store: FeatureStore, tmp_path: Path
) -> None:
    few = {"methods": ["scfae"], "num_seeds": 1}
    first = go(store, tmp_path, ["table14"], bootstrap=5, **few)
    (run,) = row_of(table_of(first, "table14"), "SCFAE (Full)").runs["full"]
    names = (EVALUATION_FILE, "branches.json")
    before = [RunFolder(run).read(name) for name in names]
    heard, seen = Heard(), []
    go(
        store,
        tmp_path,
        ["table14"],
        bootstrap=40,
        tell=heard,
        progress=lambda done, total, text: seen.append((done, total, text.partition(" ")[0])),
        **few,
    )
    assert heard.ended == []
    assert seen == [(0, 2, "evaluate"), (1, 2, "mask"), (0, 1, "intervals")]
    after = [RunFolder(run).read(name) for name in names]
    assert [one["bootstrap"] for one in after] == [40, 40]
    assert after != before
    go(store, tmp_path, ["table14"], bootstrap=40, progress=lambda *what: seen.append(what), **few)
    assert len(seen) == 4


def test_a_signal_ends_the_steps_after_the_runs(store: FeatureStore, tmp_path: Path) -> None:
    few = {"methods": ["scfae"], "num_seeds": 2}

    def stop(done: int, total: int, text: str) -> None:
        if text.startswith("mask"):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(SweepInterrupted):
        go(store, tmp_path, ["table14"], bootstrap=5, progress=stop, **few)
    done = sorted(path.parent.name for path in tmp_path.glob("runs/*/branches.json"))
    assert len(done) == 1
    again = go(store, tmp_path, ["table14"], bootstrap=5, **few)
    assert row_of(table_of(again, "table14"), "Shared-only").state == "measured"
    assert len(list(tmp_path.glob("runs/*/branches.json"))) == 2
