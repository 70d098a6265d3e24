"""MLflow and W&B hold what events.jsonl holds; whatever becomes of them, the run is the same."""

import json
import logging
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb.proto import wandb_internal_pb2

from scfae.store import FeatureStore
from scfae.store.errors import ConfigError
from scfae.train import trackers
from scfae.train.loop import train
from scfae.train.runs import RunFolder
from scfae.train.trackers import background, check_trackers, flat_figures, plain_name
from scfae.train.trackers.identity import identity
from scfae.train.trackers.to_mlflow import TAG

from .small_runs import (
    MASKED,
    PowerCut,
    assert_same_run,
    epochs,
    failing_at,
    make_config,
    signalling_at,
)

pb: Any = wandb_internal_pb2


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """MLflow's, which it takes seconds to make."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture(autouse=True)
def places(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep both on this machine."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    yield
    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.NOTSET)


def mlflow_run(run: RunFolder) -> tuple[Any, dict[str, list[tuple[int, float]]]]:
    """Return MLflow's only run of a folder, and its curves."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("scfae")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    mine = [one for one in found if one.data.tags[TAG] == identity(run)["id"]]
    assert len(mine) == 1
    run_id = mine[0].info.run_id
    return mine[0], {
        name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
        for name in mine[0].data.metrics
    }


def records(path: Path) -> Iterator[bytes]:
    """Return the records of a .wandb file: LevelDB's log format after a header of seven bytes."""
    content, place, record = path.read_bytes(), 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def wandb_rows(run: RunFolder) -> list[dict[str, Any]]:
    """Return the rows of history that W&B's files of a folder hold, all attempts together."""
    rows = []
    for path in sorted(run.path.glob("wandb/offline-run-*/*.wandb")):
        assert path.stem == f"run-{identity(run)['id']}"
        for content in records(path):
            record: Any = pb.Record()
            record.ParseFromString(content)
            if record.WhichOneof("record_type") == "history":
                row = {i.key or "/".join(i.nested_key): i.value_json for i in record.history.item}
                rows.append({name: json.loads(value) for name, value in row.items()})
    return rows


def expected(run: RunFolder) -> dict[int, float]:
    return {event["step"]: event["val"]["balanced_accuracy"] for event in epochs(run)}


def test_both_hold_the_curves(store: FeatureStore, tmp_path: Path) -> None:
    run = train(make_config(store.path, tmp_path / "run", trackers="mlflow, wandb"))
    assert not (run.path / "tensorboard").exists()
    theirs, curves = mlflow_run(run)
    assert theirs.info.status == "FINISHED"
    assert theirs.data.params["lr"] == "0.01"
    assert dict(curves["val/balanced_accuracy"]) == expected(run)
    assert [step for step, _ in curves["train/loss"]] == [4, 8, 12]
    rows = wandb_rows(run)
    assert {row["_step"]: row["val/balanced_accuracy"] for row in rows} == expected(run)


def test_a_resumed_run_is_one_run_with_each_step_once(
    store: FeatureStore, whole: RunFolder, tmp_path: Path
) -> None:
    settings = MASKED | {"checkpoint_every_steps": None, "epochs": 3, "trackers": "mlflow,wandb"}
    config = make_config(store.path, tmp_path / "run", **settings)
    for step in (7, 9):
        with pytest.raises(PowerCut):
            train(config, progress=failing_at(step, PowerCut()))
        theirs, _ = mlflow_run(RunFolder(tmp_path / "run"))
        assert theirs.info.status == "FAILED"
    # As after a kill before the checkpoint: both have seen what is lived through again.
    (tmp_path / "run" / "checkpoints" / "last.pt").unlink()
    (tmp_path / "run" / "checkpoints" / "best.pt").unlink()
    run = train(config)
    theirs, curves = mlflow_run(run)
    assert theirs.info.status == "FINISHED"
    assert curves["val/balanced_accuracy"] == list(expected(run).items())
    rows = wandb_rows(run)
    assert [row["_step"] for row in rows] == [4, 8, 12]


def test_a_stopped_run_says_so(store: FeatureStore, tmp_path: Path) -> None:
    from scfae.train.runs import Interrupted

    config = make_config(store.path, tmp_path / "run", trackers=["mlflow"])
    with pytest.raises(Interrupted):
        train(config, progress=signalling_at(5))
    assert mlflow_run(RunFolder(tmp_path / "run"))[0].info.status == "KILLED"


def test_a_tracker_that_cannot_be_reached_is_a_warning_once(
    store: FeatureStore,
    whole: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    config = make_config(store.path, tmp_path / "run", **MASKED, trackers="mlflow")
    with caplog.at_level(logging.WARNING, "scfae.train"):
        run = train(config)
    said = [text for text in caplog.messages if "does not get this run's figures" in text]
    assert len(said) == 1
    assert said[0].startswith("mlflow does not")
    assert "the run goes on" in said[0]
    assert_same_run(run, whole)


def test_without_a_key_wandb_is_a_warning_and_asks_nobody(
    store: FeatureStore, tmp_path: Path
) -> None:
    words = ["train", "--store", str(store.path), "--columns", "video=video", "--label", "digit"]
    words += ["--epochs", "1", "--trackers", "wandb", "--run", str(tmp_path / "run")]
    scfae = str(Path(sys.executable).parent / "scfae")
    names = [name for name in os.environ if not name.startswith("WANDB")]
    environment = {name: os.environ[name] for name in names} | {"HOME": str(tmp_path)}
    result = subprocess.run([scfae, *words], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("wandb does not get this run's figures any more") == 1
    assert "No API key" in result.stderr


def test_a_slow_tracker_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow:
        def figures(self, step: int, figures: Any) -> None:
            time.sleep(3)

        def end(self, state: str) -> None:
            raise AssertionError("nobody waits for this")

    monkeypatch.setattr(background, "PATIENCE_S", 0.2)
    begun_s = time.monotonic()
    tracker = background.Background("slow", Slow)
    tracker.figures(1, {"loss": 1.0})
    tracker.close("finished")
    assert time.monotonic() - begun_s < 2
    assert "it took longer than" in caplog.text


def test_where_figures_go_is_no_part_of_what_a_run_is(
    store: FeatureStore, finished: RunFolder, tmp_path: Path
) -> None:
    config = finished.config
    other = config.with_loop(trackers=("mlflow",))
    assert config.digest() == other.digest()
    assert config.differences(other) == {}
    assert make_config("s", tmp_path, trackers="none").loop.trackers == ()
    with pytest.raises(ConfigError, match=r"trackers.*'tensorboard', 'mlflow' or 'wandb'"):
        make_config("s", tmp_path, trackers="clearml")


def test_an_absent_extra_is_named(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"wandb needs the extra: pip install 'scfae\[wandb\]'"):
        train(make_config(store.path, tmp_path / "run", trackers="wandb"))
    assert not (tmp_path / "run").exists()
    check_trackers(("tensorboard",))


def test_names_are_such_as_every_tracker_takes() -> None:
    assert flat_figures({"val": {"map@10": 0.5, "n": 3}, "lr": 0.1}) == {
        "val/map@10": 0.5,
        "lr": 0.1,
    }
    assert plain_name("val/map@10") == "val/map_at_10"
