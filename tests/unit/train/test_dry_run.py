"""A dry run: what a training would be and take, and nothing of it left behind."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from scfae.cli import main
from scfae.store.errors import TaskError
from scfae.train.config import RunConfig, load_config
from scfae.train.dry_run import dry_run
from scfae.train.optimizer import learning_bytes, make_optimizer
from scfae.train.settings import OptimConfig

from .small_runs import STEPS_PER_EPOCH, small_store


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dry")
    small_store(root / "store")
    return root


def words(root: Path, *others: str) -> list[str]:
    columns = ["--columns", "video=video", "audio=audio", "--label", "digit", "--device", "cpu"]
    own = ["--batch-size", "25", "--epochs", "3", "--run", str(root / "run")]
    return ["--store", str(root / "store"), *columns, *own, *others]


def config(root: Path, **others: Any) -> RunConfig:
    settings: dict[str, Any] = {
        "store": str(root / "store"),
        "columns": {"video": "video", "audio": "audio"},
        "label": "digit",
        "batch_size": 25,
        "epochs": 3,
        "device": "cpu",
        "run": str(root / "run"),
    }
    return load_config(None, settings | others)


def test_it_says_how_large_a_training_is_and_how_long_a_step(root: Path) -> None:
    found = dry_run(config(root))
    assert found.sizes == {"train": 100, "val": 30, "test": 70}
    assert (found.epochs, found.steps_per_epoch) == (3, STEPS_PER_EPOCH)
    # Steps behind another of their epoch: behind the last of one is its validation.
    assert found.steps_timed == 3 * (STEPS_PER_EPOCH - 1)
    assert found.step_s is not None
    assert 0 < found.step_s < 5
    assert found.feature_bytes > 0
    assert not (root / "run").exists()
    assert "12 in all" in found.summary()


def test_a_long_training_is_broken_off(root: Path) -> None:
    found = dry_run(config(root, epochs=100_000), most_s=0.2)
    assert found.steps_timed < 1000
    assert found.step_s is not None


def test_one_step_is_too_little_to_time(root: Path) -> None:
    found = dry_run(config(root, epochs=1, batch_size=1000))
    assert (found.steps_timed, found.step_s) == (0, None)
    assert "a step on" not in found.summary()


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_what_learning_takes_is_what_the_optimizer_holds(optimizer: str) -> None:
    model = nn.Linear(30, 20)
    model.bias.requires_grad_(False)
    optim = OptimConfig.model_validate({"optimizer": optimizer})
    learning = make_optimizer(optim, [{"params": [model.weight]}], "cpu")
    model(torch.ones(2, 30)).sum().backward()
    learning.step()
    states = [
        value
        for state in learning.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor) and value.ndim
    ]
    held = [*model.parameters(), *(p.grad for p in model.parameters() if p.grad is not None)]
    taken = sum(one.numel() * one.element_size() for one in [*held, *states])
    assert learning_bytes(optim, model) == taken
    averaged = optim.model_copy(update={"ema": 0.9})
    assert learning_bytes(averaged, model) == taken + 4 * (30 * 20 + 20)


def test_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *words(root), "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["steps_per_epoch"], found["device"]) == (STEPS_PER_EPOCH, "cpu")
    assert main(["train", *words(root), "--dry-run"]) == 0
    assert "4 steps an epoch, 12 in all" in capsys.readouterr().out
    assert main(["train", "--resume", str(root / "run"), "--dry-run"]) == 2
    assert "--dry-run is for a new training" in capsys.readouterr().err
    assert main(["train", *words(root, "--label", "nothing"), "--dry-run"]) != 0
    assert not (root / "run").exists()


def test_what_is_wrong_is_said_as_by_the_training_itself(root: Path) -> None:
    with pytest.raises(TaskError, match="'none'"):
        dry_run(config(root, train_split="none"))
