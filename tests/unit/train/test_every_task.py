"""Every task, from config to report: it learns, is measured beside its baseline, resumes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfae.store import FeatureStore, SampleRow
from scfae.train.evaluated import Evaluation
from scfae.train.evaluation import evaluate
from scfae.train.loading import load_run
from scfae.train.loop import train
from scfae.train.report import write_report
from scfae.train.runs import RunFolder
from scfae.train.tasks import LOWER_IS_BETTER, TASKS

from .small_runs import (
    BOOTSTRAP,
    TASK_SETTINGS,
    PowerCut,
    assert_equal,
    assert_same_run,
    epochs,
    failing_at,
    make_config,
    task_store,
    train_small,
    weights,
)

Trained = dict[str, tuple[RunFolder, Evaluation]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return task_store(tmp_path_factory.mktemp("tasks") / "store")


@pytest.fixture(scope="module")
def trained(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run of each task and its evaluation."""
    folder = tmp_path_factory.mktemp("runs")
    found = {}
    for task, settings in TASK_SETTINGS.items():
        more = {"task": task, "masking": "bernoulli:0.3", "epochs": 8, **settings}
        run = train_small(store.path, folder / task, **more)
        found[task] = (run, evaluate(run.path, bootstrap=BOOTSTRAP))
    return found


def test_each_task_is_tested_here() -> None:
    assert set(TASK_SETTINGS) == set(TASKS)


@pytest.mark.parametrize("task", TASK_SETTINGS)
def test_a_task_learns_more_than_its_baseline(trained: Trained, task: str) -> None:
    run, evaluation = trained[task]
    metric = evaluation.task.headline
    for condition in evaluation.conditions:
        value, base = condition.metrics[metric], condition.measured.baseline[metric]
        assert value is not None
        assert value > (0.0 if base is None else base) + 0.15, condition.name
        low, high = condition.intervals[metric] or (1.0, 0.0)
        assert low <= high
    select = evaluation.task.selection
    event = max(
        epochs(run),
        key=lambda e: (-1 if select in LOWER_IS_BETTER else 1) * e["val"][select],
    )
    assert weights(run, "best.pt")["best"]["value"] == event["val"][select]


@pytest.mark.parametrize("task", TASK_SETTINGS)
def test_the_document_and_the_report_hold_every_figure(trained: Trained, task: str) -> None:
    run, evaluation = trained[task]
    document = json.loads(json.dumps(evaluation.as_dict(), allow_nan=False))
    assert run.read("evaluation.json") == document
    assert document["task"] == task
    for name, condition in document["conditions"].items():
        for metric in evaluation.task.metric_names:
            assert metric in condition, name
            assert f"{metric}_ci95" in condition
    page = write_report(run.path).read_text()
    for name in document["conditions"]:
        assert f'<th scope="row">{name.replace(">", "&gt;")}</th>' in page
    assert evaluation.headline()[0].split(":")[0].split(",")[0].replace(">", "&gt;") in page
    assert document["majority_name"] in page or task in ("classification", "binary", "deepfake")


@pytest.mark.parametrize(
    "task",
    [
        "deepfake",
        pytest.param("retrieval", marks=pytest.mark.slow),
        pytest.param("regression", marks=pytest.mark.slow),
        pytest.param("multilabel", marks=pytest.mark.slow),
    ],
)
def test_a_stop_leaves_no_trace_and_test_labels_choose_nothing(
    store: FeatureStore, tmp_path: Path, task: str
) -> None:
    settings = {"task": task, "epochs": 2, "checkpoint_every_steps": 2, **TASK_SETTINGS[task]}
    whole = train_small(store.path, tmp_path / "whole", **settings)
    config = make_config(store.path, tmp_path / "cut", **settings)
    with pytest.raises(PowerCut):
        train(config, progress=failing_at(3, PowerCut()))
    assert_same_run(train(config), whole)

    shuffled = task_store(tmp_path / "store")
    samples, names = shuffled.samples, shuffled.samples.label_names
    tested = [i for i, split in enumerate(samples.split) if split == "test"]
    moved = dict(zip(tested, np.roll(tested, 7), strict=True))
    labels = {name: samples.label(name) for name in names}
    shuffled.update_labels(
        [
            SampleRow(id=str(samples.ids[i]), split="test", labels={n: labels[n][j] for n in names})
            for i, j in moved.items()
        ]
    )
    other = train_small(shuffled.path, tmp_path / "other", **settings)
    assert weights(other, "best.pt")["best"] == weights(whole, "best.pt")["best"]
    assert_equal(weights(other)["model"], weights(whole)["model"])
    assert_equal(epochs(other), epochs(whole))
    mine = evaluate(other.path, bootstrap=0).as_dict()["conditions"]
    assert mine != evaluate(whole.path, bootstrap=0).as_dict()["conditions"]


def test_a_modality_is_asked_for_its_own_fake_and_all_for_any(
    store: FeatureStore, trained: Trained
) -> None:
    evaluation = trained["deepfake"][1]
    by_name = {condition.name: condition for condition in evaluation.conditions}
    view = store.view("test", ["fake", "fake_video", "fake_audio"], video="video", audio="audio")
    for name, label, place in (("video", "fake_video", 0), ("audio", "fake_audio", 1)):
        rows = view.available[:, place]
        confusion = by_name[name].measured.confusion
        assert confusion is not None
        wanted = np.bincount(view.label(label).values[rows], minlength=2)
        assert [sum(row) for row in confusion] == wanted.tolist()
    both = view.available.all(axis=1)
    truth = np.where(
        both,
        view.label("fake").values,
        np.where(
            view.available[:, 0], view.label("fake_video").values, view.label("fake_audio").values
        ),
    )
    full = by_name["video+audio"].measured.confusion
    assert full is not None
    assert [sum(row) for row in full] == np.bincount(truth, minlength=2).tolist()
    # Of each modality half are fake, of the whole three quarters: the baselines differ too.
    always = {name: c.measured.baseline["accuracy"] or 0.0 for name, c in by_name.items()}
    assert always["video+audio"] > 0.6 > always["video"] > 0.0


def test_the_overall_label_can_be_asked_of_every_set(store: FeatureStore, tmp_path: Path) -> None:
    settings = TASK_SETTINGS["deepfake"] | {"task_options": {"unimodal_label": "overall"}}
    run = train_small(store.path, tmp_path / "run", task="deepfake", epochs=1, **settings)
    view = store.view("test", ["fake"], video="video", audio="audio")
    rows = view.available[:, 0]
    confusion = evaluate(run.path, bootstrap=0).conditions[0].measured.confusion
    assert confusion is not None
    wanted = np.bincount(view.label("fake").values[rows], minlength=2)
    assert [sum(row) for row in confusion] == wanted.tolist()


def test_averages_are_named_by_how_many_conditions_they_hold(trained: Trained) -> None:
    evaluation = trained["classification"][1]
    document = evaluation.as_dict()
    assert list(document["averages"]) == ["avg2", "avg3"]
    each = [c["accuracy"] for c in document["conditions"].values()]
    assert document["averages"]["avg2"]["accuracy"] == pytest.approx(np.mean(each[:-1]))
    assert document["averages"]["avg3"]["accuracy"] == pytest.approx(np.mean(each))
    assert document["averages"]["avg3"] == document["mean_of_conditions"]


def test_predictions_are_kept_in_the_stores_words(trained: Trained) -> None:
    def first(task: str) -> dict[str, Any]:
        lines = (trained[task][0].path / "predictions.jsonl").read_text().splitlines()
        found: dict[str, Any] = json.loads(lines[0])
        return found

    assert first("classification")["label"] in ("no", "so", "yes")
    assert isinstance(first("regression")["prediction"], float)
    assert set(first("multilabel")["label"]) == {"fake_video", "fake_audio"}
    assert not (trained["retrieval"][0].path / "predictions.jsonl").exists()


@pytest.mark.parametrize("task", TASK_SETTINGS)
def test_a_task_comes_back_from_its_run(trained: Trained, task: str) -> None:
    run, evaluation = trained[task]
    assert load_run(run.path).task == evaluation.task
    assert load_run(run.path).task.as_dict() == run.read("task.json")
