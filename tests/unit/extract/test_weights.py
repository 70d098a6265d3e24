"""Weights files: where they are looked for, what is refused, and that nothing in them is run."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from scfae.extract import list_encoders, load_encoder
from scfae.extract.published import find_in_hub, find_in_package
from scfae.extract.weights import State, build_random, find_weights, load_strict, read_state
from scfae.store.errors import ConfigError, WeightsMismatch, WeightsUnavailable

STATE: State = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


def save(path: Path, document: Any) -> Path:
    torch.save(document, path)
    return path


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


class Bomb:
    """A pickle that makes a file where it is loaded as pickles are."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


WRAPPINGS: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "model": lambda state: {"model": state, "epoch": 3},
    "module": lambda state: {"module": state},
    "state_dict": lambda state: {"state_dict": state},
    "model_state": lambda state: {"model_state": state, "step": 1},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer": {"lr": 1}},
    "module.": lambda state: {f"module.{key}": value for key, value in state.items()},
    "twice": lambda state: {
        "state_dict": {"model": {f"module.{key}": value for key, value in state.items()}}
    },
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_state_is_found_in_its_wrapper(tmp_path: Path, wrapping: str) -> None:
    assert same(read_state(save(tmp_path / "w.pth", WRAPPINGS[wrapping](STATE))), STATE)


def test_safetensors_and_the_old_torch_format_are_read(tmp_path: Path) -> None:
    save_file(dict(STATE), tmp_path / "w.safetensors")
    assert same(read_state(tmp_path / "w.safetensors"), STATE)
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(read_state(tmp_path / "old.pth"), STATE)


def test_a_layer_called_model_is_no_wrapper(tmp_path: Path) -> None:
    state = {"model": torch.ones(2), "other": torch.ones(3)}
    assert same(read_state(save(tmp_path / "w.pth", state)), state)


@pytest.mark.parametrize("depth", ["bare", "in a wrapper"])
@pytest.mark.parametrize("form", ["torch", "old torch", "pickle"])
def test_nothing_in_a_weights_file_is_run(tmp_path: Path, form: str, depth: str) -> None:
    target = tmp_path / "touched"
    document: Any = {"a.weight": Bomb(target)}
    if depth == "in a wrapper":
        document = {"model": document}
    path = tmp_path / "w.pth"
    if form == "pickle":
        path.write_bytes(pickle.dumps(document, protocol=2))
    else:
        torch.save(document, path, _use_new_zipfile_serialization=form == "torch")
    with pytest.raises(WeightsMismatch, match=r"w\.pth.*more than tensors, which is not loaded"):
        read_state(path)
    assert not target.exists()
    pickle.loads(pickle.dumps(Bomb(target)))  # the bomb is a real one
    assert target.exists()


def _cut(path: Path) -> Path:
    save(path, {"a": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:1500])
    return path


def _text(path: Path) -> Path:
    path.write_text("<html>you are not logged in</html>")
    return path


def _empty(path: Path) -> Path:
    path.touch()
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _noise(path: Path) -> Path:
    path.write_bytes(bytes(range(256)) * 20)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("make", [_cut, _text, _empty, _folder, _noise])
def test_unreadable_files_are_refused_in_one_sentence(
    tmp_path: Path, make: Callable[[Path], Path], suffix: str
) -> None:
    path = make(tmp_path / f"w{suffix}")
    with pytest.raises(WeightsMismatch) as caught:
        read_state(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))


def test_a_file_of_something_else_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")  # torch says no more of it than 101
    with pytest.raises(WeightsMismatch, match="it is no file of torch or safetensors"):
        read_state(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "no named tensors"),
        ([torch.ones(2)], "no named tensors"),
        (torch.ones(2), "no named tensors"),
        ({"a": torch.ones(2), "epoch": 3}, "'epoch' is no tensor"),
        ({"model": {"a": torch.ones(2), "nested": {"b": 1}}}, "'nested' is no tensor"),
    ],
)
def test_what_holds_no_named_tensors_is_refused(tmp_path: Path, document: Any, says: str) -> None:
    with pytest.raises(WeightsMismatch, match=says):
        read_state(save(tmp_path / "w.pth", document))


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_strict_loading_fills_everything(tmp_path: Path) -> None:
    source, target = build_random(network, 1), build_random(network, 2)
    load_strict(target, source.state_dict(), path=tmp_path, encoder="net")
    assert same(target.state_dict(), source.state_dict())


def test_only_the_counter_of_batches_may_be_missing(tmp_path: Path) -> None:
    state = build_random(network, 1).state_dict()
    del state["1.num_batches_tracked"]
    load_strict(network(), state, path=tmp_path, encoder="net")
    del state["1.running_mean"]
    with pytest.raises(WeightsMismatch, match=r"net: 1 keys missing \(1\.running_mean\)\."):
        load_strict(network(), state, path=tmp_path, encoder="net")


def test_only_listed_prefixes_are_dropped(tmp_path: Path) -> None:
    state = build_random(network, 1).state_dict() | {f"head.{i}": torch.zeros(1) for i in range(5)}
    load_strict(network(), state, path=tmp_path, encoder="net", drop=("head.",))
    with pytest.raises(WeightsMismatch, match=r"5 unknown keys \(head\.0, head\.1, head\.2, …\)"):
        load_strict(network(), state, path=tmp_path, encoder="net")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    state: dict[str, Tensor] = dict(build_random(network, 1).state_dict())
    state["0.bias"] = torch.full((4,), value)
    with pytest.raises(WeightsMismatch, match=r"NaN or infinity in 0\.bias"):
        load_strict(network(), state, path=tmp_path, encoder="net")


def test_half_precision_files_are_taken_in_float32(tmp_path: Path) -> None:
    state = {k: v.half() for k, v in build_random(network, 1).state_dict().items()}
    target = network()
    load_strict(target, state, path=tmp_path, encoder="net")
    assert {p.dtype for p in target.parameters()} == {torch.float32}


def test_published_weights_are_found_under_torch_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "baseline_lite_ap.model"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert find_in_hub(name) is None
    assert not {e.name: e.is_available for e in list_encoders()}["resnetse34l"]
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    seed = load_encoder("resnetse34l@random:3").module.state_dict()
    save(folder / name, {f"__S__.{key}": value for key, value in seed.items()})
    assert find_in_hub(name) == folder / name
    assert {e.name: e.is_available for e in list_encoders()}["resnetse34l"]
    encoder = load_encoder("resnetse34l")
    assert same(encoder.module.state_dict(), seed)
    assert encoder.spec.weights == "published"
    assert not encoder.spec.is_random
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    os.renames(folder / name, tmp_path / "cache" / "torch" / "hub" / "checkpoints" / name)
    assert load_encoder("resnetse34l").spec.weights_sha256 == encoder.spec.weights_sha256


def test_missing_weights_name_the_file_and_where_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for info in list_encoders():
        if info.is_available:
            continue
        with pytest.raises(WeightsUnavailable) as caught:
            load_encoder(info.name)
        message = str(caught.value)
        assert info.weights_file in message
        assert "TORCH_HOME/hub/checkpoints" in message
        assert f"{info.name}@random:0" in message


def test_packages_are_searched_and_not_imported() -> None:
    assert find_in_package("no_such_package_at_all", "w.pt") is None
    assert find_in_package("resemblyzer", "no_such_file.pt") is None
    assert find_in_package("resemblyzer", "pretrained.pt") is not None


@pytest.mark.parametrize("seed", ["", "x", "-1", "1.5", "0x1"])
def test_a_seed_is_a_whole_number(seed: str) -> None:
    with pytest.raises(ConfigError, match=f"net@random:{seed}: the seed must be a whole number"):
        find_weights("net", f"random:{seed}", find=lambda: None, hint="")


def test_a_path_that_is_no_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.pth"):
        with pytest.raises(WeightsUnavailable, match=f"net: there is no weights file at {path}"):
            find_weights("net", str(path), find=lambda: None, hint="")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = save(tmp_path / "w.pth", STATE)
    assert find_weights("net", "~/w.pth", find=lambda: None, hint="").path == path
