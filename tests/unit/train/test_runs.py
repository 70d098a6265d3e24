"""A run's folder: made whole or made again, locked by one, its log only appended to."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from scfae.store.errors import RunNotFound, RunStateError
from scfae.train.runs import EventLog, Interrupted, RunFolder, json_line, read_events, write_json

from .small_runs import make_config


def create(path: Path, **settings: Any) -> RunFolder:
    config = make_config("store", path, **settings)
    return RunFolder.create(config, environment={}, columns={"columns": {}}, splits={}, task={})


def test_a_run_exists_with_its_config(tmp_path: Path) -> None:
    assert not RunFolder.exists(tmp_path / "run")
    with pytest.raises(RunNotFound, match=r"no run at .*run: it has no config\.yaml"):
        RunFolder(tmp_path / "run")
    run = create(tmp_path / "run", seed=7)
    assert RunFolder.exists(run.path)
    assert run.config == make_config("store", tmp_path / "run", seed=7)
    assert run.columns == {}


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(RunStateError, match=r"not empty and not a run \(it holds thesis\.tex\)"):
        create(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]
    (tmp_path / "file").write_text("")
    with pytest.raises(RunStateError, match="is a file; a run is a folder"):
        create(tmp_path / "file")


@pytest.mark.parametrize("left", [[], ["environment.json"], ["task.json", ".tmp-1", ".lock"]])
def test_a_kill_while_a_run_is_made_is_mended(tmp_path: Path, left: list[str]) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    for name in left:
        (tmp_path / "run" / name).write_text("half")
    run = create(tmp_path / "run")
    assert run.read("task.json") == {}


def test_states_are_true_also_after_a_kill(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    assert run.state()["state"] == "interrupted"  # killed before it could say anything
    run.write_state("running", step=3, total_steps=9)
    assert run.state()["state"] == "interrupted"  # nobody holds the lock
    with run.lock():
        assert run.is_locked()
        assert run.state()["state"] == "running"
    run.write_state("finished", step=9, total_steps=9)
    assert run.summary() == f"{run.path}: finished, step 9 of 9"


def test_the_lock_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    with run.lock(), pytest.raises(RunStateError, match=f"by process {os.getpid()} on"), run.lock():
        pass
    with run.lock():
        pass


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00"])
def test_a_damaged_document_is_named(tmp_path: Path, text: str) -> None:
    run = create(tmp_path / "run")
    (run.path / "task.json").write_text(text)
    with pytest.raises(RunStateError, match=r"task\.json"):
        run.read("task.json")


def test_a_document_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    with pytest.raises(
        RunStateError, match=r"no .*evaluation\.json: `scfae evaluate .*run` writes"
    ):
        run.read("evaluation.json")
    (run.path / "evaluation.json").write_text("{")
    with pytest.raises(RunStateError, match=r"`scfae evaluate .*run` writes it again"):
        run.read("evaluation.json")
    (run.path / "task.json").unlink()
    with pytest.raises(RunStateError, match=r"no .*task\.json: the run folder is not whole"):
        run.read("task.json")


def test_a_run_inside_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunStateError, match="would lie in a file"):
        create(tmp_path / "file" / "run")


def test_a_log_is_only_appended_to(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.append("started", step=0, epoch=0, device="cpu")
    before = (tmp_path / "events.jsonl").read_bytes()
    log.append("epoch", step=4, epoch=1, name="tä\nst")
    after = (tmp_path / "events.jsonl").read_bytes()
    assert after.startswith(before)
    assert after.count(b"\n") == 2
    assert read_events(tmp_path / "events.jsonl")[1]["name"] == "tä\nst"


def test_what_a_resume_lives_through_again_falls_away(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.append("started", step=0, epoch=0)
    log.append("epoch", step=4, epoch=1)
    log.append("epoch", step=8, epoch=2)
    log.append("resumed", step=6, epoch=1)
    log.append("epoch", step=8, epoch=2, again=True)
    events = read_events(tmp_path / "events.jsonl")
    assert [(e["type"], e["step"]) for e in events] == [
        ("started", 0),
        ("epoch", 4),
        ("resumed", 6),
        ("epoch", 8),
    ]
    assert events[-1]["again"]


@pytest.mark.parametrize("cut", range(1, 30, 4))
def test_a_line_cut_off_by_a_kill_is_skipped_and_closed(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "events.jsonl"
    EventLog(path).append("started", step=0, epoch=0)
    with path.open("a") as file:
        file.write(json_line({"type": "epoch", "step": 4, "epoch": 1})[:cut])
    EventLog(path).append("resumed", step=0, epoch=0)
    assert [event["type"] for event in read_events(path)] == ["started", "resumed"]


def test_no_log_is_no_events(tmp_path: Path) -> None:
    assert read_events(tmp_path / "events.jsonl") == []


def test_documents_hold_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []
    write_json(tmp_path / "x.json", {"value": "ü"})
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {"value": "ü"}


def test_an_interrupt_says_how_to_go_on() -> None:
    stop = Interrupted(15, Path("runs/a"), 12)
    assert str(stop) == (
        "stopped by SIGTERM after step 12, with a checkpoint; "
        "go on with: scfae train --resume runs/a"
    )
