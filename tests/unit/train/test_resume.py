"""A stop at any instant leaves no trace: the same weights, events and evaluation in the end."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from scfae.store import FeatureStore, SampleRow, collect_garbage
from scfae.store.errors import ColumnPinned, ConfigError, RunNotFound, RunStateError
from scfae.store.testing import make_store
from scfae.store.writer import ShardSample
from scfae.train import keeper
from scfae.train.checkpoint import save_checkpoint
from scfae.train.loop import train
from scfae.train.runs import Interrupted, RunFolder

from .small_runs import (
    MASKED,
    STEPS_PER_EPOCH,
    PowerCut,
    assert_equal,
    assert_same_run,
    epochs,
    failing_at,
    make_config,
    signalling_at,
    train_small,
    weights,
)

TOTAL_STEPS = 2 * STEPS_PER_EPOCH


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
        patch.setattr(keeper, "save_checkpoint", cut)
        try:
            train(config)
        except PowerCut:
            pass
        else:
            assert name == "best.pt"  # selected less often than `count`
    assert_same_run(train(config), whole)


@pytest.mark.parametrize("is_cut", [False, True])
def test_the_selected_weights_are_those_of_their_epoch_though_it_wrote_no_checkpoint(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_cut: bool
) -> None:
    settings = MASKED | {"checkpoint_every_steps": 3}
    with pytest.raises(Interrupted):
        train(make_config(store.path, tmp_path / "a", **settings), progress=signalling_at(4))
    first_epoch = weights(RunFolder(tmp_path / "a"))["model"]

    monkeypatch.setattr(keeper, "MOST_SAVING", 1e9)  # as if a checkpoint took very long
    config = make_config(store.path, tmp_path / "b", **settings)
    if is_cut:

        def cut(path: Path, state: dict[str, Any]) -> None:
            if path.name == "best.pt":
                raise PowerCut
            save_checkpoint(path, state)

        with monkeypatch.context() as patch:
            patch.setattr(keeper, "save_checkpoint", cut)
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

    assert train(config, progress=signalling_at(STEPS_PER_EPOCH)).state()["state"] == "finished"


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
        view = store.view(None, audio="audio")
        info = store.column("audio").info
        places = {int(index): i for i, index in enumerate(view.indices)}
        with store.add_column(info, replace=True) as writer:
            for shard in range(store.samples.num_shards):
                samples = [view[places[int(index)]] for index in store.samples.rows_of(shard)]
                writer.commit(
                    shard,
                    [
                        ShardSample(rows=one.features["audio"] + 1.0, times=one.times["audio"])
                        for one in samples
                    ],
                )
    else:
        sample = store.view("test", ["digit"], video="video")[0]
        was = int(str(sample.labels["digit"]))
        digit = {"labels": 1 - was, "samples": was, "unlabelled": None}[change]
        split = "val" if change == "samples" else "test"
        store.update_labels([SampleRow(id=sample.id, split=split, labels={"digit": digit})])
    with pytest.raises(RunStateError, match=r"the store has changed since .*--run"):
        train(config)


def test_a_run_pins_what_it_reads_as_long_as_its_folder_is_there(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", num_samples=60, labels={"digit": 2}, shard_size=16)
    run = train(make_config(store.path, tmp_path / "run", batch_size=12))
    for name in ("audio", "video"):
        with pytest.raises(ColumnPinned, match=f"the run {run.path}"):
            store.drop_column(name)
    shutil.rmtree(run.path)
    collect_garbage(store, grace_s=0, is_deleting=True)
    store.drop_column("audio")


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
