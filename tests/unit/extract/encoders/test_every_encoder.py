"""What every encoder promises of its weights: each key is used, none forgotten, noise marked."""

import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from scfae.extract import Encoder, load_encoder
from scfae.store.errors import WeightsMismatch

from . import official

NAMES = list(official.LAYOUTS)
# Keys that a file may hold and the network does not use.
DROPPED = {
    "efficientnet-lite0": (),
    "ge2e": ("similarity_weight", "similarity_bias"),
    "r2plus1d-18": ("fc.weight", "fc.bias"),
    "r2plus1d-34": ("fc.weight", "fc.bias"),
    "c3d": ("fc8.weight", "fc8.bias"),
    "resnetse34l": ("__L__.w", "__L__.b"),
    "resnetse34v2": ("__L__.w", "__L__.b"),
    "dinov3-vits16": ("mask_token", "rope_embed.periods"),
    "audiomae-vitb": ("head.weight", "head.bias"),
}
# Layers that features do not pass; shifts that the softmax over time takes away.
VOID = {
    "efficientnet-lite0": r"classifier\..*",
    "c3d": r"fc7\..*",
    "resnetse34v2": r"attention\.(2\.bias|2\.running_mean|3\.bias)",
}
SMALL: dict[str, Callable[[], Tensor]] = {
    "efficientnet-lite0": lambda: torch.randn(1, 3, 64, 64),
    "ge2e": lambda: torch.rand(1, 12, 40),
    "r2plus1d-18": lambda: torch.randn(1, 3, 8, 24, 24),
    "r2plus1d-34": lambda: torch.randn(1, 3, 8, 24, 24),
    "c3d": lambda: torch.rand(1, 3, 16, 112, 112),
    "resnetse34l": lambda: torch.randn(1, 6_400),
    "resnetse34v2": lambda: torch.randn(1, 6_400),
    "dinov3-vits16": lambda: torch.randn(1, 3, 32, 32),
    "audiomae-vitb": lambda: torch.randn(1, 1, 1024, 128),
}


@pytest.fixture(scope="module", autouse=True)
def _shallow() -> Iterator[None]:
    with official.shallow():
        yield


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def state(name: str) -> official.State:
    return official.LAYOUTS[name](3)


@pytest.fixture(scope="module")
def file(name: str, state: official.State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return official.save(tmp_path_factory.mktemp(name) / "w.pth", state)


def load(name: str, path: Path) -> Encoder:
    return load_encoder(name, weights=path)


def refusal(name: str, path: Path, document: object) -> str:
    with pytest.raises(WeightsMismatch) as caught:
        load(name, official.save(path, document))
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_every_tensor_of_the_file_lands_in_one_place(
    name: str, state: official.State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Folded into the convolutions afterwards; its own tests compare the numbers.
    monkeypatch.setattr("scfae.extract.encoders.r2plus1d.fold_batch_norms", lambda module: module)
    tags = {key: float(number) for number, key in enumerate(state, start=1)}
    tagged = {key: torch.full_like(state[key], tags[key]) for key in state}
    for key in state:
        if key.endswith("bias_mask"):
            tagged[key] = state[key].clone()
            tagged[key][:384] = tagged[key][768:] = 1.0
    encoder = load(name, official.save(tmp_path / "tagged.pth", tagged))
    found: dict[float, list[str]] = {}
    for place, value in encoder.module.state_dict().items():
        values = value.unique().tolist()
        assert len(values) == 1, f"{place} mixes tensors"
        found.setdefault(values[0], []).append(place)
    for key, tag in tags.items():
        if key in DROPPED[name] or key.endswith("bias_mask"):
            assert tag not in found, key
            continue
        places = found.pop(tag, [])
        # Query and value; the keys' is masked away.
        is_split = key.endswith("qkv.bias") and f"{key}_mask" in state
        assert len(places) == (2 if is_split else 1), (key, places)
    assert found == {}, "not from the file"


def test_all_keys_that_do_not_fit_are_named(
    name: str, state: official.State, tmp_path: Path
) -> None:
    missing, odd, *_ = (k for k in state if "weight" in k and k not in DROPPED[name])
    changed = state | {odd: torch.cat([state[odd]] * 2), "surplus.weight": torch.zeros(3)}
    del changed[missing]
    message = refusal(name, tmp_path / "w.pth", changed)
    assert f"these are not weights of {name}" in message
    assert "1 unknown keys (surplus.weight)" in message
    assert re.search(r"1 keys missing \([\w.]*weight\w*\)", message)
    assert re.search(r"1 shapes differ \([\w.]*weight\w* is \[", message)
    assert str(list(changed[odd].shape)) in message


def test_weights_that_are_no_numbers_are_refused(
    name: str, state: official.State, tmp_path: Path
) -> None:
    key = next(k for k in state if "weight" in k and k not in DROPPED[name])
    damaged = state | {key: state[key].clone()}
    damaged[key].view(-1)[5] = torch.nan
    assert "NaN or infinity" in refusal(name, tmp_path / "w.pth", damaged)


def test_weights_of_another_encoder_are_refused(name: str, tmp_path: Path) -> None:
    other = "ge2e" if name != "ge2e" else "resnetse34l"
    message = refusal(name, tmp_path / "w.pth", official.LAYOUTS[other](0))
    assert f"these are not weights of {name}" in message


def test_loading_keeps_the_global_generator_and_the_mode(name: str, file: Path) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    encoder = load(name, file)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in encoder.module.modules())
    assert not any(parameter.requires_grad for parameter in encoder.module.parameters())
    assert {p.dtype for p in encoder.module.parameters()} == {torch.float32}
    assert not encoder.spec.is_random
    assert encoder.spec.weights == str(file)
    assert len(encoder.spec.weights_sha256 or "") == 64


def groups(module: nn.Module) -> Iterator[tuple[str, list[Tensor]]]:
    """Yield every kind of parameter and buffer, those of all blocks together."""
    found: dict[str, list[Tensor]] = {}
    for key, value in module.state_dict().items():
        if not key.endswith(official.COUNTER):
            group = re.sub(r"^(layer\d+\.\d+|blocks\.\d+(\.\d+)?)\.", "block.", key)
            found.setdefault(group, []).append(value)
    yield from found.items()


def test_every_group_of_weights_changes_the_features(name: str, file: Path) -> None:
    encoder = load(name, file)
    torch.manual_seed(0)
    x = SMALL[name]()

    def outputs() -> tuple[Tensor, Tensor]:
        tokens = encoder.forward(x)
        return tokens, encoder.pool(tokens)

    with torch.inference_mode():
        before = outputs()
        for group, tensors in groups(encoder.module):
            kept = [tensor.clone() for tensor in tensors]
            for tensor in tensors:
                tensor.mul_(1.0 + 0.2 * torch.rand_like(tensor))
            is_void = re.fullmatch(VOID.get(name, "(?!)"), group) is not None
            change = max(
                official.largest(now - then) / official.largest(then)
                for now, then in zip(outputs(), before, strict=True)
            )
            assert (change < 3e-5) == is_void, (group, change)
            for tensor, value in zip(tensors, kept, strict=True):
                tensor.copy_(value)
        assert all(map(torch.equal, outputs(), before))


def test_noise_is_the_same_for_a_seed_and_marked(name: str) -> None:
    first, again, other = (load_encoder(name, weights=f"random:{seed}") for seed in (5, 5, 6))
    mine, same = first.module.state_dict(), again.module.state_dict()
    assert all(torch.equal(mine[key], same[key]) for key in mine)
    others = other.module.state_dict()
    assert any(not torch.equal(mine[key], others[key]) for key in mine)
    assert first.spec.is_random
    assert first.spec.weights == "random:5"
    assert first.spec.weights_sha256 is None
    torch.manual_seed(0)
    x = SMALL[name]()
    with torch.inference_mode():
        a, b, c = (encoder.pool(encoder.forward(x)) for encoder in (first, again, other))
    assert a.shape == (1, first.spec.dim)
    assert torch.isfinite(a).all()
    assert torch.equal(a, b)
    assert official.largest(a - c) > 1e-4 * official.largest(a)


def test_decoding_children_need_no_torch() -> None:
    recipes = []
    for name in [*NAMES, "videomaev2-s", "wavlm-base", "timm:resnet18"]:
        encoder = load_encoder(name, weights="random:0")
        recipes += [encoder.recipe(kind) for kind in encoder.spec.accepts]
    code = (
        "import pickle, sys, numpy as np, scfae.extract.media;"
        "from scfae.extract.recipe import AudioChunk, StreamInfo, VideoFrame\n"
        f"for recipe in pickle.loads({pickle.dumps(recipes)!r}):\n"
        "    cutter = recipe.begin(StreamInfo(recipe.kind))\n"
        "    if recipe.kind != 'audio':\n"
        "        cutter.push(VideoFrame(np.zeros((20, 30, 3), np.uint8), 0.0, 0.1))\n"
        "    else:\n"
        "        cutter.push(AudioChunk(np.ones(recipe.sample_rate_hz, np.float32), 0.0))\n"
        "    assert cutter.end() or recipe.kind != 'audio'\n"
        "assert 'torch' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
