"""Fusion methods of two stages and of dialogues, trained, stopped, resumed and evaluated."""

import json
from pathlib import Path
from typing import Any

import pytest

from scfae.fusion import list_fusions
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError
from scfae.store.testing import make_store
from scfae.train.evaluation import evaluate
from scfae.train.loading import load_run
from scfae.train.loop import train

from ..fusion.small import SMALL
from .small_runs import (
    BOOTSTRAP,
    STEPS_PER_EPOCH,
    PowerCut,
    assert_same_run,
    epochs,
    failing_at,
    make_config,
    small_store,
    task_store,
    train_small,
)

TWO_STAGES = [info.name for info in list_fusions() if info.method.num_stages > 1]
LEARN_FROM_VALUES = ("drfuse", "macb_df", "momke", "weight_merge", "dlf", "dicmor")
DIALOGUES = [info.name for info in list_fusions() if "dialogue" in info.needs]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return small_store(tmp_path_factory.mktemp("methods") / "store")


@pytest.mark.parametrize("fusion", TWO_STAGES)
def test_a_method_of_two_stages_resumes_in_either(
    store: FeatureStore, tmp_path: Path, fusion: str
) -> None:
    settings: dict[str, Any] = {
        "fusion": fusion,
        "epochs": 2,
        "checkpoint_every_steps": 1,
        "options": json.loads(json.dumps(SMALL.get(fusion, {}))),  # as a config has them
    }
    whole = train_small(store.path, tmp_path / "whole", **settings)
    config = make_config(store.path, tmp_path / "cut", **settings)
    # In the first stage, at the step between the stages, in the second.
    for step in (2, STEPS_PER_EPOCH, STEPS_PER_EPOCH + 2):
        with pytest.raises(PowerCut):
            train(config, progress=failing_at(step, PowerCut()))
    cut = train(config)
    assert_same_run(whole, cut)
    assert [event["is_best"] for event in epochs(whole)] == [True, True]  # a stage starts anew
    model: Any = load_run(whole.path).model
    assert model.model.stage == 1


@pytest.mark.parametrize("fusion", DIALOGUES)
@pytest.mark.filterwarnings("ignore:.*dialogue.*")
def test_dialogues_reach_the_method_and_predictions_keep_the_order(
    tmp_path: Path, fusion: str
) -> None:
    store = make_store(
        tmp_path / "store", num_samples=60, labels={"digit": 3}, shard_size=16, groups=5
    )
    run = train_small(
        store.path, tmp_path / "run", fusion=fusion, epochs=2, batch_size=2, group_batches=True
    )
    evaluation = evaluate(run.path, bootstrap=BOOTSTRAP)
    assert evaluation.n > 0
    lines = [json.loads(line) for line in (run.path / "predictions.jsonl").read_text().splitlines()]
    shown = [line["id"] for line in lines]
    assert shown == [str(name) for name in store.view(video="video", split="test").ids]


@pytest.mark.filterwarnings("ignore:.*dialogue.*")
@pytest.mark.parametrize("groups", [None, 5])
def test_a_method_of_dialogues_without_them_says_how_to_get_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, groups: int | None
) -> None:
    store = make_store(tmp_path / "store", num_samples=60, labels={"digit": 3}, groups=groups)
    train_small(store.path, tmp_path / "run", fusion="gcnet", epochs=1)
    hint = "the store's samples have no group" if groups is None else "add --group-batches true"
    assert f"gcnet reads whole dialogues, and is given single samples: {hint}" in caplog.messages


@pytest.mark.slow
@pytest.mark.parametrize("fusion", [info.name for info in list_fusions()])
@pytest.mark.filterwarnings("ignore:.*dialogue.*")
def test_every_method_trains_by_its_authors_recipe_and_is_evaluated(
    store: FeatureStore, tmp_path: Path, fusion: str
) -> None:
    run = train_small(
        store.path,
        tmp_path / "run",
        fusion=fusion,
        recipe="authors",
        epochs=2,
        masking="bernoulli:0.3",
    )
    evaluation = evaluate(run.path, bootstrap=BOOTSTRAP)
    assert [one.name for one in evaluation.conditions] == ["video", "audio", "video+audio"]


@pytest.mark.parametrize("fusion", LEARN_FROM_VALUES)
def test_methods_that_learn_from_labels_take_values(tmp_path: Path, fusion: str) -> None:
    values = task_store(tmp_path / "store")
    settings: dict[str, Any] = {"fusion": fusion, "epochs": 2, "task": "regression"}
    options = json.loads(json.dumps(SMALL.get(fusion, {})))
    run = train_small(values.path, tmp_path / "run", label="mood", options=options, **settings)
    assert run.state()["state"] == "finished"


def test_a_method_that_compares_classes_refuses_values(tmp_path: Path) -> None:
    values = task_store(tmp_path / "store")
    with pytest.raises(ConfigError, match="'aadml' cannot learn from a regression: labels: must"):
        train_small(values.path, tmp_path / "run", fusion="aadml", task="regression", label="mood")
    assert not (tmp_path / "run").exists()
