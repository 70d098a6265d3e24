"""Figure 4 on a miniature: its runs, what it says of each method, and its files."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from scfae.store import FeatureStore
from scfae.train.analysis.reading import KeptProjection
from scfae.train.gradient_log import read_lines
from scfae.train.reproduce.figure4 import FigureTable, plan_figure
from scfae.train.reproduce.figure4_numbers import Line, conclusion, row_of
from scfae.train.reproduce.page import documents_of, write_reproduction
from scfae.train.reproduce.plan import Planner, all_cells, superseded
from scfae.train.reproduce.protocols import PROTOCOLS
from scfae.train.reproduce.running import Reproduction, reproduce
from scfae.train.reproduce.tables import FULL, datasets_of, read_published

from .small_data import QUICK, paper_store, parts_of

METHODS = ("scfae", "concat", "layer_coupled")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return paper_store(tmp_path_factory.mktemp("paper") / "store")


def go(store: FeatureStore, out: Path) -> Reproduction:
    found = reproduce(
        ("fig4",),
        parts_of(store),
        out,
        num_seeds=1,
        methods=METHODS,
        settings=QUICK | {"gradients_every": 2},
        bootstrap=10,
    )
    write_reproduction(found)
    return found


@pytest.fixture(scope="module")
def made(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> Reproduction:
    return go(store, tmp_path_factory.mktemp("figure") / "out")


def figure_of(found: Reproduction) -> FigureTable:
    (table,) = found.tables
    assert isinstance(table, FigureTable)
    return table


def test_panels_hold_what_their_runs_sampled(made: Reproduction) -> None:
    assert not made.failed
    figure = figure_of(made)
    cosines = {one.name: one for one in figure.cosines}
    (lines,) = cosines["SCFAE"].lines
    runs = [path for path in (made.path / "runs").iterdir() if "fakeavceleb,scfae," in path.name]
    assert list(lines) == read_lines(runs[0])
    assert len(cosines["SCFAE"].cosines) == len(lines) == 4  # of eight steps
    assert cosines["Concat"].lines
    assert not cosines["Concat"].cosines
    assert cosines["Contrastive"].note == "not run: its method was not asked for"
    assert [one.name for one in figure.norms if one.lines] == ["SCFAE", "Concat", "Coupled fusion"]
    assert isinstance(figure.parts["SCFAE"], KeptProjection)
    assert figure.parts["Concat"] == "concat has no shared and specific parts"


def test_files_and_page(made: Reproduction) -> None:
    for name in ("fig4.png", "fig4.pdf", "fig4.md", "fig4.tex", "fig4.csv"):
        assert (made.path / name).stat().st_size > 200
    document = json.loads((made.path / "fig4.json").read_text())
    rows = {row["name"]: row["ours"] for row in document["rows"]}
    assert rows["SCFAE"]["cosine"]["n"] == 1
    assert rows["Concat"]["cosine"]["mean"] is None
    assert rows["Coupled fusion"]["norm_first"]["mean"] > 0
    with (made.path / "fig4-gradients.csv").open() as file:
        found = list(csv.DictReader(file))
    assert {(row["panel"], row["method"]) for row in found} == {
        ("A", "SCFAE"),
        ("A", "Concat"),
        ("B", "SCFAE"),
        ("B", "Concat"),
        ("B", "Coupled fusion"),
    }
    with (made.path / "fig4-parts.csv").open() as file:
        assert {row["part"] for row in csv.DictReader(file)} == {"specific", "shared"}
    page = (made.path / "report.html").read_text()
    assert "Figure 4: " in page
    assert "Concat: no auxiliary loss, so no cosine" in page
    assert page.count('class="parts"') == 1
    assert "Figure 4: " in (made.path / "fig4.md").read_text()


def test_again_nothing_is_run_and_the_figure_is_the_same(
    store: FeatureStore, made: Reproduction
) -> None:
    runs = made.path / "runs"
    before = {path: path.stat().st_mtime_ns for path in runs.glob("*/checkpoints/*.pt")}
    parts = {path: path.stat().st_mtime_ns for path in runs.glob("*/analysis/*")}
    again = go(store, made.path)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {path: path.stat().st_mtime_ns for path in parts} == parts
    assert documents_of(again) == documents_of(made)


def test_runs_are_sampled_about_as_often_whatever_their_length(
    store: FeatureStore, tmp_path: Path
) -> None:
    every = []
    for epochs in (2, 100):
        planner = Planner(
            tmp_path, PROTOCOLS["honest"], num_seeds=1, overrides={**QUICK, "epochs": epochs}
        )
        planned = plan_figure(planner, parts_of(store))
        every.append(planned.cosines.rows[0].cells[FULL][0].config.loop.gradients_every)
    assert every == [1, 10]  # of 8 and of 400 steps


def test_a_run_that_is_asked_for_too_is_no_earlier_one(store: FeatureStore, tmp_path: Path) -> None:
    planner = Planner(tmp_path, PROTOCOLS["honest"], num_seeds=1, overrides=QUICK)
    cell = all_cells(plan_figure(planner, parts_of(store)).tables)[0]
    twin = replace(cell, name="twin")
    there = {tmp_path / one.name: one.config for one in (cell, twin)}
    assert superseded([cell, twin], there) == {}
    assert superseded([cell], there) == {cell.name: ["twin"]}


def test_figures_by_hand() -> None:
    """Two seeds of cosines 0.2, 0.4 and -0.1, 0.1: means 0.3 and 0, half and none below 0."""

    shared = [(0.5, None), (0.7, None)]
    row = row_of("SCFAE", lines((0.2, 0.4), (-0.1, 0.1)), lines((0.0, 0.0), (0.0, 0.0)), shared)
    assert row.values["cosine"]["mean"] == pytest.approx(0.15)
    assert row.values["cosine"]["n"] == 2
    assert row.values["negative_share"]["mean"] == pytest.approx(0.25)
    assert row.values["norm_ratio"]["mean"] == pytest.approx(0.5)
    assert row.values["cka_shared"]["mean"] == pytest.approx(0.6)
    # Student's t of two values reaches 12.706 times half of what lies between them, but no CKA is
    # below 0 or above 1, and no cosine beyond 1.
    assert row.values["cka_shared"]["ci95"] == [0.0, 1.0]
    assert row.ours[0] == "0.150 ± 0.212 [-1.000, 1.000]"
    narrow = row_of("SCFAE", lines((0.2,), (0.21,)), (), ())
    assert narrow.values["cosine"]["ci95"] == pytest.approx(
        [0.205 - 0.06353, 0.205 + 0.06353], abs=1e-5
    )
    none = {"mean": None, "sd": None, "n": 0, "ci95": None, "each": [None, None]}
    assert row.values["cka_own"] == none
    assert row.ours[-1] == "\N{EN DASH}"


def test_what_is_beyond_noise_is_told_by_seeds() -> None:
    """Of three seeds each, SCFAE's cosines are 0.2 higher than one's, and as another's."""
    rows = {
        name: row_of(name, lines(*((value,) for value in cosines)), (), ()).values
        for name, cosines in {
            "SCFAE": (0.30, 0.31, 0.33),
            "MISA-style": (0.10, 0.12, 0.12),
            "Contrastive": (0.20, 0.31, 0.43),
            "Concat": (),
        }.items()
    }
    assert conclusion(rows) == (
        "By A, the mean cosine of task and auxiliary gradient, SCFAE is above MISA-style (+0.200, "
        "+0.175 to +0.225); not to be told from Contrastive (+0.000, -0.248 to +0.248). "
        "Differences are paired by seed, with their 95 % intervals."
    )
    assert conclusion({"SCFAE": rows["SCFAE"], "Concat": rows["Concat"]}) == ""


def lines(*seeds: tuple[float, ...]) -> list[list[Line]]:
    return [
        [
            {"step": i, "modalities": {"all": {"cosine": cosine, "task_norm": 2.0**-i}}}
            for i, cosine in enumerate(some)
        ]
        for some in seeds
    ]


def test_the_figure_is_of_two_sets_and_names_methods_that_there_are() -> None:
    assert datasets_of("fig4") == tuple(one["dataset"] for one in read_published("fig4")["panels"])
    assert datasets_of("table12") == ()
