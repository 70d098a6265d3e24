"""The study on a tiny form: it goes on where it was, says what its numbers say, tunes all alike."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scfae.store.errors import ConfigError
from scfae.train.study.page import to_markdown, write_study
from scfae.train.study.questions import FORMS, QUESTIONS, SCFAE, Entrant, Form, Question
from scfae.train.study.results import Answer, read_answer
from scfae.train.study.running import Study, trials
from scfae.train.sweeps.plan import Cell

TINY = Form(
    "quick",
    num_trials=2,
    num_draws=2,
    counts={"train": 48, "val": 24, "test": 64},
    epochs=2,
    batch_size=16,
    entrants=(
        Entrant(SCFAE, "scfae", role="scfae"),
        Entrant("concat", "concat", {"hidden": 16}),
        Entrant("SCFAE, 2 layers", "scfae", {"num_layers": 2}, "variant"),
    ),
)
NAMES = ("conflict", "missing-at-test")


def asked() -> list[Question]:
    return [replace(one, widths={"quick": (13, 13, 13)}) for one in QUESTIONS if one.name in NAMES]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def answers(out: Path) -> list[Answer]:
    study = Study(out, TINY, asked())
    assert study.num_runs == 4 * 2 + 4 * 3  # variants are asked of one question alone
    return [read_answer(one) for one in study.run()]


def test_figures_are_those_of_the_runs(out: Path, answers: list[Answer]) -> None:
    conflict, missing = answers
    for name in (SCFAE, "concat"):
        figures = conflict.row(name).figures
        assert list(figures) == [
            "samples in conflict",
            "samples in agreement",
            "all test samples",
        ]
        for draw in (1, 2):
            path = conflict.question.name, "measured", str(draw)
            samples = [
                json.loads(line)
                for run in out.joinpath(*path).iterdir()
                if run.name.startswith(f"fusion={name}")
                for line in (run / "predictions.jsonl").read_text().splitlines()
            ]
            right = [one["label"] == one["prediction"] for one in samples]
            assert figures["all test samples"][draw] == pytest.approx(sum(right) / len(right))
            parts = [figures[part][draw] for part in list(figures)[:2]]
            assert min(parts) <= figures["all test samples"][draw] <= max(parts)
    by_rate = missing.row(SCFAE).figures
    for draw in (1, 2):
        rates = [by_rate[f"{percent} % missing"][draw] for percent in (30, 50, 70)]
        mean = by_rate["mean over 30, 50 and 70 % missing"][draw]
        assert mean == pytest.approx(sum(rates) / 3)
    assert [one.second for one in conflict.others] == ["concat"]
    assert [one.first for one in missing.variants] == ["SCFAE, 2 layers"]
    sizes = [missing.row(name).parameters or 0 for name in (SCFAE, "SCFAE, 2 layers")]
    assert 0 < sizes[0] < sizes[1]


def test_every_method_tries_the_same_settings() -> None:
    tried = [
        [{k: one[k] for k in ("lr", "weight_decay", "masking")} for one in trials(entrant, form)]
        for form in FORMS.values()
        for entrant in form.entrants
    ]
    quick, full = (len(FORMS[name].entrants) for name in ("quick", "full"))
    assert all(one == tried[0] for one in tried[:quick])
    assert all(one == tried[quick] for one in tried[quick:])
    assert len(tried) == quick + full
    assert {one["masking"] for one in tried[0]} == {"none", "subsets"}


def test_draws_are_other_data_than_those_of_tuning(out: Path) -> None:
    columns = [
        json.loads(
            (out / "conflict" / f"draw-{draw}" / "columns" / "a" / "column.json").read_text()
        )
        for draw in (0, 1, 2)
    ]
    assert len({one["fingerprint"] for one in columns}) == 3


def test_it_is_written_in_four_forms(out: Path, answers: list[Answer]) -> None:
    page = write_study(out, TINY, answers).read_text()
    assert "<script" not in page
    assert "Does SCFAE help when modalities conflict?" in page
    markdown = (out / "study.md").read_text()
    assert markdown == to_markdown(TINY, answers)
    assert "| SCFAE, 2 layers |" in markdown.partition("## Missing at test")[2]
    lines = list(csv.DictReader(io.StringIO((out / "study.csv").read_text())))
    assert len(lines) == 2 * 3 + 3 * 5
    ours = {one["method"]: one for one in lines if one["condition"] == "samples in conflict"}
    difference = float(ours["scfae"]["mean"]) - float(ours["concat"]["mean"])
    assert float(ours["concat"]["scfae_minus_it"]) == pytest.approx(difference)
    document = json.loads((out / "study.json").read_text())
    assert [one["name"] for one in document["questions"]] == list(NAMES)


def test_what_is_done_is_not_done_again(out: Path, answers: list[Answer]) -> None:
    heard: list[str] = []

    def tell(cell: Cell, failure: str | None) -> None:
        heard.append(cell.name)

    again = [read_answer(one) for one in Study(out, TINY, asked(), tell=tell).run()]
    assert not heard
    assert again == answers


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"jobs": 0}, "jobs must be at least 1, not 0"),
        ({"jobs": -1}, "jobs must be at least 1, not -1"),
        ({"device": "abacus"}, "device = 'abacus': this machine has no such device"),
    ],
)
def test_what_cannot_run_is_refused_before_there_is_a_folder(
    tmp_path: Path, how: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        Study(tmp_path / "out", TINY, asked(), **how)
    assert not (tmp_path / "out").exists()


def test_another_form_is_refused(out: Path, answers: list[Answer]) -> None:
    with pytest.raises(ConfigError, match="holds the study as quick, with other numbers"):
        Study(out, replace(TINY, epochs=3), asked())
