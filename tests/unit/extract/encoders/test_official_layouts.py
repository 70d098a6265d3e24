"""Weights files in the official layouts: every key accounted for, the reference's numbers."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models.video import r2plus1d_18

from scfae.extract import load_encoder
from scfae.extract.encoders.resnetse import ResNetSE34L, ResNetSE34V2
from scfae.store.errors import WeightsMismatch

State = dict[str, Tensor]


def randomised(module: nn.Module, seed: int = 0) -> State:
    """Return a state with every norm, bias and running statistic away from its initial value."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, value in module.state_dict().items():
        if not value.is_floating_point() or key.startswith("torchfb."):
            state[key] = value
            continue
        noise = torch.randn(value.shape, generator=generator)
        fan_in = max(1, value[0].numel()) if value.dim() > 1 else 25
        state[key] = noise.abs() + 0.5 if key.endswith("running_var") else noise / fan_in**0.5
    return state


def save(path: Path, document: Any) -> Path:
    torch.save(document, path)
    return path


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


WRAPPERS: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "module.": lambda state: prefixed(state, "module."),
    "model": lambda state: {"model": state, "epoch": 3},
    "state_dict": lambda state: {"state_dict": prefixed(state, "module.")},
}


@pytest.fixture(scope="module")
def r2plus1d() -> nn.Module:
    module: nn.Module = r2plus1d_18(weights=None).eval()
    module.load_state_dict(randomised(module))
    return module


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_r2plus1d_is_torchvisions(r2plus1d: nn.Module, wrapper: str, tmp_path: Path) -> None:
    file = save(tmp_path / "w.pth", WRAPPERS[wrapper](r2plus1d.state_dict()))
    encoder = load_encoder("r2plus1d-18", weights=file)
    clip = torch.randint(0, 256, (1, 3, 16, 112, 112), dtype=torch.uint8)
    features: list[Tensor] = []
    handle = r2plus1d.avgpool.register_forward_hook(  # type: ignore[union-attr]
        lambda _module, _inputs, output: features.append(output.flatten(1))
    )
    with torch.inference_mode():
        x = encoder.prepare(clip)
        r2plus1d(x)
        pooled = encoder.pool(encoder.forward(x))
    handle.remove()
    assert pooled.shape == (1, 512)
    assert (pooled - features[0]).abs().max() <= 2e-5 * features[0].abs().max()
    assert not encoder.spec.is_random
    assert len(encoder.spec.weights_sha256 or "") == 64


def test_dinov3_multiplies_its_bias_by_the_mask(tmp_path: Path) -> None:
    reference: Any = timm.create_model(
        "vit_small_patch16_dinov3_qkvb", pretrained=False, global_pool="token", num_classes=0
    ).eval()
    state = randomised(reference)
    upstream: State = {}
    for key, value in state.items():
        key = key.replace("reg_token", "storage_tokens").replace("gamma_", "ls")
        key = key + ".gamma" if key.endswith((".ls1", ".ls2")) else key
        if ".q_bias" in key or ".v_bias" in key or ".k_bias" in key:
            continue
        upstream[key] = value
    dim = 384
    for block in range(12):
        bias = torch.randn(3 * dim)
        mask = torch.ones(3 * dim)
        mask[dim : 2 * dim] = 0.0
        mask[:7] = 0.0
        upstream[f"blocks.{block}.attn.qkv.bias"] = bias
        upstream[f"blocks.{block}.attn.qkv.bias_mask"] = mask
        state[f"blocks.{block}.attn.q_bias"] = (bias * mask)[:dim]
        state[f"blocks.{block}.attn.v_bias"] = (bias * mask)[2 * dim :]
    upstream["mask_token"] = torch.zeros(1, dim)
    upstream["rope_embed.periods"] = torch.ones(16)
    reference.load_state_dict(state)
    encoder = load_encoder("dinov3-vits16", weights=save(tmp_path / "dinov3.pth", upstream))
    x = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        tokens = encoder.forward(x)
        assert torch.equal(tokens, reference.forward_features(x))
        assert torch.equal(encoder.pool(tokens), reference(x))
    assert tokens.shape == (2, 1 + 4 + 4 * 6, dim)


def test_efficientnet_is_timms_and_the_packages_file_is_the_published_one(tmp_path: Path) -> None:
    reference: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    reference.load_state_dict(randomised(reference))
    file = save(tmp_path / "lite0.pth", reference.state_dict())
    encoder = load_encoder("efficientnet-lite0", weights=file)
    x = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        expected = reference.global_pool(reference.forward_features(x))
        pooled = encoder.pool(encoder.forward(x))
    assert torch.allclose(pooled, expected, rtol=1e-4, atol=1e-5)
    published = load_encoder("efficientnet-lite0")
    assert published.spec.weights == "published"
    assert not published.spec.is_random


@pytest.mark.parametrize(
    ("name", "kind"), [("resnetse34l", ResNetSE34L), ("resnetse34v2", ResNetSE34V2)]
)
def test_resnetse_reads_the_trainers_files(
    name: str, kind: type[nn.Module], tmp_path: Path
) -> None:
    state = randomised(kind())
    official = prefixed(state, "__S__.") | {"__L__.fc.weight": torch.zeros(5, 512)}
    sound = torch.randn(2, 24_000)
    encoders = [
        load_encoder(name, weights=save(tmp_path / f"{i}.model", document))
        for i, document in enumerate((official, {"model_state_dict": state, "epoch": 1}))
    ]
    with torch.inference_mode():
        one, other = (encoder.pool(encoder.forward(sound)) for encoder in encoders)
        alone = encoders[0].pool(encoders[0].forward(sound[:1]))
    assert one.shape == (2, 512)
    assert torch.equal(one, other)
    assert torch.allclose(one[:1], alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(one[0], one[1], rtol=1e-3)


def test_ge2e_is_an_lstm_and_its_embedding_has_length_one() -> None:
    encoder = load_encoder("ge2e")
    lstm = nn.LSTM(40, 256, 3, batch_first=True).eval()
    state = encoder.module.state_dict()
    lstm.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("lstm.")})
    x = torch.rand(2, 160, 40)
    with torch.inference_mode():
        tokens = encoder.forward(x)
        assert torch.equal(tokens, lstm(x)[0])
        assert torch.allclose(encoder.pool(tokens).norm(dim=1), torch.ones(2), atol=1e-6)


@pytest.mark.parametrize("change", ["extra", "missing", "shape", "nan"])
def test_a_file_that_does_not_fit_names_the_key_and_the_file(
    r2plus1d: nn.Module, change: str, tmp_path: Path
) -> None:
    state = dict(r2plus1d.state_dict())
    key = "layer1.0.conv1.0.0.weight"
    if change == "extra":
        key = "layer9.weight"
        state[key] = torch.zeros(2)
    elif change == "missing":
        del state[key]
    elif change == "shape":
        state[key] = torch.zeros(2, 2)
    else:
        state[key] = torch.full_like(state[key], torch.nan)
    file = save(tmp_path / "odd.pth", state)
    with pytest.raises(WeightsMismatch) as caught:
        load_encoder("r2plus1d-18", weights=file)
    assert key in str(caught.value)
    assert str(file) in str(caught.value)


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def test_nothing_in_a_weights_file_is_run(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    file = tmp_path / "bomb.pth"
    file.write_bytes(pickle.dumps({"conv1.weight": _Bomb(target)}, protocol=2))
    with pytest.raises(WeightsMismatch):
        load_encoder("ge2e", weights=file)
    torch.save({"conv1.weight": _Bomb(target)}, file)
    with pytest.raises(WeightsMismatch):
        load_encoder("ge2e", weights=file)
    assert not target.exists()


def test_random_weights_are_repeatable_and_marked() -> None:
    one, same, other = (load_encoder(f"resnetse34l@random:{seed}") for seed in (3, 3, 4))
    sound = torch.randn(1, 16_000)
    with torch.inference_mode():
        a, b, c = (encoder.pool(encoder.forward(sound)) for encoder in (one, same, other))
    assert torch.equal(a, b)
    assert not torch.allclose(a, c)
    assert one.spec.is_random
    assert one.spec.weights_sha256 is None


@pytest.mark.parametrize(("name", "kind"), [("ge2e", "audio"), ("efficientnet-lite0", "video")])
def test_decoding_children_need_no_torch(name: str, kind: Any) -> None:
    recipe = pickle.dumps(load_encoder(name).recipe(kind))
    code = (
        "import pickle, sys, scfae.extract.media;"
        f"pickle.loads({recipe!r}); assert 'torch' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_frames_become_torchvisions_input() -> None:
    from torchvision.transforms import functional

    from scfae.extract.recipe import StreamInfo, VideoFrame

    encoder = load_encoder("r2plus1d-18@random:0")
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (16, 97, 130, 3), dtype=np.uint8)
    cutter = encoder.recipe("video").begin(StreamInfo("video"))
    windows = [
        window
        for k, pixels in enumerate(frames)
        for window in cutter.push(VideoFrame(pixels, k / 10, (k + 1) / 10))
    ] + cutter.end()
    assert len(windows) == 1
    assert windows[0].times.tolist() == [[0.0, 1.6]]
    x = torch.from_numpy(frames).permute(0, 3, 1, 2)
    x = functional.center_crop(functional.resize(x, [128, 171], antialias=False), [112, 112])
    mean, std = [0.43216, 0.394666, 0.37645], [0.22803, 0.22145, 0.216989]
    expected = functional.normalize(x.float() / 255, mean, std).transpose(0, 1)[None]
    prepared = encoder.prepare(torch.from_numpy(np.array(windows[0].array))[None])
    assert torch.allclose(prepared, expected, atol=1e-5)
