"""The study on a store of one's own: what is varied, what stays, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scfae.cli.study import run as command
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError, StoreError, TaskError
from scfae.train.runs import RunFolder
from scfae.train.study.given import Given, GivenData, given_of
from scfae.train.study.given_questions import given_questions
from scfae.train.study.page import to_markdown, write_study
from scfae.train.study.results import Answer, read_answer
from scfae.train.study.running import Study
from scfae.train.tasks import load_task

from ..small_runs import small_store, task_store
from .test_study import TINY

COLUMNS = {"video": "video", "audio": "audio"}
ASKED = ("conflict", "missing-in-training")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return small_store(tmp_path_factory.mktemp("given") / "store")


@pytest.fixture(scope="module")
def data(store: FeatureStore) -> GivenData:
    return GivenData(given_of(store.path, "digit", {}), TINY)


def test_a_conflict_is_one_modality_of_another_sample_of_another_class(data: GivenData) -> None:
    plain, mixed = data.plain(1, 0, ()), data.conflicting(1, 0, ())
    marked = mixed.marks["conflict"].bool()
    changed = {m: (plain.features[m] != mixed.features[m]).any(dim=(1, 2)) for m in plain.features}
    together = torch.stack(list(changed.values())).sum(dim=0)
    assert torch.equal(together == 1, marked)
    assert not (together > 1).any()
    both = torch.stack(list(plain.present.values())).all(dim=0)
    assert not (marked & ~both).any()  # one modality alone cannot conflict with itself
    assert 0.3 < float(marked[both].float().mean()) < 0.7
    starts = np.cumsum([0, *data.counts.values()])
    for name, rows in changed.items():
        for row in rows.nonzero()[:, 0].tolist():
            like = (plain.features[name] == mixed.features[name][row]).all(dim=2)[:, 0]
            donors = like.nonzero()[:, 0].tolist()
            (role,) = {int(np.searchsorted(starts, donor, "right")) for donor in donors}
            assert role == int(np.searchsorted(starts, row, "right"))  # no test sample in training
            assert all(plain.labels[donor] != plain.labels[row] for donor in donors)


def test_draws_share_what_is_learned_from_and_test_on_parts_of_their_own(data: GivenData) -> None:
    first, second = data.plain(1, 0, ()), data.plain(2, 0, ())
    learned = data.counts["train"] + data.counts["val"]
    for name in first.features:
        one, other = (views.features[name] for views in (first, second))
        assert torch.equal(one[:learned], other[:learned])
        there = first.present[name][learned:]
        known = one[learned:][there]
        assert not (known[:, None] == other[None, learned:]).all(dim=(2, 3)).any()


def test_unequal_widths_change_no_distance(data: GivenData) -> None:
    widths = data.widths_for(6)
    assert widths == (6, 24)
    views, again = data.widened(1, 0, widths), data.widened(2, 0, widths)
    learned = slice(0, data.counts["train"])
    for name, width in zip(views.features, widths, strict=True):
        there = views.present[name][learned]
        one, other = (v.features[name][learned, 0][there] for v in (views, again))
        assert one.shape[1] == width
        apart = [(x[:, None] - x[None]).norm(dim=2) for x in (one, other)]
        torch.testing.assert_close(*apart, rtol=1e-4, atol=1e-4)
        assert torch.linalg.matrix_rank(one) == 6


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study-given")


@pytest.fixture(scope="module")
def answers(out: Path, data: GivenData) -> list[Answer]:
    asked = [one for one in given_questions(data, TINY) if one.name in ASKED]
    return [read_answer(one) for one in Study(out, TINY, asked, data=data, jobs=2).run()]


def test_it_is_answered_like_a_question_on_generated_data(
    out: Path, data: GivenData, answers: list[Answer]
) -> None:
    conflict, missing = answers
    figures = conflict.row("scfae").figures
    assert list(figures) == ["samples in conflict", "samples in agreement", "all test samples"]
    assert set(figures["all test samples"]) == {1, 2}
    assert [one.second for one in missing.others] == ["concat"]
    assert "mean over 20, 35 and 50 % missing" in missing.row("concat").figures
    runs = list((out / "conflict" / "measured" / "1").glob("fusion=scfae*"))
    assert RunFolder(runs[0]).read("splits.json")["sizes"] == data.counts
    assert load_task(RunFolder(runs[0]).read("task.json")).num_outputs == 3
    lacks = FeatureStore.open(out / "missing-in-training" / "draw-1").view(
        "train", where={}, **COLUMNS
    )
    shares = 1 - lacks.available.mean(axis=0)
    assert shares == pytest.approx(0.5, abs=0.05)

    write_study(out, TINY, answers, data)
    told = to_markdown(TINY, answers, data)
    assert (
        "- data: store: audio = audio (7 features), video = video (12 features); 'digit', 3" in told
    )
    assert "near 1.10, that of guessing among 3 classes" in told
    assert "that serves nothing else" not in told
    document = json.loads((out / "study.json").read_text())
    assert document["data"]["label"] == "digit"
    assert document["questions"][0]["widths"] == list(data.dims.values())
    assert "beyond the paper, quick form, on store" in (out / "report.html").read_text()


def test_other_data_are_refused(
    store: FeatureStore, out: Path, answers: list[Answer], data: GivenData
) -> None:
    assert answers
    other = GivenData(given_of(store.path, "fake", {}), TINY)
    with pytest.raises(ConfigError, match="holds the study of other data"):
        Study(out, TINY, given_questions(other, TINY), data=other)
    with pytest.raises(ConfigError, match="holds the study of other data"):
        Study(out, TINY, [])


def test_what_cannot_be_asked_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    path = store.path
    with pytest.raises(StoreError, match="nowhere"):
        given_of(path, "nowhere", {})
    with pytest.raises(StoreError, match="nothing"):
        given_of(path, "digit", {"video": "nothing", "audio": "audio"})
    with pytest.raises(ConfigError, match="it was given video alone: it needs two modalities"):
        given_of(path, "digit", {"video": "video"})
    with pytest.raises(StoreError):
        given_of(tmp_path / "none", "digit", {})
    with pytest.raises(TaskError, match=r"has 70 samples, and 8 draws need 80: each tests on"):
        GivenData(given_of(path, "digit", {}), replace(TINY, num_draws=8))
    moods = task_store(tmp_path / "moods")
    with pytest.raises(TaskError, match="'mood' is continuous"):
        GivenData(Given(str(moods.path), COLUMNS, "mood"), TINY)
    out = ["--quick", "--out", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match=r"data: missing\. --columns and --label are of a store"):
        command([*out, "--label", "digit"])
    with pytest.raises(ConfigError, match=r"label: missing\. It is: the label column of --data"):
        command([*out, "--data", str(path)])
    asked = ["--data", str(path), "--label", "digit", "--questions", "shared"]
    with pytest.raises(ConfigError, match="there is no shared of a store"):
        command([*out, *asked])
    assert not (tmp_path / "out").exists()
