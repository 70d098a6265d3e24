"""What a method settles by samples without labels is in the model that is judged and kept."""

from pathlib import Path
from typing import Any

import pytest
import torch

from scfae.fusion.weight_merge import WeightMerge
from scfae.store import FeatureStore
from scfae.train.loading import load_run
from scfae.train.loop import train
from scfae.train.model import fusion_of
from scfae.train.settling import Settling

from .small_runs import (
    STEPS_PER_EPOCH,
    PowerCut,
    assert_same_run,
    failing_at,
    make_config,
    small_store,
    train_small,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return small_store(tmp_path_factory.mktemp("settling") / "store")


def merged(model: Any) -> WeightMerge:
    fusion = fusion_of(model)
    assert isinstance(fusion, WeightMerge)
    return fusion


@pytest.mark.parametrize("ema", [None, 0.9])
def test_the_kept_model_has_the_alpha_of_its_own_weights(
    store: FeatureStore, tmp_path: Path, ema: float | None
) -> None:
    run = train_small(store.path, tmp_path / "run", fusion="weight_merge", epochs=2, ema=ema)
    model = load_run(run.path).model
    kept = merged(model).alpha.clone()
    merged(model).alpha.fill_(7.0)
    view = store.view(video="video", audio="audio", split="val")
    settle = Settling(view, batch_size=len(view))
    settle(model, "cpu", torch.autocast("cpu", enabled=False))
    assert torch.equal(merged(model).alpha, kept)
    assert model.training


def test_a_run_that_settles_resumes_to_the_same(store: FeatureStore, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "fusion": "weight_merge",
        "epochs": 2,
        "checkpoint_every_steps": 1,
    }
    whole = train_small(store.path, tmp_path / "whole", **settings)
    config = make_config(store.path, tmp_path / "cut", **settings)
    with pytest.raises(PowerCut):
        train(config, progress=failing_at(STEPS_PER_EPOCH + 2, PowerCut()))
    assert_same_run(whole, train(config))


def test_no_more_samples_are_read_than_a_few_hundred_and_others_read_none(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = store.view(video="video", audio="audio", split="test")
    monkeypatch.setattr("scfae.train.settling.SAMPLES", 20)
    seen: list[int] = []
    model = WeightMerge(view.dims, num_outputs=3, width=8)
    model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0]["video"])))
    settle = Settling(view, batch_size=8)
    for _ in range(2):  # the same samples each time
        seen.clear()
        settle(model, "cpu", torch.autocast("cpu", enabled=False))
        assert seen == [8, 8, 8] * 11
    monkeypatch.setattr(WeightMerge, "settles", False)
    seen.clear()
    settle(model, "cpu", torch.autocast("cpu", enabled=False))
    assert not seen
