"""Every set of present modalities is measured, by scikit-learn's definitions, on what is there."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score

from scfae.store import ColumnInfo, FeatureStore, SampleRow
from scfae.store.errors import (
    CheckpointError,
    ConfigError,
    RunNotFound,
    SchemaMismatch,
    TaskError,
    UnknownColumn,
)
from scfae.store.testing import make_store
from scfae.store.writer import ShardSample
from scfae.train.evaluated import Evaluation
from scfae.train.evaluation import evaluate
from scfae.train.loading import load_run
from scfae.train.loop import train
from scfae.train.metrics import METRICS
from scfae.train.runs import RunFolder
from scfae.train.tasks import subsets

from .small_runs import make_config, train_small

COLUMNS = {"video": "video", "audio": "audio", "image": "image"}
SPLITS = (("train", 0.5), ("val", 0.15), ("test", 0.35))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Three modalities, two columns to swap in, and fewer of one class than of the others."""
    store = make_store(
        tmp_path_factory.mktemp("evaluated") / "store",
        num_samples=240,
        dims={"video": 12, "audio": 7, "image": 9, "other": 12, "narrow": 5},
        labels={"digit": 3},
        missing=0.3,
        shard_size=64,
        splits=SPLITS,
    )
    view = store.view(None, ["digit"], video="video")
    rows = [
        SampleRow(
            id=str(name),
            split=store.samples.split[index],
            labels={"digit": 2 if i % 3 == 0 else int(str(store.samples.label("digit")[index]))},
        )
        for i, (name, index) in enumerate(zip(view.ids, view.indices, strict=True))
    ]
    store.update_labels(rows)
    _add_clear_column(store)
    return FeatureStore.open(store.path)


def _add_clear_column(store: FeatureStore) -> None:
    """Add `clear`, which is not noise by its own account: a column of published weights."""
    info = ColumnInfo.create("clear", "video", encoder="synthetic", dim=12, weights="published")
    digits = store.samples.label("digit")
    with store.add_column(info) as writer:
        for shard in range(store.samples.num_shards):
            samples = [
                ShardSample(
                    rows=np.eye(12, dtype=np.float32)[[int(digits[index])]],
                    times=np.array([[0.0, 1.0]]),
                )
                for index in store.samples.rows_of(shard)
            ]
            writer.commit(shard, samples)


@pytest.fixture(scope="module")
def run(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train_small(
        store.path,
        tmp_path_factory.mktemp("runs") / "three",
        columns=COLUMNS,
        epochs=6,
        masking="bernoulli:0.3",
        fusion="concat",
        options={"hidden": 32},
    )


@pytest.fixture(scope="module")
def evaluation(run: RunFolder) -> Evaluation:
    return evaluate(run.path, bootstrap=200)


@pytest.fixture(scope="module")
def document(evaluation: Evaluation) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(json.dumps(evaluation.as_dict(), allow_nan=False))
    return loaded


def test_every_subset_is_there_in_the_runs_order(document: dict[str, Any]) -> None:
    assert list(document["conditions"]) == [
        "video",
        "audio",
        "image",
        "video+audio",
        "video+image",
        "audio+image",
        "video+audio+image",
    ]
    assert list(document["columns"]) == ["video", "audio", "image"]


def test_a_sample_without_any_of_the_shown_is_left_out(
    store: FeatureStore, document: dict[str, Any]
) -> None:
    view = store.view("test", video="video", audio="audio", image="image")
    there = view.available[view.available.any(axis=1)]
    assert document["n"] == len(there)
    for name, condition in document["conditions"].items():
        places = [list(COLUMNS).index(modality) for modality in name.split("+")]
        scored = int(there[:, places].any(axis=1).sum())
        assert condition["n"] == scored
        assert condition["excluded"] == len(there) - scored
        assert int(np.sum(document["confusion"][name])) == scored
    assert document["conditions"]["audio"]["excluded"] > 0
    assert document["conditions"]["video+audio+image"]["excluded"] == 0


def test_metrics_are_scikit_learns_on_the_kept_predictions(
    run: RunFolder, evaluation: Evaluation
) -> None:
    lines = [json.loads(line) for line in (run.path / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == evaluation.n
    classes = list(evaluation.classes)
    truth = [classes.index(line["label"]) for line in lines]
    guess = [classes.index(line["prediction"]) for line in lines]
    scores = np.array([[line["probabilities"][str(c)] for c in classes] for line in lines])
    assert guess == scores.argmax(axis=1).tolist()
    full = evaluation.conditions[-1].metrics
    expected = {
        "accuracy": accuracy_score(truth, guess),
        "balanced_accuracy": balanced_accuracy_score(truth, guess),
        "macro_f1": f1_score(truth, guess, average="macro"),
        "weighted_f1": f1_score(truth, guess, average="weighted"),
        "roc_auc": roc_auc_score(
            truth, scores / scores.sum(axis=1, keepdims=True), multi_class="ovr", average="macro"
        ),
    }
    assert full == pytest.approx(expected, abs=1e-4)  # probabilities are kept to six places


def test_a_condition_is_what_the_model_says_of_those_modalities_alone(
    store: FeatureStore, run: RunFolder, evaluation: Evaluation
) -> None:
    loaded = load_run(run.path)
    view = store.view("test", ["digit"], video="video", audio="audio", image="image")
    hits = scored = 0
    for i in range(len(view)):
        sample = view[i]
        shown = {m: rows for m, rows in sample.features.items() if m != "video" and len(rows)}
        if not shown:
            continue
        features = {
            m: torch.tensor(shown[m] if m in shown else np.zeros((1, dim), np.float32))[None]
            for m, dim in view.dims.items()
        }
        present = torch.tensor([[m in shown for m in view.modalities]])
        with torch.no_grad():
            answer = loaded.model(features, present).logits.argmax().item()
        hits += loaded.task.classes[answer] == sample.labels["digit"]
        scored += 1
    condition = next(c for c in evaluation.conditions if c.name == "audio+image")
    assert condition.n == scored
    assert condition.metrics["accuracy"] == pytest.approx(hits / scored)


def test_it_learned_and_intervals_hold_the_values(evaluation: Evaluation) -> None:
    majority = evaluation.majority["accuracy"]
    assert majority is not None
    for condition in evaluation.conditions:
        for metric in METRICS:
            value, interval = condition.metrics[metric], condition.intervals[metric]
            assert value is not None
            assert interval is not None
            low, high = interval
            assert 0.0 <= low <= value <= high <= 1.0
        accuracy = condition.metrics["accuracy"]
        assert accuracy is not None
        assert accuracy > majority


def test_the_baseline_is_the_training_splits_majority(
    store: FeatureStore, evaluation: Evaluation, document: dict[str, Any]
) -> None:
    def digits(split: str) -> list[int]:
        view = store.view(split, ["digit"], video="video", audio="audio", image="image")
        usable = view.available.any(axis=1)
        return [int(d) for d in view.label("digit").values[usable]]

    train, test = digits("train"), digits("test")
    majority = max(sorted(set(train)), key=train.count)
    assert evaluation.majority_class == majority == 2
    assert document["majority"]["accuracy"] == pytest.approx(test.count(majority) / len(test))
    assert document["majority"]["balanced_accuracy"] == pytest.approx(1 / 3)
    assert document["majority"]["roc_auc"] == 0.5
    assert document["majority"]["n"] == len(test)


def test_the_document_has_the_interfaces_shape(document: dict[str, Any], run: RunFolder) -> None:
    for condition in document["conditions"].values():
        for metric in METRICS:
            assert 0.0 <= condition[metric] <= 1.0
            assert len(condition[f"{metric}_ci95"]) == 2
        assert isinstance(condition["n"], int)
    assert 0.0 <= document["majority"]["accuracy"] <= 1.0
    assert run.read("evaluation.json") == document
    means = [c["accuracy"] for c in document["conditions"].values()]
    assert document["mean_of_conditions"]["accuracy"] == pytest.approx(sum(means) / len(means))


def test_the_text_names_every_condition_and_the_noise(evaluation: Evaluation) -> None:
    text = evaluation.text()
    for condition in evaluation.conditions:
        assert f"\n{condition.name} " in text
    assert "\nalways the majority" in text
    for name in COLUMNS:
        assert f"noise: {name} has random weights" in text


def test_noise_is_marked_and_only_noise(run: RunFolder, evaluation: Evaluation) -> None:
    assert evaluation.is_random == ("video", "audio", "image")
    swapped = evaluate(run.path, columns={"video": "clear"}, bootstrap=0)
    assert swapped.is_random == ("audio", "image")


def test_evaluating_again_gives_the_same(run: RunFolder, evaluation: Evaluation) -> None:
    kept = (run.path / "evaluation.json").read_bytes()
    assert evaluate(run.path, bootstrap=200).as_dict() == evaluation.as_dict()
    assert (run.path / "evaluation.json").read_bytes() == kept


def test_a_swapped_column_is_measured_and_not_kept(run: RunFolder, evaluation: Evaluation) -> None:
    kept = (run.path / "evaluation.json").read_bytes()
    predictions = (run.path / "predictions.jsonl").read_bytes()
    swapped = evaluate(run.path, columns={"video": "other"}, bootstrap=0)
    assert swapped.swapped == ("video",)
    assert swapped.columns == {"video": "other", "audio": "audio", "image": "image"}
    assert any("swapped without training again: video" in note for note in swapped.notes)
    own = {c.name: c.metrics for c in evaluation.conditions}
    now = {c.name: c.metrics for c in swapped.conditions}
    assert now["audio"] == own["audio"]
    assert now["video"]["accuracy"] != own["video"]["accuracy"]
    assert (run.path / "evaluation.json").read_bytes() == kept
    assert (run.path / "predictions.jsonl").read_bytes() == predictions
    # The run's own column by name is no swap.
    assert evaluate(run.path, columns={"video": "video"}, bootstrap=200).swapped == ()


def test_what_cannot_be_swapped_in_is_named(run: RunFolder) -> None:
    with pytest.raises(SchemaMismatch, match=r"video=narrow has 5 features a row, but .* on 12"):
        evaluate(run.path, columns={"video": "narrow"})
    with pytest.raises(ConfigError, match="no modality 'smell'; it has video, audio, image"):
        evaluate(run.path, columns={"smell": "other"})
    with pytest.raises(UnknownColumn, match="vidoe"):
        evaluate(run.path, columns={"video": "vidoe"})


def test_other_splits_are_measured_by_name_and_not_kept(run: RunFolder) -> None:
    kept = (run.path / "evaluation.json").read_bytes()
    train = evaluate(run.path, split="train", bootstrap=0)
    assert train.split == "train"
    assert train.n == run.read("splits.json")["sizes"]["train"]
    assert train.conditions[-1].intervals["accuracy"] is None
    assert (run.path / "evaluation.json").read_bytes() == kept
    with pytest.raises(ConfigError, match="no split 'exam'; it has train, val, test"):
        evaluate(run.path, split="exam")
    with pytest.raises(ConfigError, match="bootstrap must be at least 0"):
        evaluate(run.path, bootstrap=-1)


def test_what_is_not_there_yet_is_said(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match="no run"):
        evaluate(tmp_path / "nothing")

    class Stop(Exception):
        pass

    def stop(done: int, total: int, text: str) -> None:
        raise Stop

    with pytest.raises(Stop):
        train(make_config(store.path, tmp_path / "run"), progress=stop)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        evaluate(tmp_path / "run")


def test_a_store_without_test_samples_has_nothing_to_evaluate(tmp_path: Path) -> None:
    store = make_store(
        tmp_path / "store",
        num_samples=60,
        labels={"digit": 2},
        splits=(("train", 0.8), ("val", 0.2)),
    )
    run = train_small(store.path, tmp_path / "run", epochs=1)
    with pytest.raises(TaskError, match="the test split is empty"):
        evaluate(run.path)
    assert evaluate(run.path, split="val", bootstrap=0).n == 12


def test_samples_that_came_later_are_noted(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", num_samples=60, labels={"digit": 2}, splits=SPLITS)
    run = train_small(store.path, tmp_path / "run", epochs=1)
    sample = store.view("test", ["digit"], video="video")[0]
    store.update_labels([SampleRow(id=sample.id, split="train", labels=dict(sample.labels))])
    notes = evaluate(run.path, bootstrap=0).notes
    assert any("the test split has other samples than when the run was trained" in n for n in notes)


def test_a_modality_that_no_test_sample_has_is_undefined_not_wrong(tmp_path: Path) -> None:
    store = make_store(
        tmp_path / "store", num_samples=80, labels={"digit": 2}, splits=SPLITS, max_rows=2
    )
    tested = set(store.view("test", video="video").ids.tolist())
    info = ColumnInfo.create("rare", "image", encoder="synthetic", dim=4, weights="published")
    with store.add_column(info) as writer:
        for shard in range(store.samples.num_shards):
            samples = [
                ShardSample(status="missing", reason="no image")
                if store.samples.ids[index] in tested
                else ShardSample(rows=np.ones((1, 4), np.float32), times=np.array([[0.0, 1.0]]))
                for index in store.samples.rows_of(shard)
            ]
            writer.commit(shard, samples)
    run = train_small(
        store.path, tmp_path / "run", columns={"video": "video", "image": "rare"}, epochs=1
    )
    evaluation = evaluate(run.path, bootstrap=20)
    image = next(c for c in evaluation.conditions if c.name == "image")
    assert (image.n, image.excluded) == (0, evaluation.n)
    assert all(value is None for value in image.metrics.values())
    assert "undefined" in evaluation.text()
    known = [c.metrics["accuracy"] for c in evaluation.conditions if c.name != "image"]
    mean = evaluation.mean()["accuracy"]
    assert mean == pytest.approx(sum(v for v in known if v is not None) / 2)
    assert not math.isnan(float(str(mean)))


def test_subsets_are_all_of_them() -> None:
    names = ("a", "b", "c", "d")
    found = subsets(names)
    assert len(found) == len(set(found)) == 2**4 - 1
    assert all(tuple(sorted(one)) == one for one in found)
    assert set(itertools.chain(*found)) == set(names)
