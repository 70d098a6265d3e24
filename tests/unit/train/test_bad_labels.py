"""What users get wrong in labels, splits and runs: one sentence on stderr and the right status."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scfae.cli.main import main
from scfae.store import FeatureStore, SampleRow
from scfae.store.testing import make_store

Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Return a function that runs `scfae WORDS…` and returns its status and stderr."""

    def run(*words: object) -> tuple[int, str]:
        status = main([str(word) for word in words])
        text = capsys.readouterr().err
        assert "Traceback" not in text
        return status, text

    return run


def new_store(path: Path, labels: Callable[[int], Any], **settings: Any) -> FeatureStore:
    store = make_store(path, num_samples=40, labels={"digit": 2}, shard_size=20, **settings)
    samples = store.samples
    store.update_labels(
        [
            SampleRow(id=str(samples.ids[i]), split=samples.split[i], labels={"what": labels(i)})
            for i in range(40)
        ]
    )
    return FeatureStore.open(path)


def command(store: FeatureStore, folder: Path, **settings: Any) -> list[object]:
    more = {"label": "what", "epochs": 1, "batch_size": 8, "device": "cpu", **settings}
    words: list[object] = ["train", "--store", store.path, "--run", folder / "run"]
    words += ["--columns", "video=video", "audio=audio"]
    for name, value in more.items():
        words += [f"--{name.replace('_', '-')}", *(value if isinstance(value, list) else [value])]
    return words


def test_a_label_that_is_not_there_is_named_with_those_that_are(say: Say, tmp_path: Path) -> None:
    store = new_store(tmp_path / "store", lambda i: i % 2)
    status, text = say(*command(store, tmp_path, label="waht"))
    assert status == 2
    assert "'waht'" in text
    assert "what" in text
    assert not (tmp_path / "run").exists()
    status, text = say(*command(store, tmp_path, task="multilabel", label="what,digti"))
    assert status == 2
    assert "digti" in text


def test_a_class_that_only_the_test_split_has_is_counted(say: Say, tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", num_samples=40, labels={"digit": 2}, shard_size=20)
    is_test = [split == "test" for split in store.samples.split]
    store = new_store(tmp_path / "other", lambda i: 7 if is_test[i] and i % 4 else i % 2)
    assert say(*command(store, tmp_path))[0] == 0
    status, text = say("evaluate", tmp_path / "run")
    count = sum(is_test[i] and i % 4 > 0 for i in range(40))
    assert status == 1
    assert "'what' has classes that the training split has not: 7. Known: 0, 1." in text
    assert f"{count} of {sum(is_test)} samples" in text
    assert "--where" in text


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_an_empty_split_is_named(say: Say, tmp_path: Path, split: str) -> None:
    splits = [(name, 0.5) for name in ("train", "val", "test") if name != split]
    store = new_store(tmp_path / "store", lambda i: i % 2, splits=splits)
    status, text = say(*command(store, tmp_path))
    if split == "train":
        assert status == 1
        assert "the train split 'train' is not in the store; the splits are test, val" in text
        return
    assert status == 0  # validation is carved, and training needs no test split
    status, text = say("evaluate", tmp_path / "run", "--bootstrap", 0)
    assert status == (1 if split == "test" else 0)
    assert split == "val" or "the test split is empty: there is nothing to evaluate on" in text


@pytest.mark.parametrize(
    ("task", "label", "wanted"),
    [
        ("classification", 3, "only the class 3 in 'what'; two classes"),
        ("binary", 3, "only the class 3 in 'what'"),
        ("multilabel", 1, "only 1 in 'what'; 0 and 1 are both needed"),
        ("regression", 0.5, "only the value 0.5 in 'what'"),
        ("retrieval", 3, "only one class in 'what'"),
        ("regression", "good", "'what' is text; a number is due"),
        ("classification", 0.25, "'what' is continuous"),
    ],
)
def test_labels_that_tell_nothing_are_named(
    say: Say, tmp_path: Path, task: str, label: Any, wanted: str
) -> None:
    store = new_store(tmp_path / "store", lambda i: label)
    status, text = say(*command(store, tmp_path, task=task))
    assert status == 1
    assert wanted in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("task", "label", "wanted"),
    [
        ("binary", lambda i: i % 3, "3 classes in the training split; binary needs two"),
        ("multilabel", lambda i: i % 3, "'what' holds 2; each of several labels is 0 or 1"),
        ("regression", lambda i: np.inf if i == 3 else float(i), "is not finite"),
    ],
)
def test_labels_of_another_task_are_named(
    say: Say, tmp_path: Path, task: str, label: Callable[[int], Any], wanted: str
) -> None:
    status, text = say(*command(new_store(tmp_path / "store", label), tmp_path, task=task))
    assert status == 1
    assert wanted in text


def test_a_column_missing_for_half_the_samples_is_counted_and_training_goes_on(
    say: Say, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = new_store(
        tmp_path / "store", lambda i: i % 2, missing=0.9, dims={"video": 5, "audio": 4}
    )
    view = store.view(None, video="video", audio="audio")
    absent = (~view.available).sum(axis=0)
    assert min(absent) >= 10
    with caplog.at_level(logging.WARNING):
        status, _ = say(*command(store, tmp_path))
    assert status == 0
    for modality, count in zip(("video", "audio"), absent, strict=True):
        sentence = f"{modality} ({modality}) has no rows of {count} of 40 samples: they go on with"
        assert any(sentence in message for message in caplog.messages)


def test_weights_of_another_model_are_refused(say: Say, tmp_path: Path) -> None:
    store = new_store(tmp_path / "store", lambda i: i % 2)
    assert say(*command(store, tmp_path))[0] == 0
    path = tmp_path / "run" / "checkpoints" / "best.pt"
    state = torch.load(path, weights_only=True)
    state["model"]["model.head.weight"] = torch.zeros(2, 3)
    torch.save(state, path)
    status, text = say("evaluate", tmp_path / "run")
    assert status == 1
    assert "the checkpoint does not fit the model" in text
    assert "head.weight" in text


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"select": "acuracy"}, "no such metric. Did you mean accuracy"),
        ({"select": "mae"}, "classification has no such metric"),
        ({"task": "regression", "select": "map@10"}, "regression has no such metric"),
        ({"task": "retrieval", "select": "map@7"}, "Did you mean map@"),
        ({"task": "retrieval", "task_options": "ap_nrom=r"}, "retrieval has no such option"),
        ({"task_options": "error=l1"}, "classification has no such option"),
        ({"task": "regression", "task_options": "error=l3"}, "should be 'mse' or 'l1'"),
        ({"task": "regression", "class_weights": "balanced"}, "no classes to weigh"),
        ({"task": "deepfake", "modality_labels": "video=what"}, "name the label of each"),
        ({"task": "dreaming"}, "task = 'dreaming'"),
    ],
)
def test_a_setting_that_does_not_fit_the_task_is_wrong_usage(
    say: Say, tmp_path: Path, settings: dict[str, Any], wanted: str
) -> None:
    labels = (lambda i: i / 10.0) if settings.get("task") == "regression" else (lambda i: i % 2)
    store = new_store(tmp_path / "store", labels)
    status, text = say(*command(store, tmp_path, **settings))
    assert status == 2, text
    assert wanted in text
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_a_number_names_the_batch(say: Say, tmp_path: Path) -> None:
    store = new_store(tmp_path / "store", lambda i: i % 2)
    status, text = say(*command(store, tmp_path, lr=1e30, lr_start=1e30))
    assert status == 1
    assert "of step" in text
    assert text.count("sample-") == 8
