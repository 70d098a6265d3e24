"""`kill -9` in the middle of a table: the same command goes on, and no finished run is done again.

The table is Table 14 over three seeds, one run each; the kill comes when the first run is finished
and the second is being trained.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scfae.store import FeatureStore
from scfae.train.runs import RunFolder

from ..unit.train.reproduce.small_data import paper_store
from ..unit.train.small_runs import assert_same_run

SCFAE = Path(sys.executable).parent / "scfae"

pytestmark = pytest.mark.fault


def command(store: FeatureStore, out: Path, *more: str) -> list[str]:
    words = [str(SCFAE), "reproduce", "table14", "--data", str(store.path), "--out", str(out)]
    words += ["--seeds", "3", "--bootstrap", "10", "--settings", "epochs=12", "batch_size=8"]
    return [*words, "device=cpu", *more]


def runs_of(out: Path) -> dict[str, RunFolder]:
    """Return the runs by seed."""
    found = [path for path in sorted((out / "runs").glob("*seed=*")) if RunFolder.exists(path)]
    return {path.name.partition("seed=")[2][0]: RunFolder(path) for path in found}


def state_of(out: Path, seed: str) -> str:
    run = runs_of(out).get(seed)
    return "" if run is None else str(run.state()["state"])


@pytest.mark.timeout(600)
def test_a_killed_table_goes_on_with_what_is_left(tmp_path: Path) -> None:
    store = paper_store(tmp_path / "store")
    whole, out = tmp_path / "whole", tmp_path / "out"
    subprocess.run(command(store, whole), check=True, capture_output=True)

    process = subprocess.Popen(
        command(store, out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not (state_of(out, "1") == "finished" and state_of(out, "2") == "running"):
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert state_of(out, "2") == "interrupted"
    first = runs_of(out)["1"].path
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*") if path.is_file()}

    subprocess.run(command(store, out), check=True, capture_output=True)
    # Branches are masked once all are trained; nothing else of the first run is touched.
    assert before == {path: path.stat().st_mtime_ns for path in before}
    for seed, run in runs_of(whole).items():
        assert_same_run(runs_of(out)[seed], run)
    tables = [
        json.loads((place / "table14.json").read_text().replace(str(place), ""))
        for place in (whole, out)
    ]
    assert tables[0]["rows"] == tables[1]["rows"]
    assert tables[0]["verdicts"] == tables[1]["verdicts"]
