"""A trained model comes back from its folder, or it is said why not."""

import shutil
from pathlib import Path

import pytest
import torch

from scfae.store.errors import CheckpointError, ConfigError, RunNotFound, RunStateError
from scfae.train.loading import load_run
from scfae.train.runs import RunFolder

from .small_runs import weights


def test_best_and_last_are_the_checkpoints(finished: RunFolder) -> None:
    for which in ("best", "last"):
        loaded = load_run(finished.path, which=which)
        state = weights(finished, f"{which}.pt")
        assert (loaded.step, loaded.epoch) == (state["step"], state["epoch"])
        for name, value in loaded.model.state_dict().items():
            assert torch.equal(value, state["model"][name])
        assert not loaded.model.training
    assert list(loaded.columns) == ["video", "audio"]
    assert loaded.task.classes == (0, 1, 2)


def test_a_folder_may_be_moved(finished: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(finished.path, tmp_path / "moved")
    loaded = load_run(tmp_path / "moved")
    assert loaded.config.loop.run == str(tmp_path / "moved")


def test_what_is_not_there_is_named(finished: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match="no run at"):
        load_run(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy)
    (copy / "checkpoints" / "best.pt").unlink()
    again = r"train again: `scfae train .*config\.yaml --run OTHER`"
    with pytest.raises(CheckpointError, match=r"no checkpoint .*best\.pt.*" + again):
        load_run(copy)
    (copy / "checkpoints" / "best.pt").write_bytes(b"PK cut off")
    with pytest.raises(CheckpointError, match="is not a whole checkpoint.*" + again):
        load_run(copy)


def test_a_setting_in_a_runs_config_that_is_none_is_named_with_its_file(
    finished: RunFolder, tmp_path: Path
) -> None:
    shutil.copytree(finished.path, tmp_path / "copy")
    with open(tmp_path / "copy" / "config.yaml", "a") as file:
        file.write("nosuch: 3\n")
    with pytest.raises(ConfigError, match=r"copy/config\.yaml cannot be used:\n  nosuch = 3"):
        load_run(tmp_path / "copy")


def test_weights_of_another_config_are_refused(finished: RunFolder, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy)
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(config.replace("epochs: 8", "epochs: 80"))
    with pytest.raises(CheckpointError, match=r"written under another config\.yaml"):
        load_run(copy)


def test_weights_of_another_shape_are_refused(finished: RunFolder, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy)
    state = weights(finished, "best.pt")
    state["model"]["model.head.bias"] = torch.zeros(9)
    torch.save(state, copy / "checkpoints" / "best.pt")
    with pytest.raises(CheckpointError, match=r"does not fit the model: .*head\.bias"):
        load_run(copy)


@pytest.mark.parametrize("text", ["loop: [", "- 1\n", "data: {}\n"])
def test_a_damaged_config_is_named(finished: RunFolder, tmp_path: Path, text: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy)
    (copy / "config.yaml").write_text(text)
    with pytest.raises(RunStateError, match=r"config\.yaml is damaged"):
        load_run(copy)
