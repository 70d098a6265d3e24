"""Averages of weights, batches in parts, early stopping, fp16: as told, and resumed exactly."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from scfae.store import FeatureStore, FeatureStream
from scfae.store.errors import TaskError
from scfae.store.testing import make_store
from scfae.train import keeper, learner
from scfae.train.accumulation import parts_of, saying_what_to_lower
from scfae.train.averaging import make_average
from scfae.train.checkpoint import save_checkpoint
from scfae.train.loading import load_run
from scfae.train.loop import train
from scfae.train.precision import Precision
from scfae.train.runs import RunFolder

from .small_runs import (
    MASKED,
    PowerCut,
    assert_equal,
    assert_same_run,
    epochs,
    failing_at,
    make_config,
    train_small,
    weights,
)


def test_a_batch_in_parts_moves_the_weights_as_the_whole_does(
    store: FeatureStore, tmp_path: Path
) -> None:
    whole = train_small(store.path, tmp_path / "whole", epochs=2)
    parts = train_small(store.path, tmp_path / "parts", epochs=2, accumulate=3)
    for name, value in weights(whole)["model"].items():
        torch.testing.assert_close(weights(parts)["model"][name], value, rtol=1e-3, atol=1e-5)
    for mine, theirs in zip(epochs(parts), epochs(whole), strict=True):
        assert mine["step"] == theirs["step"]
        assert mine["train"]["loss"] == pytest.approx(theirs["train"]["loss"], rel=1e-4)


def test_parts_hold_every_sample_once_and_never_split_a_dialogue(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", num_samples=40, labels={"digit": 2}, groups=7)
    view = store.view(None, ["digit"], video="video", audio="audio")
    (plain,) = FeatureStream(view, batch_size=40, shuffle=False)
    parts = parts_of(plain, 3)
    assert [name for part in parts for name in part.ids] == plain.ids
    assert [len(part) for part in parts] == [13, 14, 13]
    assert torch.equal(
        torch.cat([part.features["audio"] for part in parts]), plain.features["audio"]
    )
    assert parts_of(plain, 1) == [plain]
    assert len(parts_of(plain, 1000)) == 40
    (grouped,) = FeatureStream(view, batch_size=7, shuffle=False, group_batches=True)
    parts = parts_of(grouped, 3)
    held = [set(part.groups.tolist()) for part in parts if part.groups is not None]
    assert len(held) == 3
    assert not held[0] & held[1]
    assert not held[1] & held[2]


def test_the_average_follows_its_recursion_and_is_what_is_judged(
    store: FeatureStore, tmp_path: Path
) -> None:
    model = torch.nn.Linear(2, 1)
    average = make_average(model, 0.3)
    assert average is not None
    expected = None
    for step in range(4):
        with torch.no_grad():
            model.weight.fill_(float(step))
        average.update_parameters(model)
        share = min(0.3, (1 + step) / (10 + step))
        expected = float(step) if expected is None else share * expected + (1 - share) * step
        assert average.module.state_dict()["weight"][0, 0].item() == pytest.approx(
            expected, rel=1e-6
        )

    run = train_small(store.path, tmp_path / "run", epochs=2, ema=0.9, select="loss")
    last, best = weights(run), weights(run, "best.pt")
    assert best["step"] == last["step"]  # the loss falls, so the last epoch is the best
    head = "model.head.weight"
    assert not torch.equal(last["model"][head], best["model"][head])
    assert torch.equal(last["average"][f"module.{head}"], best["model"][head])
    for which in ("best", "last"):
        assert torch.equal(
            load_run(run.path, which=which).model.state_dict()[head], best["model"][head]
        )


def test_an_average_scores_otherwise_but_trains_the_same_weights(
    store: FeatureStore, tmp_path: Path
) -> None:
    plain = train_small(store.path, tmp_path / "plain", epochs=2)
    averaged = train_small(store.path, tmp_path / "averaged", epochs=2, ema=0.9)
    assert_equal(weights(averaged)["model"], weights(plain)["model"])
    assert epochs(averaged)[0]["train"] == epochs(plain)[0]["train"]
    assert epochs(averaged)[1]["val"] != epochs(plain)[1]["val"]


def test_training_stops_when_validation_does_not_get_better(
    store: FeatureStore, tmp_path: Path
) -> None:
    # A rate this high soon makes the validation loss rise.
    settings = {"epochs": 12, "patience": 2, "lr": 0.5, "lr_start": 0.5, "select": "loss"}
    settings |= {"optimizer": "adam", "clip_norm": 1.0, "checkpoint_every_steps": 3}
    run = train_small(store.path, tmp_path / "run", **settings)
    state, best = run.state(), weights(run, "best.pt")
    assert state["state"] == "finished"
    assert state["stopped_early"]
    assert state["epoch"] == best["epoch"] + 2 < 12
    losses = [event["val"]["loss"] for event in epochs(run)]
    assert losses[best["epoch"] - 1] == min(losses)
    assert run.events()[-1]["stopped_early"]

    config = make_config(store.path, tmp_path / "cut", **settings)
    for step in (2, state["step"] - 1, state["step"]):
        with pytest.raises(PowerCut):
            train(config, progress=failing_at(step, PowerCut()))
    assert_same_run(train(config), run)


def test_a_stop_between_the_last_checkpoint_and_the_end_takes_no_step_more(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"epochs": 9, "patience": 1, "lr": 0.5, "lr_start": 0.5, "select": "loss"}
    whole = train_small(store.path, tmp_path / "whole", **settings)
    config = make_config(store.path, tmp_path / "cut", **settings)
    real = RunFolder.write_state

    def cut(self: RunFolder, state: str, **details: Any) -> None:
        if state == "finished":
            raise PowerCut
        real(self, state, **details)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_state", cut)
        with pytest.raises(PowerCut):
            train(config)
    assert_same_run(train(config), whole)


@pytest.mark.parametrize(
    "settings",
    [
        {"ema": 0.9, "accumulate": 2, "patience": 5},
        {"ema": 0.5, "precision": "fp16", "clip_norm": 1.0, "combiner": "pcgrad"},
    ],
)
def test_a_stop_leaves_no_trace_with_everything_on(
    store: FeatureStore, tmp_path: Path, settings: dict[str, Any]
) -> None:
    whole = train_small(store.path, tmp_path / "whole", **(MASKED | settings))
    config = make_config(store.path, tmp_path / "cut", **(MASKED | settings))
    for step in (1, 3, 4, 7, 8):
        with pytest.raises(PowerCut):
            train(config, progress=failing_at(step, PowerCut()))
    assert_same_run(train(config), whole)


def test_a_stop_around_best_leaves_the_average_in_it(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = MASKED | {"ema": 0.9}
    whole = train_small(store.path, tmp_path / "whole", **settings)
    real = save_checkpoint

    def cut(path: Path, state: dict[str, Any]) -> None:
        if path.name == "best.pt":
            raise PowerCut
        real(path, state)

    config = make_config(store.path, tmp_path / "cut", **settings)
    with monkeypatch.context() as patch:
        patch.setattr(keeper, "save_checkpoint", cut)
        with pytest.raises(PowerCut):
            train(config)
    assert_same_run(train(config), whole)


def test_fp16_leaves_out_steps_that_overflow_and_halves_the_scale(
    store: FeatureStore, tmp_path: Path
) -> None:
    run = train_small(store.path, tmp_path / "run", epochs=3, precision="fp16")
    events = epochs(run)
    skipped = sum(event.get("skipped_steps", 0) for event in events)
    assert weights(run)["scaler"]["scale"] == 2.0 ** (16 - skipped)
    assert all(math.isfinite(event["grad_norm"]) for event in events)
    assert events[-1]["train"]["loss"] < events[0]["train"]["loss"]


def test_an_overflowing_step_moves_nothing_in_fp16_and_is_an_error_at_the_lowest_scale() -> None:
    precision = Precision("fp16", "cpu")
    layer = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    before = layer.weight.clone()
    while precision.may_skip():
        scale = precision.scaler.get_scale()
        layer.weight.grad = torch.full((1, 1), math.inf)
        layer.bias.grad = torch.zeros(1)
        precision.scale([torch.zeros(())])
        precision.scaler.unscale_(optimizer)
        precision.step(optimizer)
        assert torch.equal(layer.weight, before)
        assert precision.scaler.get_scale() == scale / 2
    assert precision.scaler.get_scale() == 1.0
    assert not Precision("fp32", "cpu").may_skip()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_a_lack_of_memory_says_what_to_lower(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*arguments: Any, **more: Any) -> None:
        raise error

    monkeypatch.setattr(learner, "apply_model", full)
    with pytest.raises(
        TaskError, match="out of memory at step 0, in a batch of 25 samples"
    ) as caught:
        train_small(store.path, tmp_path / "run", epochs=1)
    for word in ("--batch-size", "--max-train-rows", "--accumulate 2", "--precision bf16", "video"):
        assert word in str(caught.value)
    assert RunFolder(tmp_path / "run").state()["state"] == "failed"


def test_other_errors_of_a_step_stay_what_they_are(store: FeatureStore) -> None:
    view = store.view("train", ["digit"], video="video")
    batch = next(iter(FeatureStream(view, batch_size=4)))
    with pytest.raises(RuntimeError, match="shapes differ"), saying_what_to_lower(batch, 3):
        raise RuntimeError("shapes differ")
