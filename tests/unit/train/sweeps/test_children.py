"""A process that runs cells: one after the other, each with its log, none after a failure."""

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from scfae.store import FeatureStore
from scfae.train.evaluation import EVALUATION_FILE
from scfae.train.runs import RunFolder
from scfae.train.sweeps.children import Child
from scfae.train.sweeps.plan import Cell
from scfae.train.sweeps.running import LOGS

from ..small_runs import BOOTSTRAP, assert_same_run, make_config


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    (tmp_path / "sweep").mkdir()
    one = Child(tmp_path / "sweep" / LOGS, BOOTSTRAP, None)
    yield one
    one.signal(signal.SIGKILL)
    with suppress(BrokenPipeError):
        one.end()


def cell_of(store: FeatureStore, tmp_path: Path, name: str, **settings: object) -> Cell:
    config = make_config(store.path, tmp_path / "sweep" / name, **settings)
    return Cell(name, {}, config.loop.seed, config)


def test_one_process_runs_many_cells(store: FeatureStore, tmp_path: Path, child: Child) -> None:
    for name in ("a", "b"):
        child.run(cell_of(store, tmp_path, name, epochs=2))
        assert child.failure() is None
        assert not child.has_ended()
        assert (tmp_path / "sweep" / name / EVALUATION_FILE).is_file()
        assert (tmp_path / "sweep" / LOGS / f"{name}.log").is_file()
    assert_same_run(*(RunFolder(tmp_path / "sweep" / name) for name in ("a", "b")))
    child.end()
    assert child.has_ended()


def test_a_failure_ends_it(store: FeatureStore, tmp_path: Path, child: Child) -> None:
    child.run(cell_of(store, tmp_path, "a", label="nothing"))
    assert "nothing" in str(child.failure())
    assert child.has_ended()


def test_one_that_dies_is_told(store: FeatureStore, tmp_path: Path, child: Child) -> None:
    child.run(cell_of(store, tmp_path, "a", epochs=5000))
    while not (tmp_path / "sweep" / "a" / "events.jsonl").exists():
        time.sleep(0.05)
    child.signal(signal.SIGKILL)
    assert child.failure() == "its process ended with killed by SIGKILL; see logs/a.log."


def test_nothing_is_begun_for_a_sweep_that_is_gone(
    store: FeatureStore, tmp_path: Path, child: Child
) -> None:
    child.run(cell_of(store, tmp_path, "a", epochs=5000))
    child.end()  # while the process is still starting
    assert not (tmp_path / "sweep" / "a" / "events.jsonl").exists()


def test_a_run_stops_where_its_sweep_is_gone(
    store: FeatureStore, tmp_path: Path, child: Child
) -> None:
    child.run(cell_of(store, tmp_path, "a", epochs=5000))
    run = tmp_path / "sweep" / "a"
    while not (run / "checkpoints" / "last.pt").exists():
        time.sleep(0.05)
    child.end()
    assert RunFolder(run).state()["state"] == "interrupted"
    assert "stopped by SIGTERM" in (tmp_path / "sweep" / LOGS / "a.log").read_text()
