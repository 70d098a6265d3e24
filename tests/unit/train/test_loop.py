"""Training learns, is the same each time, and a stop at any instant leaves no trace in the end."""

import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scfae.store import FeatureStore, SampleRow
from scfae.store.errors import ConfigError, RunNotFound, RunStateError, TaskError
from scfae.store.testing import make_store
from scfae.train import loop
from scfae.train.checkpoint import save_checkpoint
from scfae.train.evaluation import evaluate
from scfae.train.loop import train
from scfae.train.runs import Interrupted, RunFolder
from scfae.train.schedule import Schedule

from .small_runs import (
    assert_equal,
    assert_same_run,
    epochs,
    make_config,
    train_small,
    weights,
)

STEPS_PER_EPOCH = 4
TOTAL_STEPS = 2 * STEPS_PER_EPOCH
MASKED: dict[str, Any] = {
    "epochs": 2,
    "masking": "bernoulli:0.3",
    "checkpoint_every_steps": 2,
}


class PowerCut(Exception):
    """What a test raises in the middle of training."""


def failing_at(step: int, error: BaseException) -> Callable[[int, int, str], None]:
    def progress(done: int, total: int, text: str) -> None:
        if done == step:
            raise error

    return progress


def raw_events(run: RunFolder) -> list[dict[str, Any]]:
    lines = (run.path / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def with_other_test_labels(store: FeatureStore, folder: Path) -> FeatureStore:
    """Return a store like the fixture's in which every test label is another one."""
    other = make_store(
        folder,
        num_samples=200,
        labels={"digit": 3, "fake": 2},
        missing=0.2,
        shard_size=32,
        splits=(("train", 0.5), ("val", 0.15), ("test", 0.35)),
    )
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


@pytest.fixture(scope="module")
def whole(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that nothing stopped."""
    return train_small(store.path, tmp_path_factory.mktemp("whole") / "run", **MASKED)


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


@pytest.mark.parametrize("step", range(1, TOTAL_STEPS + 1))
def test_a_stop_after_any_step_leaves_no_trace(
    store: FeatureStore, whole: RunFolder, tmp_path: Path, step: int
) -> None:
    config = make_config(store.path, tmp_path / "run", **MASKED)
    error = KeyboardInterrupt() if step % 2 else PowerCut()
    with pytest.raises(type(error)):
        train(config, progress=failing_at(step, error))
    assert RunFolder(tmp_path / "run").state()["state"] == "failed"
    run = train(config, resume=True)
    assert_same_run(run, whole)
    assert [event["step"] for event in epochs(run)] == [4, 8]


def test_stops_upon_stops_leave_no_trace(
    store: FeatureStore, whole: RunFolder, tmp_path: Path
) -> None:
    config = make_config(store.path, tmp_path / "run", **MASKED)
    for step in (1, 3, 4, 5, 8):
        with pytest.raises(PowerCut):
            train(config, progress=failing_at(step, PowerCut()))
    run = train(config)
    assert_same_run(run, whole)
    assert run.state()["attempt"] == 6


@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_stop_around_a_checkpoint_leaves_no_trace(
    store: FeatureStore,
    whole: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    count: int,
    when: str,
) -> None:
    config = make_config(store.path, tmp_path / "run", **MASKED)
    real = save_checkpoint
    seen = 0

    def cut(path: Path, state: dict[str, Any]) -> None:
        nonlocal seen
        seen += path.name == name
        if path.name == name and seen == count and when == "before":
            raise PowerCut
        real(path, state)
        if path.name == name and seen == count and when == "after":
            raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", cut)
        try:
            train(config)
        except PowerCut:
            pass
        else:
            assert name == "best.pt"  # selected less often than `count`
    assert_same_run(train(config), whole)


def signalling_at(step: int) -> Callable[[int, int, str], None]:
    def progress(done: int, total: int, text: str) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return progress


@pytest.mark.parametrize("is_cut", [False, True])
def test_the_selected_weights_are_those_of_their_epoch_though_it_wrote_no_checkpoint(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_cut: bool
) -> None:
    settings = MASKED | {"checkpoint_every_steps": 3}
    with pytest.raises(Interrupted):
        train(make_config(store.path, tmp_path / "a", **settings), progress=signalling_at(4))
    first_epoch = weights(RunFolder(tmp_path / "a"))["model"]

    monkeypatch.setattr(loop, "MOST_SAVING", 1e9)  # as if a checkpoint took very long
    config = make_config(store.path, tmp_path / "b", **settings)
    if is_cut:

        def cut(path: Path, state: dict[str, Any]) -> None:
            if path.name == "best.pt":
                raise PowerCut
            save_checkpoint(path, state)

        with monkeypatch.context() as patch:
            patch.setattr(loop, "save_checkpoint", cut)
            with pytest.raises(PowerCut):
                train(config)
    with pytest.raises(Interrupted):
        train(config, progress=signalling_at(7))
    best = weights(RunFolder(tmp_path / "b"), "best.pt")
    assert (best["step"], best["epoch"]) == (4, 1)
    assert_equal(best["model"], first_epoch)


@pytest.mark.parametrize("step", [3, STEPS_PER_EPOCH])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_at_the_next_step_with_a_checkpoint(
    store: FeatureStore, whole: RunFolder, tmp_path: Path, step: int, signum: signal.Signals
) -> None:
    config = make_config(store.path, tmp_path / "run", **MASKED)

    def progress(done: int, total: int, text: str) -> None:
        if done == step:
            os.kill(os.getpid(), signum)

    before = signal.getsignal(signum)
    with pytest.raises(Interrupted, match=f"{signum.name} after step {step}") as caught:
        train(config, progress=progress)
    assert signal.getsignal(signum) is before
    assert caught.value.signum == signum
    assert f"scfae train --resume {tmp_path / 'run'}" in str(caught.value)
    run = RunFolder(tmp_path / "run")
    assert run.state()["state"] == "interrupted"
    assert weights(run)["step"] == step
    assert_same_run(train(config), whole)


def test_a_signal_at_the_last_step_finishes(store: FeatureStore, tmp_path: Path) -> None:
    config = make_config(store.path, tmp_path / "run", epochs=1)

    def progress(done: int, total: int, text: str) -> None:
        if done == total:
            os.kill(os.getpid(), signal.SIGTERM)

    assert train(config, progress=progress).state()["state"] == "finished"


def test_dropout_goes_on_where_it_was(store: FeatureStore, tmp_path: Path) -> None:
    settings = MASKED | {"fusion": "concat", "options": {"dropout": 0.5, "hidden": 16}}
    expected = train_small(store.path, tmp_path / "whole", **settings)
    config = make_config(store.path, tmp_path / "run", **settings)
    with pytest.raises(PowerCut):
        train(config, progress=failing_at(6, PowerCut()))
    torch.rand(5)  # whatever another program draws
    assert_same_run(train(config), expected)


def test_the_event_log_only_grows_and_reads_without_repeats(
    store: FeatureStore, whole: RunFolder, tmp_path: Path
) -> None:
    config = make_config(store.path, tmp_path / "run", **MASKED)
    text = ""
    for step in (3, 5, 7):
        with pytest.raises(PowerCut):
            train(config, progress=failing_at(step, PowerCut("the lights went out")))
        now = (tmp_path / "run" / "events.jsonl").read_text()
        assert now.startswith(text)
        text = now
    # A kill may cut a line; what follows begins on a line of its own.
    with open(tmp_path / "run" / "events.jsonl", "a") as file:
        file.write('{"type": "epoch", "st')
    run = train(config)
    kinds = [event["type"] for event in run.events()]
    assert kinds.count("epoch") == 2
    assert kinds.count("started") == 1
    assert kinds.count("resumed") == 3
    assert kinds[-1] == "finished"
    resumed = [event for event in run.events() if event["type"] == "resumed"]
    assert [event["step"] for event in resumed] == [2, 4, 6]
    assert [event["attempt"] for event in resumed] == [2, 3, 4]
    failed = [json.loads(line) for line in text.splitlines() if '"failed"' in line]
    assert all(event["error"] == "the lights went out" for event in failed)
    assert_equal(epochs(run), epochs(whole))


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
    mine, theirs = (evaluate(one.path, bootstrap=0).as_dict() for one in (run, whole))
    assert mine["conditions"] != theirs["conditions"]


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


def test_a_changed_config_is_one_clear_error(store: FeatureStore, whole: RunFolder) -> None:
    config = make_config(store.path, whole.path, **(MASKED | {"seed": 5, "epochs": 9}))
    with pytest.raises(ConfigError) as caught:
        train(config)
    message = str(caught.value)
    assert "epochs: 2 there, 9 now" in message
    assert "seed: 1 there, 5 now" in message
    assert "--run" in message
    swapped = make_config(store.path, whole.path, columns={"audio": "audio", "video": "video"})
    with pytest.raises(ConfigError, match="columns"):
        train(swapped)


@pytest.mark.parametrize("change", ["labels", "rows", "samples", "unlabelled"])
def test_a_changed_store_is_one_clear_error(tmp_path: Path, change: str) -> None:
    store = make_store(tmp_path / "store", num_samples=60, labels={"digit": 2}, shard_size=16)
    config = make_config(store.path, tmp_path / "run", batch_size=12)
    with pytest.raises(PowerCut):
        train(config, progress=failing_at(4, PowerCut()))
    if change == "rows":
        other = make_store(
            tmp_path / "other", num_samples=60, labels={"digit": 2}, shard_size=16, seed=3
        )
        (store.path / "columns" / "audio").rename(tmp_path / "away")
        (other.path / "columns" / "audio").rename(store.path / "columns" / "audio")
    else:
        sample = store.view("test", ["digit"], video="video")[0]
        was = int(str(sample.labels["digit"]))
        digit = {"labels": 1 - was, "samples": was, "unlabelled": None}[change]
        split = "val" if change == "samples" else "test"
        store.update_labels([SampleRow(id=sample.id, split=split, labels={"digit": digit})])
    with pytest.raises(RunStateError, match=r"the store has changed since .*--run"):
        train(config)


def test_resume_needs_a_run(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match="no run"):
        train(make_config(store.path, tmp_path / "run"), resume=True)


def test_a_finished_run_is_left_alone(store: FeatureStore, whole: RunFolder) -> None:
    before = (whole.path / "events.jsonl").read_bytes()
    stamp = whole.last.stat().st_mtime_ns
    train(make_config(store.path, whole.path, **MASKED), resume=True)
    assert (whole.path / "events.jsonl").read_bytes() == before
    assert whole.last.stat().st_mtime_ns == stamp


def test_a_run_is_trained_by_one_process_at_a_time(store: FeatureStore, tmp_path: Path) -> None:
    config = make_config(store.path, tmp_path / "run", epochs=1)
    refused: list[str] = []

    def progress(done: int, total: int, text: str) -> None:
        if done == 2:
            with pytest.raises(RunStateError, match="is being trained by process") as caught:
                train(config)
            refused.append(str(caught.value))
            assert RunFolder(tmp_path / "run").state()["state"] == "running"

    run = train(config, progress=progress)
    assert str(os.getpid()) in refused[0]
    assert run.state()["state"] == "finished"


def test_progress_hears_of_every_step(store: FeatureStore, tmp_path: Path) -> None:
    heard: list[tuple[int, int, str]] = []
    train(
        make_config(store.path, tmp_path / "run", epochs=2),
        progress=lambda done, total, text: heard.append((done, total, text)),
    )
    assert [done for done, _, _ in heard] == list(range(1, TOTAL_STEPS + 1))
    assert {total for _, total, _ in heard} == {TOTAL_STEPS}
    assert [text for _, _, text in heard][3:5] == ["epoch 1", "epoch 2"]


def test_a_checkpoint_is_due_after_some_seconds_too(store: FeatureStore, tmp_path: Path) -> None:
    config = make_config(store.path, tmp_path / "run", checkpoint_every_s=1e-9)
    with pytest.raises(PowerCut):
        train(config, progress=failing_at(3, PowerCut()))
    assert weights(RunFolder(tmp_path / "run"))["step"] == 2


def test_bfloat16_trains_and_resumes(store: FeatureStore, tmp_path: Path) -> None:
    settings = MASKED | {"precision": "bf16"}
    expected = train_small(store.path, tmp_path / "whole", **settings)
    config = make_config(store.path, tmp_path / "run", **settings)
    with pytest.raises(PowerCut):
        train(config, progress=failing_at(6, PowerCut()))
    assert_same_run(train(config), expected)
    plain = train_small(store.path, tmp_path / "plain", epochs=2, masking="bernoulli:0.3")
    assert not torch.equal(
        weights(plain)["model"]["model.head.weight"],
        weights(expected)["model"]["model.head.weight"],
    )


def test_classes_can_weigh_alike(store: FeatureStore, tmp_path: Path) -> None:
    run = train_small(
        store.path, tmp_path / "run", label="fake", where={"digit": 0}, class_weights="balanced"
    )
    assert run.read("task.json")["weights"] is not None
    assert run.state()["state"] == "finished"
