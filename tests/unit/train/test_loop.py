"""Training learns, selects by validation, and is the same each time."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from scfae.store import FeatureStore, SampleRow
from scfae.store.errors import ConfigError, CorruptShard, TaskError
from scfae.store.testing import make_store
from scfae.train.evaluation import EVALUATION_FILE, evaluate
from scfae.train.loop import train
from scfae.train.runs import RunFolder
from scfae.train.schedule import Schedule

from .small_runs import (
    BOOTSTRAP,
    MASKED,
    STEPS_PER_EPOCH,
    assert_equal,
    assert_same_run,
    epochs,
    make_config,
    small_store,
    train_small,
    weights,
)

TOTAL_STEPS = 2 * STEPS_PER_EPOCH


def raw_events(run: RunFolder) -> list[dict[str, Any]]:
    lines = (run.path / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def with_other_test_labels(store: FeatureStore, folder: Path) -> FeatureStore:
    """Return a store like the fixture's in which every test label is another one."""
    other = small_store(folder)
    digits, fakes = store.samples.label("digit"), store.samples.label("fake")
    other.update_labels(
        [
            SampleRow(
                id=str(name),
                split=split,
                labels={"digit": (digit + (split == "test")) % 3, "fake": fake},
            )
            for name, split, digit, fake in zip(
                store.samples.ids, store.samples.split, digits, fakes, strict=True
            )
        ]
    )
    return FeatureStore.open(folder)


@pytest.mark.parametrize(
    ("fusion", "options"),
    [("scfae", {}), ("concat", {"hidden": 32}), ("cross_attention", {"width": 16})],
)
def test_every_method_learns_far_more_than_the_majority(
    store: FeatureStore, tmp_path: Path, fusion: str, options: dict[str, Any]
) -> None:
    epochs_of = 14 if fusion == "scfae" else 8
    run = train_small(
        store.path, tmp_path / "run", fusion=fusion, options=options, epochs=epochs_of
    )
    scores = evaluate(run.path, bootstrap=0)
    majority = scores.majority["accuracy"]
    assert majority is not None
    assert majority < 0.4
    for condition in scores.conditions:
        accuracy = condition.metrics["accuracy"]
        assert accuracy is not None
        assert accuracy > 0.8, condition.name


def test_a_pooling_that_a_method_has_not_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    config = make_config(
        store.path, tmp_path / "run", fusion="cross_attention", pooling="attention"
    )
    with pytest.raises(ConfigError, match="pooling: cross_attention has no such option"):
        train(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("pooling", ["mean", "attention"])
@pytest.mark.parametrize("masking", ["none", "subsets", "only:video", "bernoulli:0.5"])
def test_poolings_and_maskings_train(
    store: FeatureStore, tmp_path: Path, pooling: str, masking: str
) -> None:
    run = train_small(store.path, tmp_path / "run", pooling=pooling, masking=masking, epochs=1)
    (event,) = epochs(run)
    assert math.isfinite(event["train"]["loss"])
    moved = weights(run)["model"]
    assert any("poolings" in name for name in moved) == (pooling == "attention")


def test_what_masking_hides_is_not_learned_from(store: FeatureStore, tmp_path: Path) -> None:
    run = train_small(
        store.path, tmp_path / "run", masking="only:video", fusion="concat", epochs=6, options={}
    )
    scores = {c.name: c.metrics["accuracy"] for c in evaluate(run.path, bootstrap=0).conditions}
    video, audio = scores["video"], scores["audio"]
    assert video is not None
    assert audio is not None
    assert video > 0.8
    assert audio < video


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    store: FeatureStore, whole: RunFolder, tmp_path: Path
) -> None:
    assert_same_run(train_small(store.path, tmp_path / "again", **MASKED), whole)
    other = train_small(store.path, tmp_path / "other", seed=2, **MASKED)
    mine, theirs = weights(other)["model"], weights(whole)["model"]
    learned = [name for name in mine if not name.startswith(("mean_", "scale_"))]
    assert not any(torch.equal(mine[name], theirs[name]) for name in learned)


def test_checkpoints_in_an_epoch_change_no_number(
    store: FeatureStore, whole: RunFolder, tmp_path: Path
) -> None:
    run = train_small(store.path, tmp_path / "run", epochs=2, masking="bernoulli:0.3")
    assert_equal(weights(run)["model"], weights(whole)["model"])
    assert_equal(epochs(run), epochs(whole))


def test_test_labels_choose_nothing(store: FeatureStore, whole: RunFolder, tmp_path: Path) -> None:
    other = with_other_test_labels(store, tmp_path / "store")
    run = train_small(other.path, tmp_path / "run", **MASKED)
    assert weights(run, "best.pt")["best"] == weights(whole, "best.pt")["best"]
    assert_equal(weights(run)["model"], weights(whole)["model"])
    assert_equal(weights(run, "best.pt")["model"], weights(whole, "best.pt")["model"])
    assert_equal(epochs(run), epochs(whole))
    mine = evaluate(run.path, bootstrap=BOOTSTRAP).as_dict()
    assert mine["conditions"] != whole.read(EVALUATION_FILE)["conditions"]


@pytest.mark.parametrize("metric", ["balanced_accuracy", "loss", "roc_auc"])
def test_validation_selects(store: FeatureStore, tmp_path: Path, metric: str) -> None:
    run = train_small(store.path, tmp_path / "run", epochs=6, select=metric)
    events = epochs(run)
    sign = -1 if metric == "loss" else 1

    def rank(event: dict[str, Any]) -> tuple[float, float]:
        return (sign * event["val"][metric], -event["val"]["loss"])

    winner = max(events, key=rank)  # max takes the first of equals, as selection does
    best = weights(run, "best.pt")
    assert (best["epoch"], best["step"]) == (winner["epoch"], winner["step"])
    assert best["best"]["value"] == winner["val"][metric]
    assert [e["is_best"] for e in events] == [
        all(rank(e) > rank(other) for other in events[:i]) for i, e in enumerate(events)
    ]


def test_the_loss_is_task_plus_lambda_recon(store: FeatureStore, tmp_path: Path) -> None:
    firsts = {}
    for weight in (0.0, 1.0, 0.25):
        run = train_small(
            store.path, tmp_path / f"run{weight}", epochs=1, loss_weights={"recon": weight}
        )
        (event,) = epochs(run)
        parts = event["train"]
        assert set(parts) == {"task", "recon", "loss"}
        assert parts["loss"] == pytest.approx(parts["task"] + parts["recon"], rel=1e-6)
        firsts[weight] = parts["recon"]
    assert firsts[0.0] == 0.0
    assert firsts[0.25] == pytest.approx(0.25 * firsts[1.0], rel=0.05)


def test_an_unknown_loss_weight_is_refused_before_there_is_a_folder(
    store: FeatureStore, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="scfae has no loss cycle; its losses are: recon"):
        train_small(store.path, tmp_path / "run", loss_weights={"cycle": 2.0})
    assert not (tmp_path / "run").exists()


def test_rates_are_the_papers_by_default(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[float] = []
    real = torch.optim.AdamW.step

    def step(self: torch.optim.AdamW, *args: Any, **more: Any) -> Any:
        used.append(self.param_groups[0]["lr"])
        assert self.param_groups[0]["betas"] == (0.9, 0.999)
        return real(self, *args, **more)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    run = train_small(store.path, tmp_path / "run", epochs=10, lr=5e-4)
    total, warm = 10 * STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH
    assert used[0] == 2.5e-5
    assert used[warm] == max(used) == 5e-4
    assert used[warm // 2] == pytest.approx((2.5e-5 + 5e-4) / 2)
    assert used[warm + (total - warm) // 2] == pytest.approx(2.5e-4)
    assert used == [Schedule(5e-4, 2.5e-5, 0.0, 0.2, total)(step) for step in range(total)]
    assert [event["lr"] for event in epochs(run)] == used[STEPS_PER_EPOCH - 1 :: STEPS_PER_EPOCH]


def test_a_loss_that_is_not_finite_names_the_step(store: FeatureStore, tmp_path: Path) -> None:
    settings = {"lr": 1e30, "lr_start": 1e30, "checkpoint_every_steps": 1}
    with pytest.raises(TaskError, match=r"the (loss|gradient) of step \d+ is (nan|inf)") as caught:
        train_small(store.path, tmp_path / "run", **settings)
    run = RunFolder(tmp_path / "run")
    state = run.state()
    assert state["state"] == "failed"
    assert str(caught.value) in state["error"]
    assert "sample-" in str(caught.value)
    last = raw_events(run)[-1]
    assert (last["type"], last["step"]) == ("failed", state["step"])
    assert f"step {state['step']} " in str(caught.value)


def test_rows_that_the_model_cannot_take_are_a_typed_error(
    store: FeatureStore, tmp_path: Path
) -> None:
    with pytest.raises(TaskError, match=r"store's rows: time='per_step' needs modalities on"):
        train_small(store.path, tmp_path / "run", options={"time": "per_step"})


def test_gradients_are_clipped_where_asked(store: FeatureStore, tmp_path: Path) -> None:
    plain = train_small(store.path, tmp_path / "plain", epochs=1)
    clipped = train_small(store.path, tmp_path / "clipped", epochs=1, clip_norm=1e-3)
    assert epochs(clipped)[0]["grad_norm"] > 1e-3  # the norm before the clip
    assert not torch.equal(
        weights(plain)["model"]["model.head.weight"], weights(clipped)["model"]["model.head.weight"]
    )


def test_progress_hears_of_every_step(store: FeatureStore, tmp_path: Path) -> None:
    heard: list[tuple[int, int, str]] = []
    train(
        make_config(store.path, tmp_path / "run", epochs=2),
        progress=lambda done, total, text: heard.append((done, total, text)),
    )
    assert [done for done, _, _ in heard] == list(range(1, TOTAL_STEPS + 1))
    assert {total for _, total, _ in heard} == {TOTAL_STEPS}
    assert [text for _, _, text in heard][3:5] == ["epoch 1", "epoch 2"]


def test_classes_can_weigh_alike(store: FeatureStore, tmp_path: Path) -> None:
    run = train_small(
        store.path, tmp_path / "run", label="fake", where={"digit": 0}, class_weights="balanced"
    )
    assert run.read("task.json")["weights"] is not None
    assert run.state()["state"] == "finished"


def test_an_altered_byte_of_data_stops_the_training_unless_checks_are_off(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", num_samples=60, labels={"digit": 3}, shard_size=16)
    path = store.column("video").folder / "shard-00000.zarr.zip"
    data = store.column("video").rows(0).tobytes()
    contents = bytearray(path.read_bytes())
    place = contents.index(data)
    contents[place] ^= 1  # the last bit of a fraction: nothing else can tell
    path.write_bytes(contents)
    with pytest.raises(CorruptShard, match=r"video.*shard-00000\.zarr\.zip"):
        train_small(store.path, tmp_path / "checked", epochs=1)
    train_small(store.path, tmp_path / "unchecked", epochs=1, check="never")
