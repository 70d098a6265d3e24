"""R(2+1)D-34 against a second writing, and its pre-processing against torch's own resizing."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from scfae.extract import Encoder, load_encoder
from scfae.extract.encoders import r2plus1d
from scfae.extract.recipe import StreamInfo, VideoFrame, Window
from scfae.store.errors import WeightsMismatch

from . import official
from .r2plus1d_reference import features

NAME = "r2plus1d-34"
BLOCKS = r2plus1d.BLOCKS_34
MEAN = torch.tensor((0.43216, 0.394666, 0.37645)).view(3, 1, 1, 1)
STD = torch.tensor((0.22803, 0.22145, 0.216989)).view(3, 1, 1, 1)


@pytest.fixture(scope="module", autouse=True)
def _shallow() -> Iterator[None]:
    with official.shallow():
        yield


@pytest.fixture(scope="module")
def state() -> official.State:
    return official.r2plus1d_34(4)


@pytest.fixture(scope="module")
def encoder(state: official.State, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    path = tmp_path_factory.mktemp("weights") / "r2plus1d_34.pth"
    return load_encoder(NAME, weights=official.save(path, state))


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(1, 3, 8, 64, 48), (2, 3, 32, 32, 32)])
def test_numbers_are_those_of_a_second_writing(
    state: official.State, encoder: Encoder, shape: tuple[int, ...]
) -> None:
    x = noise(*shape)
    with torch.inference_mode():
        tokens = encoder.forward(x)
        pooled = encoder.pool(tokens)
    last = features(state, x, eps=1e-3)
    assert tokens.shape == (shape[0], shape[2] // 8 * shape[3] // 16 * shape[4] // 16, 512)
    wanted = last.flatten(2).transpose(1, 2)
    assert official.largest(tokens - wanted) <= 2e-5 * official.largest(wanted)
    mean = last.mean(dim=(2, 3, 4))
    assert official.largest(pooled - mean) <= 2e-5 * official.largest(mean)


def test_what_would_go_wrong_unseen_shows(state: official.State, encoder: Encoder) -> None:
    x = noise(1, 3, 8, 32, 32)
    with torch.inference_mode():
        pooled = encoder.pool(encoder.forward(x))
    wrong = {
        "torch's eps": features(state, x, eps=1e-5),
        "norm after the activation": features(state, x, eps=1e-3, is_norm_first=True),
        "colours the other way round": features(state, x.flip(1), eps=1e-3),
    }
    for mistake, last in wrong.items():
        assert official.largest(pooled - last.mean(dim=(2, 3, 4))) > (
            1e-3 * official.largest(pooled)
        ), mistake


def test_no_norm_is_left_apart(encoder: Encoder) -> None:
    assert not [m for m in encoder.module.modules() if isinstance(m, nn.BatchNorm3d)]


@pytest.mark.parametrize("classes", [487, 359, 400])
def test_files_of_every_training_are_read(
    state: official.State, encoder: Encoder, classes: int, tmp_path: Path
) -> None:
    shapes = official.r2plus1d_34_names(official.SHALLOW_34, classes)
    fc = {key: torch.zeros(shapes[key]) for key in ("fc.weight", "fc.bias")}
    other = load_encoder(NAME, weights=official.save(tmp_path / "w.pth", state | fc))
    mine, theirs = encoder.module.state_dict(), other.module.state_dict()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_torchvisions_own_planes_do_not_fit(state: official.State, tmp_path: Path) -> None:
    narrow = {key: value for key, value in state.items() if "layer2.0.conv2" not in key}
    for key in state.keys() - narrow.keys():
        value = state[key]
        axis = next((i for i, size in enumerate(value.shape) if size == 288), None)
        narrow[key] = value if axis is None else value.narrow(axis, 0, 230).clone()
    with pytest.raises(WeightsMismatch, match="6 shapes differ"):
        load_encoder(NAME, weights=official.save(tmp_path / "w.pth", narrow))


def test_names_and_shapes_of_the_whole_file_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(r2plus1d, "BLOCKS_34", BLOCKS)
    with torch.device("meta"):
        module = r2plus1d._build_34()
    wanted = official.r2plus1d_34_names()
    assert official.shapes_of(module) == {k: v for k, v in wanted.items() if k[:3] != "fc."}
    parameters = sum(p.numel() for p in module.parameters()) + 400 * 512 + 400
    assert round(parameters / 1e6, 1) == 63.7


@pytest.mark.slow
def test_numbers_of_the_whole_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(r2plus1d, "BLOCKS_34", BLOCKS)
    state = official.fill(official.r2plus1d_34_names(), 2)
    encoder = load_encoder(NAME, weights=official.save(tmp_path / "w.pth", state))
    x = noise(1, 3, 16, 112, 112)
    with torch.inference_mode():
        pooled = encoder.pool(encoder.forward(x))
        wanted = features(state, x, eps=1e-3).mean(dim=(2, 3, 4))
    assert official.largest(pooled - wanted) <= 2e-5 * official.largest(wanted)


def frames(count: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def cut(encoder: Encoder, pictures: npt.NDArray[np.uint8]) -> list[Window]:
    cutter = encoder.recipe("video").begin(StreamInfo("video"))
    windows = []
    for k, pixels in enumerate(pictures):
        windows += cutter.push(VideoFrame(pixels, k / 10, (k + 1) / 10))
    return windows + cutter.end()


@pytest.mark.parametrize("crop", ["centre", "none"])
@pytest.mark.parametrize(
    ("size", "resized"),
    [((240, 320), (128, 170)), ((321, 155), (265, 128)), ((128, 128), (128, 128))],
)
def test_frames_become_the_networks_input(
    crop: str, size: tuple[int, int], resized: tuple[int, int]
) -> None:
    encoder = load_encoder(f"{NAME}@random:0:frames=8,crop={crop}")
    pictures = frames(8, *size)
    (window,) = cut(encoder, pictures)
    prepared = encoder.prepare(torch.from_numpy(window.array)[None])[0]
    x = torch.from_numpy(pictures).permute(3, 0, 1, 2).float() / 255
    x = interpolate(x.transpose(0, 1), size=resized, mode="bilinear", align_corners=False)
    x = x.transpose(0, 1)
    if crop == "centre":
        top, left = round((resized[0] - 112) / 2), round((resized[1] - 112) / 2)
        x = x[:, :, top : top + 112, left : left + 112]
    wanted = (x - MEAN) / STD
    assert prepared.shape == wanted.shape
    # Upstream does not round to bytes: half a grey level is 0.009 after the deviation.
    assert official.largest(prepared - wanted) <= 0.0091
    if min(wanted.shape[2:]) == 112:
        shifted = encoder.prepare(torch.from_numpy(window.array[:, :, 1:])[None])[0]
        assert official.largest(shifted - wanted[:, :, :-1]) > 0.5


@pytest.mark.parametrize(
    ("count", "options", "wanted"),
    [
        (32, "", [[0.0, 3.2]]),
        (40, "", [[0.0, 3.2], [0.8, 4.0]]),
        (16, ",frames=8", [[0.0, 0.8], [0.8, 1.6]]),
        (12, ",frames=8,stride=2", [[0.0, 0.8], [0.2, 1.0], [0.4, 1.2]]),
        (5, "", [[0.0, 0.5]]),
    ],
)
def test_rows_and_times_of_frames(count: int, options: str, wanted: list[list[float]]) -> None:
    encoder = load_encoder(f"{NAME}@random:0:crop=none{options}")
    windows = cut(encoder, frames(count, 10, 12))
    np.testing.assert_allclose(np.concatenate([w.times for w in windows]), wanted)
    assert windows[0].array.shape[:2] == (3, 8 if "frames" in options else 32)
