"""A recipe fills in what the user left open; what was given stays."""

from pathlib import Path
from typing import Any

import pytest
import torch

from scfae.fusion import fusion_info, list_fusions
from scfae.store import FeatureStore
from scfae.train import load_config
from scfae.train.optimizer import make_optimizer
from scfae.train.recipe import loss_weights, recipe_settings
from scfae.train.settings import OptimConfig

from .small_runs import epochs, small_store, train_small

BASE = {"store": "s", "columns": {"audio": "a"}, "label": "digit", "run": "r"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return small_store(tmp_path_factory.mktemp("recipes") / "store")


def test_the_papers_recipe_is_read_where_it_is_asked_for() -> None:
    ours = load_config(None, BASE).optim
    assert ours.epochs == 20
    authors = load_config(None, BASE | {"recipe": "authors", "batch_size": 8}).optim
    assert (authors.epochs, authors.batch_size) == (125, 8)
    assert (authors.lr, authors.lr_start, authors.warmup) == (5e-4, 2.5e-5, 0.2)


@pytest.mark.parametrize("info", list_fusions(), ids=lambda info: info.name)
def test_every_recipe_is_a_valid_config(info: Any) -> None:
    settings = BASE | {"recipe": "authors", "fusion": info.name}
    config = load_config(None, settings)
    chosen = recipe_settings(info)
    assert {name: getattr(config.optim, name) for name in chosen} == chosen


def test_weights_of_losses_are_the_users_before_the_recipes() -> None:
    info = fusion_info("scfae")
    assert loss_weights(info, {"recon": 0.5})["recon"] == 0.5
    assert loss_weights(info, {}) == dict(info.recipe.loss_weights)


def test_the_optimizer_is_the_one_that_was_named() -> None:
    parameters = [torch.nn.Parameter(torch.ones(2))]
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    for name, kind in kinds.items():
        optim = OptimConfig(optimizer=name, lr_start=0.25, weight_decay=0.125)  # type: ignore[arg-type]
        made = make_optimizer(optim, parameters, "cpu")
        assert type(made) is kind
        assert (made.defaults["lr"], made.defaults["weight_decay"]) == (0.25, 0.125)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "sgd", "combiner": "pcgrad", "clip_value": 0.1},
        {"bucketing": "length", "max_train_rows": 2, "on_damage": "mask"},
        {"balance": "digit"},
        {"combiner": "min_norm", "optimizer": "adam"},
    ],
)
def test_optimizers_combiners_and_stream_options_train(
    store: FeatureStore, tmp_path: Path, changes: dict[str, Any]
) -> None:
    run = train_small(store.path, tmp_path / "run", epochs=1, **changes)
    (event,) = epochs(run)
    assert event["train"]["recon"] > 0
