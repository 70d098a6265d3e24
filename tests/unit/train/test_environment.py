"""What a run ran on is written down, and what changed is told."""

import copy
import json
import random
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from scfae.extract.device import choose_device
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError
from scfae.train.environment import _commit, changes, environment
from scfae.train.seeding import seed_everything


def test_versions_machine_and_threads_are_there() -> None:
    record = environment("cpu")
    assert record["versions"]["torch"] == version("torch")
    assert {"python", "scfae", "numpy"} <= set(record["versions"])
    assert record["machine"]["device"] == "cpu"
    assert record["machine"]["gpu"] is None
    assert record["threads"] == torch.get_num_threads()
    json.dumps(record)


def test_what_changed_is_told_as_was_and_is() -> None:
    before = environment("cpu")
    now = copy.deepcopy(before)
    assert changes(before, now) == {}
    now["versions"]["torch"] = "99.0"
    now["threads"] += 1
    now["commit"] = "f" * 40
    assert changes(before, now) == {
        "versions.torch": [before["versions"]["torch"], "99.0"],
        "threads": [before["threads"], before["threads"] + 1],
        "commit": [before["commit"], "f" * 40],
    }


def test_the_commit_is_the_checkouts(tmp_path: Path) -> None:
    assert _commit(tmp_path) is None

    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    assert _commit(tmp_path) is None
    git("commit", "--quiet", "--allow-empty", "-m", "one")
    assert _commit(tmp_path) == git("rev-parse", "HEAD")


def test_a_device_that_is_not_here_is_named() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ConfigError, match=r"device = 'cuda:99': this machine has \d+ CUDA devices"):
        choose_device("cuda:99")
    for name in ("abacus", "cuda:x", "xpu:99", ""):
        with pytest.raises(ConfigError, match=f"device = '{name}': this machine has no such"):
            choose_device(name)


def test_a_seed_decides_every_generator() -> None:
    def draw() -> list[float]:
        return [float(torch.rand(())), float(np.random.rand()), random.random()]

    seed_everything(4)
    first = draw()
    seed_everything(4)
    assert draw() == first
    seed_everything(5)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_what_is_imported_in_training_draws_nothing(store: FeatureStore, tmp_path: Path) -> None:
    """A process's first run and its later ones leave the same generators behind."""
    code = (
        "import sys; from scfae.train import load_config, train; import torch; "
        "settings = dict(store=sys.argv[1], columns={'video': 'video', 'audio': 'audio'}, "
        "label='fake', task='binary', epochs=1, device='cpu', trackers=[]); "
        "runs = [train(load_config(None, settings | {'run': one})) for one in sys.argv[2:]]; "
        "states = [torch.load(run.last, weights_only=True)['rng'][0]['python'] for run in runs]; "
        "assert states[0] == states[1]"
    )
    places = [str(tmp_path / "first"), str(tmp_path / "second")]
    words = [sys.executable, "-c", code, str(store.path), *places]
    result = subprocess.run(words, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
