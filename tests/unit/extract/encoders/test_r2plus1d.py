"""R(2+1)D-18 against torchvision's own network and preset."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.video import R2Plus1D_18_Weights, r2plus1d_18

from scfae.extract import Encoder, load_encoder
from scfae.extract.recipe import StreamInfo, VideoFrame, Window

from .. import media_kit as kit
from . import official
from .r2plus1d_reference import features

NAME = "r2plus1d-18"


@pytest.fixture(scope="module")
def state() -> official.State:
    return official.r2plus1d(4)


@pytest.fixture(scope="module")
def reference(state: official.State) -> Any:
    network = r2plus1d_18(weights=None).eval()
    network.load_state_dict(state)
    network.fc = nn.Identity()
    return network


@pytest.fixture(scope="module")
def encoder(state: official.State, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    path = tmp_path_factory.mktemp("weights") / "r2plus1d_18.pth"
    return load_encoder(NAME, weights=official.save(path, state))


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(1, 3, 16, 64, 64), (3, 3, 8, 48, 48)])
def test_numbers_are_torchvisions(reference: Any, encoder: Encoder, shape: tuple[int, ...]) -> None:
    x = noise(*shape)
    with torch.inference_mode():
        tokens = encoder.forward(x)
        pooled = encoder.pool(tokens)
        wanted = reference(x)
    assert tokens.shape == (shape[0], shape[2] // 8 * (shape[3] // 16) ** 2, 512)
    assert official.largest(pooled - wanted) <= 2e-5 * official.largest(wanted)


def test_numbers_are_those_of_a_second_writing(state: official.State, encoder: Encoder) -> None:
    x = noise(1, 3, 8, 32, 32)
    with torch.inference_mode():
        pooled = encoder.pool(encoder.forward(x))
    wanted = features(state, x, eps=1e-5).mean(dim=(2, 3, 4))
    assert official.largest(pooled - wanted) <= 2e-5 * official.largest(wanted)
    wrong = {
        "norm after the activation": features(state, x, eps=1e-5, is_norm_first=True),
        "colours the other way round": features(state, x.flip(1), eps=1e-5),
        "ImageNet's scale": features(state, x * 0.9 + 0.1, eps=1e-5),
    }
    for mistake, last in wrong.items():
        difference = official.largest(pooled - last.mean(dim=(2, 3, 4)))
        assert difference > 1e-3 * official.largest(wanted), mistake


def test_clips_of_a_batch_do_not_mix(encoder: Encoder) -> None:
    x = noise(3, 3, 8, 32, 32)
    with torch.inference_mode():
        together = encoder.pool(encoder.forward(x))
        alone = torch.cat([encoder.pool(encoder.forward(x[i : i + 1])) for i in range(3)])
    assert official.largest(together - alone) <= 1e-5 * official.largest(alone)


def test_another_norm_eps_would_show(reference: Any, encoder: Encoder) -> None:
    x = noise(1, 3, 8, 32, 32)
    norms = [m for m in reference.modules() if isinstance(m, nn.BatchNorm3d)]
    assert {norm.eps for norm in norms} == {1e-5}
    try:
        for norm in norms:
            norm.eps = 1e-3  # Caffe2's
        with torch.inference_mode():
            other = reference(x)
            pooled = encoder.pool(encoder.forward(x))
    finally:
        for norm in norms:
            norm.eps = 1e-5
    assert official.largest(pooled - other) > 1e-4 * official.largest(other)


@pytest.mark.parametrize("wrapper", ["model", "data parallel"])
def test_wrappers_give_the_same_numbers(
    state: official.State, encoder: Encoder, wrapper: str, tmp_path: Path
) -> None:
    path = official.save(tmp_path / "w.pth", official.WRAPPERS[wrapper](state))
    other = load_encoder(NAME, weights=path).module.state_dict()
    assert all(torch.equal(v, other[k]) for k, v in encoder.module.state_dict().items())


def frames(count: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return smooth colours that move, so that crops, flips and order differ."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([x / width, y / height, (x + 2 * y) / (width + 2 * height)], axis=2)
    random = np.random.default_rng(0)
    shades = (waves[None] + np.arange(count)[:, None, None, None] / count) % 1.0
    return (200 * shades + random.integers(0, 55, shades.shape)).astype(np.uint8)


def cut(encoder: Encoder, pictures: npt.NDArray[np.uint8], fps: float = 10.0) -> list[Window]:
    cutter = encoder.recipe("video").begin(StreamInfo("video"))
    windows = []
    for k, pixels in enumerate(pictures):
        windows += cutter.push(VideoFrame(pixels, k / fps, (k + 1) / fps))
    return windows + cutter.end()


@pytest.mark.parametrize("size", [(97, 130), (130, 97), (240, 320), (321, 55), (128, 171), (3, 5)])
def test_frames_become_the_networks_input(encoder: Encoder, size: tuple[int, int]) -> None:
    pictures = frames(16, *size)
    (window,) = cut(encoder, pictures)
    prepared = encoder.prepare(torch.from_numpy(window.array)[None])[0]
    preset = R2Plus1D_18_Weights.KINETICS400_V1.transforms()
    wanted = preset(torch.from_numpy(pictures).permute(0, 3, 1, 2))
    assert prepared.shape == wanted.shape == (3, 16, 112, 112)
    # Float sums in another order: in a few places bytes are rounded the other way.
    difference = (prepared - wanted).abs()
    assert float(difference.max()) <= 0.0182  # one grey level after the deviation
    assert float((difference > 1e-5).float().mean()) <= 1e-4


def test_a_short_clip_repeats_its_last_frame(encoder: Encoder) -> None:
    (window,) = cut(encoder, frames(5, 40, 60))
    (whole,) = cut(encoder, frames(5, 40, 60)[[0, 1, 2, 3, *[4] * 12]])
    np.testing.assert_array_equal(window.array, whole.array)
    np.testing.assert_allclose(window.times, [[0.0, 0.5]])


@pytest.mark.parametrize(
    ("count", "options", "firsts"),
    [
        (16, "", [0]),
        (33, "", [0, 16, 17]),
        (32, ":stride=8", [0, 8, 16]),
        (20, ":stride=3", [0, 3, 4]),
    ],
)
def test_rows_and_times_of_frames(count: int, options: str, firsts: list[int]) -> None:
    encoder = load_encoder(f"{NAME}@random:0{options}")
    windows = cut(encoder, frames(count, 16, 20))
    wanted = [[first / 10, (first + 16) / 10] for first in firsts]
    np.testing.assert_allclose(np.concatenate([w.times for w in windows]), wanted)


def test_rows_a_second_follow_from_the_options() -> None:
    assert load_encoder(f"{NAME}@random:0").spec.rows_per_second is None
    sampled = load_encoder(f"{NAME}@random:0:fps=8,stride=4")
    assert sampled.spec.rows_per_second == 2.0
    windows = cut(sampled, frames(40, 16, 20), fps=20.0)  # two seconds: 16 frames of 8 a second
    np.testing.assert_allclose(windows[0].times, [[0.0, 1.9]], atol=0.06)
    assert len(windows) == 1


def test_a_file_gives_the_references_numbers(
    reference: Any, encoder: Encoder, tmp_path: Path
) -> None:
    path = kit.write_clip(tmp_path / "a.mp4", frames=16, sound_s=None)
    rows, times = encoder.extract(path)
    np.testing.assert_allclose(times, [[0.0, 0.64]], atol=2e-3)
    assert rows.shape == (1, 512)
    assert rows.dtype == np.float32
    import av

    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    preset = R2Plus1D_18_Weights.KINETICS400_V1.transforms()
    x = preset(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))[None]
    with torch.inference_mode():
        wanted = reference(x)
    assert np.abs(rows[0] - wanted[0].numpy()).max() <= 5e-5 * official.largest(wanted)
