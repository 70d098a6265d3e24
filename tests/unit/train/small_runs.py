"""Small runs on synthetic stores, and what two runs must have in common to be the same."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scfae.store import FeatureStore, SampleRow
from scfae.store.testing import make_store
from scfae.train.config import RunConfig, load_config
from scfae.train.evaluation import EVALUATION_FILE, evaluate
from scfae.train.loop import train
from scfae.train.runs import RunFolder

Progress = Callable[[int, int, str], None]
STEPS_PER_EPOCH = 4
BOOTSTRAP = 20
MASKED: dict[str, Any] = {
    "epochs": 2,
    "masking": "bernoulli:0.3",
    "checkpoint_every_steps": 2,
}
"""A run of eight steps whose stops find it in the middle of an epoch too."""


class PowerCut(Exception):
    """What a test raises in the middle of training."""


def small_store(folder: Path) -> FeatureStore:
    """Write 100 samples to learn from, 30 to select by, 70 to test on; a fifth of rows missing."""
    return make_store(
        folder,
        num_samples=200,
        labels={"digit": 3, "fake": 2},
        missing=0.2,
        shard_size=32,
        splits=(("train", 0.5), ("val", 0.15), ("test", 0.35)),
    )


def task_store(folder: Path, *, missing: float = 0.1) -> FeatureStore:
    """Write a store with a label for every task, all told by the features of either modality.

    `mood` is a value in [-3, 3], `word` one of three words, `fake` whether `fake_video` or
    `fake_audio` is.
    """
    store = make_store(
        folder,
        num_samples=240,
        dims={"video": 10, "audio": 10},
        labels={"digit": 3, "fake_video": 2, "fake_audio": 2},
        missing=missing,
        shard_size=48,
        splits=(("train", 0.5), ("val", 0.2), ("test", 0.3)),
    )

    def labels(place: int, digit: int, video: int, audio: int) -> dict[str, Any]:
        return {
            "digit": digit,
            "word": ("no", "so", "yes")[digit],
            "mood": (digit - 1) * 2.0 + (0.5 if video else -0.4) * (digit != 1),
        }

    return with_forgeries(store, "digit", labels)


def with_forgeries(
    store: FeatureStore, name: str, labels: Callable[[int, int, int, int], dict[str, Any]]
) -> FeatureStore:
    """Label a store's samples anew, among them `fake`: whether `fake_video` or `fake_audio` is.

    Args:
        store: With these two and a label of classes.
        name: Of that.
        labels: From a sample's place, class, `fake_video` and `fake_audio` to further labels.
    """
    samples = store.samples
    rows = []
    columns = (samples.label(one) for one in (name, "fake_video", "fake_audio"))
    for i, (of, video, audio) in enumerate(zip(*columns, strict=True)):
        forged = {"fake_video": video, "fake_audio": audio, "fake": max(video, audio)}
        rows.append(
            SampleRow(
                id=str(samples.ids[i]),
                split=samples.split[i],
                labels=forged | labels(i, of, video, audio),
            )
        )
    store.update_labels(rows)
    return FeatureStore.open(store.path)


TASK_SETTINGS: dict[str, dict[str, Any]] = {
    "classification": {"label": "word"},
    "binary": {"label": "fake"},
    "multilabel": {"label": "fake_video,fake_audio"},
    "regression": {"label": "mood"},
    "deepfake": {
        "label": "fake",
        "modality_labels": {"video": "fake_video", "audio": "fake_audio"},
    },
    "retrieval": {"label": "digit", "task_options": {"map_at": [5, 20]}},
}
"""What each task needs on `task_store`."""


def failing_at(step: int, error: BaseException) -> Progress:
    """Return a progress callback that raises after a step."""

    def progress(done: int, total: int, text: str) -> None:
        if done == step:
            raise error

    return progress


def signalling_at(step: int) -> Progress:
    """Return a progress callback that sends SIGTERM to this process after a step."""

    def progress(done: int, total: int, text: str) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return progress


def make_config(store: str | Path, run: Path, **settings: Any) -> RunConfig:
    """Return the config of a run that takes a second or less."""
    base: dict[str, Any] = {
        "store": str(store),
        "columns": {"video": "video", "audio": "audio"},
        "label": "digit",
        "epochs": 3,
        "batch_size": 25,
        "lr": 1e-2,
        "device": "cpu",
        "checkpoint_every_s": None,
        "run": str(run),
    }
    return load_config(None, base | settings)


def train_small(store: str | Path, run: Path, **settings: Any) -> RunFolder:
    """Train one and return its folder."""
    return train(make_config(store, run, **settings))


def weights(run: RunFolder, name: str = "last.pt") -> dict[str, Any]:
    """Return what a checkpoint holds."""
    state: dict[str, Any] = torch.load(run.path / "checkpoints" / name, weights_only=True)
    return state


def epochs(run: RunFolder) -> list[dict[str, Any]]:
    """Return the epochs' events without the time of day and how long they took."""
    events = [event for event in run.events() if event["type"] == "epoch"]
    told = ("time", "speed")
    return [{key: value for key, value in event.items() if key not in told} for event in events]


def assert_equal(mine: Any, theirs: Any, path: str = "") -> None:
    """Compare nested values, tensors bit for bit."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        assert list(mine) == list(theirs), path
        for key in mine:
            assert_equal(mine[key], theirs[key], f"{path}/{key}")
    elif isinstance(mine, list | tuple):
        assert type(mine) is type(theirs), path
        assert len(mine) == len(theirs), path
        for index, (one, other) in enumerate(zip(mine, theirs, strict=True)):
            assert_equal(one, other, f"{path}/{index}")
    elif isinstance(mine, Tensor):
        assert torch.equal(mine, theirs), path
    else:
        assert mine == theirs, path


def assert_same_run(mine: RunFolder, theirs: RunFolder) -> None:
    """Compare checkpoints whole (optimizer, generators, stream), epochs and evaluations."""
    assert_equal(weights(mine), weights(theirs), "last.pt")
    assert_equal(weights(mine, "best.pt"), weights(theirs, "best.pt"), "best.pt")
    assert_equal(epochs(mine), epochs(theirs), "epochs")
    for one in (mine, theirs):
        if not (one.path / EVALUATION_FILE).exists():
            evaluate(one.path, bootstrap=BOOTSTRAP)
    scores = [one.read(EVALUATION_FILE) | {"run": ""} for one in (mine, theirs)]
    assert_equal(scores[0], scores[1], "evaluation")
