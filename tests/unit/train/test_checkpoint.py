"""Checkpoints are whole or refused, and hold no code."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from scfae.store.errors import CheckpointError
from scfae.train.checkpoint import load_checkpoint, restore_rng, rng_state, save_checkpoint


def test_round_trip_of_tensors_and_plain_values(tmp_path: Path) -> None:
    state = {"model": {"w": torch.arange(6.0).view(2, 3)}, "step": 3, "best": {"value": 0.1}}
    save_checkpoint(tmp_path / "last.pt", state)
    loaded = load_checkpoint(tmp_path / "last.pt")
    assert torch.equal(loaded["model"]["w"], state["model"]["w"])  # type: ignore[index]
    assert (loaded["step"], loaded["best"]) == (3, {"value": 0.1})
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_generators_go_back(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.pt", {"rng": rng_state()})

    def draw() -> list[float]:
        return [float(torch.rand(())), float(np.random.rand()), random.random()]

    first = draw()
    assert draw() != first
    restore_rng(load_checkpoint(tmp_path / "last.pt")["rng"])
    assert draw() == first


def test_gaussian_spare_of_numpy_and_python_goes_back() -> None:
    np.random.randn()
    random.gauss()
    state = rng_state()
    first = (np.random.randn(), random.gauss())
    restore_rng(state)
    assert (np.random.randn(), random.gauss()) == first


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_cut_off_file_is_refused(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"model": {"w": torch.randn(100)}})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(CheckpointError, match=r"last\.pt"):
        load_checkpoint(path)


def test_flipped_byte_of_a_weight_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    weight = torch.arange(1000, dtype=torch.int64)
    save_checkpoint(path, {"w": weight})
    content = bytearray(path.read_bytes())
    place = content.find(weight.numpy().tobytes()[800:1600])
    assert place > 0
    content[place + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="checksum"):
        load_checkpoint(path)


def test_missing_foreign_and_newer_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_checkpoint(tmp_path / "nothing.pt")
    torch.save({"w": torch.zeros(2)}, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of scfae"):
        load_checkpoint(tmp_path / "foreign.pt")
    torch.save({"format": 99}, tmp_path / "newer.pt")
    with pytest.raises(CheckpointError, match="upgrade"):
        load_checkpoint(tmp_path / "newer.pt")


def test_code_is_refused(tmp_path: Path) -> None:
    torch.save({"format": 1, "hook": Path("x")}, tmp_path / "code.pt")
    with pytest.raises(CheckpointError, match="more than tensors"):
        load_checkpoint(tmp_path / "code.pt")
