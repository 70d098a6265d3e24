"""C3D against a second writing: convolutions as sums over shifted clips."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from scfae.extract import Encoder, load_encoder
from scfae.extract.encoders import c3d
from scfae.extract.recipe import StreamInfo, VideoFrame
from scfae.extract.resizing import resize_bilinear

from .. import media_kit as kit
from . import official

NAME = "c3d"


@pytest.fixture(scope="module", autouse=True)
def _shallow() -> Iterator[None]:
    with official.shallow():
        yield


@pytest.fixture(scope="module")
def state() -> official.State:
    return official.c3d(6)


@pytest.fixture(scope="module")
def file(state: official.State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return official.save(tmp_path_factory.mktemp("weights") / "c3d.pickle", state)


@pytest.fixture(scope="module")
def encoder(file: Path) -> Encoder:
    return load_encoder(NAME, weights=file)


def convolved(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return a 3 x 3 x 3 convolution with padding 1, as 27 products of shifted clips."""
    T, H, W = x.shape[2:]
    padded = torch.zeros(*x.shape[:2], T + 2, H + 2, W + 2)
    padded[:, :, 1:-1, 1:-1, 1:-1] = x
    out = bias.view(1, -1, 1, 1, 1).expand(len(x), -1, T, H, W)
    for t in range(3):
        for h in range(3):
            for w in range(3):
                part = padded[:, :, t : t + T, h : h + H, w : w + W]
                out = out + torch.einsum("bcthw,oc->bothw", part, weight[:, :, t, h, w])
    return out


def pooled(x: Tensor, time: int, pad: int) -> Tensor:
    """Return the largest of every `time x 2 x 2` values; zeros cannot win after a ReLU."""
    B, C, T, H, W = x.shape
    padded = torch.zeros(B, C, T, H + 2 * pad, W + 2 * pad)
    padded[:, :, :, pad : pad + H, pad : pad + W] = x
    h, w = (H + 2 * pad) // 2, (W + 2 * pad) // 2
    cut = padded[:, :, :, : 2 * h, : 2 * w].reshape(B, C, T // time, time, h, 2, w, 2)
    return cut.amax(dim=(3, 5, 7))


def reference(state: official.State, x: Tensor, *, last: str = "fc6", pad: int = 1) -> Tensor:
    stages = (("conv1",), ("conv2",), ("conv3a", "conv3b"), ("conv4a", "conv4b"))
    for number, stage in enumerate((*stages, ("conv5a", "conv5b"))):
        for name in stage:
            x = convolved(x, state[f"{name}.weight"], state[f"{name}.bias"]).clamp(min=0)
        x = pooled(x, 1 if number == 0 else 2, pad if number == 4 else 0)
    x = x.flatten(1)
    weight = state["fc6.weight"]
    if x.shape[1] != weight.shape[1]:  # what a pool without padding would give
        x = torch.cat([x, torch.zeros(len(x), weight.shape[1] - x.shape[1])], dim=1)
    x = (x @ weight.T + state["fc6.bias"]).clamp(min=0)
    if last == "fc7":
        x = (x @ state["fc7.weight"].T + state["fc7.bias"]).clamp(min=0)
    return x


def clip(batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, 3, 16, 112, 112, generator=generator) * 255


@pytest.mark.parametrize("layer", ["fc6", "fc7"])
def test_numbers_are_those_of_a_second_writing(
    state: official.State, file: Path, layer: str
) -> None:
    encoder = load_encoder(f"{NAME}:layer={layer}", weights=file)
    x = clip()
    with torch.inference_mode():
        tokens = encoder.forward(x)
        feature = encoder.pool(tokens)
    wanted = reference(state, x, last=layer)
    assert tokens.shape == (1, 1, 4096)
    assert official.largest(feature - wanted) <= 2e-5 * official.largest(wanted)
    assert float(feature.min()) == 0.0
    assert encoder.spec.recipe["feature"] == f"{layer} after its ReLU"


def test_what_would_go_wrong_unseen_shows(state: official.State, encoder: Encoder) -> None:
    x = clip()
    with torch.inference_mode():
        feature = encoder.pool(encoder.forward(x))
    wrong = {
        "the last pool not padded": reference(state, x, pad=0),
        "the next layer": reference(state, x, last="fc7"),
        "colours the other way round": reference(state, x.flip(1)),
        "pixels from 0 to 1": reference(state, x / 255),
    }
    for mistake, value in wrong.items():
        assert official.largest(feature - value) > 1e-2 * official.largest(feature), mistake


def test_names_and_shapes_of_the_whole_file_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c3d, "STAGES", official.C3D_STAGES)
    with torch.device("meta"):
        module = c3d.Network()
    wanted = official.c3d_names(official.C3D_STAGES)
    assert wanted["fc6.weight"] == (4096, 8192)
    assert official.shapes_of(module) == {k: v for k, v in wanted.items() if k[:4] != "fc8."}


@pytest.mark.slow
def test_numbers_of_the_whole_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(c3d, "STAGES", official.C3D_STAGES)
    state = official.fill(official.c3d_names(official.C3D_STAGES), 3)
    encoder = load_encoder(NAME, weights=official.save(tmp_path / "w.pickle", state))
    x = clip()
    with torch.inference_mode():
        feature = encoder.pool(encoder.forward(x))
        wanted = reference(state, x)
    assert official.largest(feature - wanted) <= 2e-5 * official.largest(wanted)


@pytest.mark.parametrize("size", [(240, 320), (90, 60), (112, 200)])
def test_frames_become_the_networks_input(size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (16, *size, 3), dtype=np.uint8)
    for options, mean, scale in (("", 0.0, 1.0), (":mean=128,scale=0.5", 128.0, 0.5)):
        encoder = load_encoder(f"{NAME}@random:0{options}")
        cutter = encoder.recipe("video").begin(StreamInfo("video"))
        windows = [
            window
            for k, pixels in enumerate(pictures)
            for window in cutter.push(VideoFrame(pixels, k / 10, (k + 1) / 10))
        ]
        (window,) = windows
        prepared = encoder.prepare(torch.from_numpy(window.array)[None])[0]
        whole = np.stack([resize_bilinear(pixels, 112, 200) for pixels in pictures])
        wanted = (whole[:, :, 44:156].astype(np.float64).transpose(3, 0, 1, 2) - mean) * scale
        np.testing.assert_allclose(prepared.numpy(), wanted, atol=1e-5)
        assert encoder.spec.recipe["mean"] == mean
        assert encoder.spec.recipe["scale"] == scale
    np.testing.assert_allclose(window.times, [[0.0, 1.6]])


def test_a_file_has_a_row_every_16_frames(encoder: Encoder, tmp_path: Path) -> None:
    path = kit.write_clip(tmp_path / "a.mp4", frames=20, sound_s=None)
    rows, times = encoder.extract(path)
    assert rows.shape == (2, 4096)
    np.testing.assert_allclose(times, [[0.0, 0.64], [0.16, 0.8]], atol=2e-3)
