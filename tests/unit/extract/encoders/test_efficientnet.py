"""EfficientNet-Lite0 against timm's own network, from the layouts of timm and of the package."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor

from scfae.extract import Encoder, load_encoder
from scfae.extract.media import decode
from scfae.store.errors import ConfigError

from .. import media_kit as kit
from . import official

NAME = "efficientnet-lite0"


@pytest.fixture(scope="module")
def reference() -> Any:
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    network.load_state_dict(official.efficientnet_timm(2))
    return network


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    path = tmp_path_factory.mktemp("weights") / "package.pth"
    return load_encoder(NAME, weights=official.save(path, official.efficientnet_package(2)))


def encode(encoder: Encoder, x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        tokens = encoder.forward(x)
        return tokens, encoder.pool(tokens)


def picture(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Return smooth colours with noise, so that crops, flips and channels differ."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([x / width, y / height, (x + 2 * y) / (width + 2 * height)], axis=2)
    return (200 * waves + random.integers(0, 55, (height, width, 3))).astype(np.uint8)


def test_numbers_are_timms(reference: Any, encoder: Encoder) -> None:
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    tokens, pooled = encode(encoder, x)
    with torch.inference_mode():
        last_map = reference.forward_features(x)
        wanted = reference.forward_head(last_map, pre_logits=True)
    scale = official.largest(wanted)
    assert tokens.shape == (2, 49, 1280)
    places = last_map.flatten(2).transpose(1, 2)
    assert official.largest(tokens - places) <= 2e-5 * official.largest(places)
    assert official.largest(pooled - wanted) <= 2e-5 * scale
    for i in range(2):
        _, alone = encode(encoder, x[i : i + 1])
        assert official.largest(pooled[i] - alone[0]) <= 1e-5 * scale


@pytest.mark.parametrize(
    ("layout", "wrapper"), [("package", name) for name in official.WRAPPERS] + [("timm", "bare")]
)
def test_every_layout_gives_the_same_numbers(
    encoder: Encoder, layout: str, wrapper: str, tmp_path: Path
) -> None:
    make = official.efficientnet_package if layout == "package" else official.efficientnet_timm
    path = official.save(tmp_path / "w.pth", official.WRAPPERS[wrapper](make(2)))
    other = load_encoder(NAME, weights=path).module.state_dict()
    mine = encoder.module.state_dict()
    assert all(torch.equal(mine[key], other[key]) for key in mine)


def test_another_norm_eps_would_show(reference: Any, encoder: Encoder) -> None:
    x = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    _, pooled = encode(encoder, x)
    norms = [m for m in reference.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-3}  # TensorFlow's
    try:
        for norm in norms:
            norm.eps = 1e-5  # torch's
        with torch.inference_mode():
            other = reference.forward_head(reference.forward_features(x), pre_logits=True)
    finally:
        for norm in norms:
            norm.eps = 1e-3
    assert official.largest(pooled - other) > 1e-4 * official.largest(other)


def test_what_would_go_wrong_unseen_shows(reference: Any, encoder: Encoder) -> None:
    windows = torch.from_numpy(picture(224, 224).transpose(2, 0, 1))[None].contiguous()
    x = encoder.prepare(windows)
    _, pooled = encode(encoder, x)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229,) * 3))
    with torch.inference_mode():
        wrong = {
            "ImageNet's mean": reference.forward_features((windows / 255 - mean) / std),
            "colours the other way round": reference.forward_features(x.flip(1)),
        }
    for mistake, features in wrong.items():
        other = features.mean(dim=(2, 3))
        assert official.largest(pooled - other) > 1e-2 * official.largest(pooled), mistake


@pytest.mark.parametrize("size", [(48, 64), (90, 31), (301, 225), (224, 224), (1, 1), (700, 500)])
def test_pictures_become_the_networks_input(
    encoder: Encoder, size: tuple[int, int], tmp_path: Path
) -> None:
    pixels = picture(*size)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    (window,) = decode(path, {"i": encoder.recipe("image")}).fates["i"].windows
    assert window.array.dtype == np.uint8
    resized = Image.fromarray(pixels).resize((224, 224), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(window.array, np.asarray(resized).transpose(2, 0, 1))
    prepared = encoder.prepare(torch.from_numpy(window.array)[None])
    wanted = (np.asarray(resized).astype(np.float64).transpose(2, 0, 1) - 127) / 128
    np.testing.assert_allclose(prepared[0].numpy(), wanted, atol=1e-6)


def test_an_image_is_one_row(encoder: Encoder, reference: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(picture(60, 80)).save(path)
    rows, times = encoder.extract(path)
    assert rows.shape == (1, 1280)
    assert times.tolist() == [[0.0, 0.0]]
    resized = Image.fromarray(picture(60, 80)).resize((224, 224), Image.Resampling.BILINEAR)
    x = (torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].float() - 127) / 128
    with torch.inference_mode():
        wanted = reference.forward_head(reference.forward_features(x), pre_logits=True)
    assert np.abs(rows[0] - wanted[0].numpy()).max() <= 2e-5 * official.largest(wanted)


@pytest.mark.parametrize(("fps", "frames", "rows"), [(5.0, 25, 5), (2.0, 30, 3), (50.0, 5, 10)])
def test_a_video_has_a_row_a_sampled_frame(
    encoder: Encoder, tmp_path: Path, fps: float, frames: int, rows: int
) -> None:
    sampling = load_encoder(f"{NAME}:fps={fps}", weights=encoder.spec.weights)
    assert sampling.spec.rows_per_second == fps
    path = kit.write_clip(tmp_path / "a.mp4", frames=frames, sound_s=None)
    found, times = sampling.extract(path)
    assert found.shape == (rows, 1280)
    np.testing.assert_allclose(times[:, 0], np.arange(rows) / fps, atol=1e-6)
    np.testing.assert_allclose(times[:, 1] - times[:, 0], 1 / fps, atol=1e-6)


def test_published_weights_tell_real_pictures_apart() -> None:
    encoder = load_encoder(NAME)
    assert (encoder.spec.weights, encoder.spec.is_random) == ("published", False)
    x = encoder.prepare(torch.from_numpy(np.stack([picture(224, 224).transpose(2, 0, 1)] * 2)))
    x[1] = x[1].flip(1)
    _, (first, second) = encode(encoder, x)
    assert official.largest(first - second) > 0.05 * official.largest(first)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("fps=0", "fps must be at least 0.001"),
        ("fps=fast", "fps must be a number"),
        ("fsp=3", "Did you mean 'fps'"),
        ("modality=sound", "modality must be one of video, image"),
    ],
)
def test_wrong_options_are_named(option: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_encoder(f"{NAME}@random:0:{option}")


def test_the_modality_option_leaves_one_kind() -> None:
    encoder = load_encoder(f"{NAME}@random:0:modality=image")
    assert encoder.spec.accepts == ("image",)
    assert encoder.spec.modality == "image"
    assert encoder.spec.rows_per_second is None
