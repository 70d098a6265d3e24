"""DINOv3 against a second writing in plain operations, and timm's network by timm's own filter."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import timm
import timm.models.eva
import torch
from PIL import Image
from timm.models.eva import checkpoint_filter_fn
from torch import Tensor
from torchvision.transforms import v2

from scfae.extract import Encoder, load_encoder
from scfae.extract.encoders import dinov3
from scfae.extract.media import decode
from scfae.store.errors import WeightsMismatch

from .. import media_kit as kit
from . import dinov3_reference, official

NAME = "dinov3-vits16"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SAT_MEAN, SAT_STD = (0.430, 0.411, 0.296), (0.213, 0.156, 0.143)
TIMM = {
    "dinov3-vits16": "vit_small_patch16_dinov3_qkvb",
    "dinov3-vits16plus": "vit_small_plus_patch16_dinov3_qkvb",
    "dinov3-vitb16": "vit_base_patch16_dinov3_qkvb",
    "dinov3-vitl16": "vit_large_patch16_dinov3_qkvb",
    "dinov3-vith16plus": "vit_huge_plus_patch16_dinov3_qkvb",
}
HEADS = {"dinov3-vits16": 6, "dinov3-vits16plus": 6, "dinov3-vitb16": 12, "dinov3-vitl16": 16}
HEADS |= {"dinov3-vith16plus": 20}
BUILD_EVA = timm.models.eva.Eva.__init__


@pytest.fixture(scope="module", autouse=True)
def _shallow() -> Iterator[None]:
    with official.shallow():
        yield


def upstream(name: str = NAME) -> official.State:
    return official.dinov3(8, name, official.SHALLOW)


def network(name: str, state: official.State, **options: Any) -> Any:
    """Return timm's network with the numbers of an upstream file."""
    model = timm.create_model(TIMM[name], pretrained=False, num_classes=0, **options).eval()
    multiplied = dict(state)
    for key in state:
        if key.endswith("qkv.bias"):
            multiplied[key] = state[key] * state[f"{key}_mask"]
    model.load_state_dict(checkpoint_filter_fn(multiplied, model), strict=True)
    return model


@pytest.fixture(scope="module", params=["dinov3-vits16", "dinov3-vits16plus"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def state(name: str) -> official.State:
    return upstream(name)


@pytest.fixture(scope="module")
def file(name: str, state: official.State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return official.save(tmp_path_factory.mktemp(name) / "dinov3.pth", state)


@pytest.fixture(scope="module")
def encoder(name: str, file: Path) -> Encoder:
    return load_encoder(name, weights=file)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """ViT-S/16 alone, for what does not depend on the network."""
    path = tmp_path_factory.mktemp("small") / "dinov3.pth"
    return load_encoder(NAME, weights=official.save(path, upstream()))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def check_numbers(
    name: str, state: official.State, encoder: Encoder, size: tuple[int, int]
) -> None:
    x = noise(1, 3, *size)
    wanted = dinov3_reference.forward(state, x, heads=HEADS[name])
    with torch.inference_mode():
        tokens = encoder.forward(x)
        assert tokens.shape == (1, 5 + size[0] * size[1] // 256, encoder.spec.dim)
        # Of the largest value, about 5: the reference computes in float64.
        assert official.largest(tokens - wanted) <= 4e-6 * official.largest(wanted)
        pooled = encoder.pool(tokens)
        assert official.largest(pooled - wanted[:, 0]) <= 4e-6 * official.largest(wanted)


@pytest.mark.parametrize("size", [(96, 160), (128, 64)])
def test_numbers_are_those_of_a_second_writing(
    name: str, state: official.State, encoder: Encoder, size: tuple[int, int]
) -> None:
    check_numbers(name, state, encoder, size)


def test_numbers_are_timms(name: str, state: official.State, encoder: Encoder) -> None:
    x = noise(1, 3, 64, 96)
    by_class = network(name, state, global_pool="token")
    by_mean = network(name, state, global_pool="avg")
    mean = load_encoder(f"{name}:pool=mean", weights=encoder.spec.weights)
    with torch.inference_mode():
        tokens = encoder.forward(x)
        assert official.largest(tokens - by_class.forward_features(x)) <= 2e-5
        assert official.largest(encoder.pool(tokens) - by_class(x)) <= 1e-5
        assert official.largest(mean.pool(tokens) - by_mean(x)) <= 1e-5
        assert official.largest(mean.encode(torch.zeros(1, 3, 256, 256))) > 0
    assert encoder.spec.recipe["feature"] == "class token after the final norm"
    assert mean.spec.recipe["feature"] == "mean of the patch tokens after the final norm"


def test_batch_equals_one_by_one(encoder: Encoder) -> None:
    x = noise(3, 3, 64, 64)
    with torch.inference_mode():
        together = encoder.pool(encoder.forward(x))
        alone = torch.cat([encoder.pool(encoder.forward(x[i : i + 1])) for i in range(3)])
    assert official.largest(together - alone) <= 1e-5


def test_what_would_go_wrong_unseen_shows(
    name: str, state: official.State, encoder: Encoder
) -> None:
    x = noise(1, 3, 64, 64)
    with torch.inference_mode():
        tokens = encoder.forward(x)
    pooled = encoder.pool(tokens)
    heads = HEADS[name]
    wrong = {
        "masks left out": dinov3_reference.forward(state, x, heads=heads, is_masked=False)[:, 0],
        "no final norm": dinov3_reference.forward(state, x, heads=heads, has_final_norm=False)[
            :, 0
        ],
        "eps 1e-6": dinov3_reference.forward(state, x, heads=heads, eps=1e-6)[:, 0],
        "a register for the class token": tokens[:, 1],
        "mean of patches": tokens[:, 5:].mean(dim=1),
        "mean of all tokens": tokens.mean(dim=1),
    }
    for mistake, feature in wrong.items():
        assert official.largest(pooled - feature) > 1e-4, mistake


def test_the_mean_leaves_class_token_and_registers_out(encoder: Encoder) -> None:
    mean = load_encoder(f"{encoder.spec.name}@random:0:pool=mean")
    tokens = noise(2, 9, encoder.spec.dim)
    assert official.largest(mean.pool(tokens) - tokens[:, 5:].mean(dim=1)) <= 1e-6
    assert official.largest(mean.pool(tokens) - tokens[:, 1:].mean(dim=1)) > 0.1


def assert_same(one: Encoder, other: Encoder) -> None:
    mine, theirs = one.module.state_dict(), other.module.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


@pytest.mark.parametrize("wrapper", ["model", "data parallel"])
def test_every_wrapper_gives_the_same_numbers(small: Encoder, wrapper: str, tmp_path: Path) -> None:
    path = official.save(tmp_path / "w.pth", official.WRAPPERS[wrapper](upstream()))
    assert_same(load_encoder(NAME, weights=path), small)


def test_timms_own_layout_is_read(small: Encoder, tmp_path: Path) -> None:
    state = small.module.state_dict()
    assert state.keys() == network(NAME, upstream()).state_dict().keys()
    assert_same(load_encoder(NAME, weights=official.save(tmp_path / "timm.pth", state)), small)


def test_timms_layout_without_biases_is_read_as_with_none(tmp_path: Path) -> None:
    plain: Any = timm.create_model("vit_small_patch16_dinov3", pretrained=False)
    plain.load_state_dict(official.fill(official.shapes_of(plain), 4))
    path = official.save(tmp_path / "timm.pth", plain.state_dict())
    encoder = load_encoder(NAME, weights=path)
    x = noise(1, 3, 64, 64)
    with torch.inference_mode():
        wanted = plain.eval().forward_features(x)
        assert official.largest(encoder.forward(x) - wanted) <= 2e-5


@pytest.mark.parametrize("name", list(official.DINOV3))
def test_files_of_every_size_fit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm.models.eva.Eva, "__init__", BUILD_EVA)
    # One number spread out: the largest network would take gigabytes.
    state = {k: torch.zeros(1).expand(v) for k, v in official.dinov3_names(name).items()}
    state |= {"local_cls_norm.weight": torch.zeros(1), "local_cls_norm.bias": torch.zeros(1)}
    renamed = dinov3._Layout(may_be_sat=False).rename(state, Path("w.pth"))
    with torch.device("meta"):
        module = timm.create_model(TIMM[name], pretrained=False, num_classes=0)
        assert dinov3.ARCHITECTURES[name] == TIMM[name]
    shapes = official.shapes_of(module)
    assert {key: tuple(value.shape) for key, value in renamed.items()} == shapes


@pytest.mark.slow
@pytest.mark.parametrize("name", list(official.DINOV3))
def test_numbers_of_whole_networks(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timm.models.eva.Eva, "__init__", BUILD_EVA)
    state = official.dinov3(8, name)
    encoder = load_encoder(name, weights=official.save(tmp_path / "w.pth", state))
    check_numbers(name, state, encoder, (64, 96))


def local_norm(width: int) -> official.State:
    return {"local_cls_norm.weight": noise(width), "local_cls_norm.bias": noise(width)}


def test_keys_of_training_are_dropped(small: Encoder, tmp_path: Path) -> None:
    path = official.save(tmp_path / "w.pth", upstream() | local_norm(384))
    assert_same(load_encoder(NAME, weights=path), small)


def test_pixels_of_satellites_have_their_own_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(dinov3.ARCHITECTURES, "dinov3-vitl16", TIMM[NAME])  # small, for speed
    state = upstream()
    web = official.save(tmp_path / "web.pth", state)
    sat = official.save(tmp_path / "sat.pth", state | local_norm(384))
    grey = torch.full((1, 3, 2, 2), 128, dtype=torch.uint8)
    for path, option, mean, std in (
        (web, "", MEAN, STD),
        (sat, "", SAT_MEAN, SAT_STD),
        (web, ":pixels=sat", SAT_MEAN, SAT_STD),
        (sat, ":pixels=lvd", MEAN, STD),
    ):
        encoder = load_encoder(f"dinov3-vitl16{option}", weights=path)
        assert (encoder.spec.recipe["mean"], encoder.spec.recipe["std"]) == (list(mean), list(std))
        wanted = [(128 / 255 - m) / s for m, s in zip(mean, std, strict=True)]
        np.testing.assert_allclose(encoder.prepare(grey)[0, :, 0, 0], wanted, atol=1e-6)


def test_a_mask_that_was_never_set_is_refused(tmp_path: Path) -> None:
    key = "blocks.1.attn.qkv.bias_mask"
    state = upstream() | {key: torch.full((1152,), torch.nan)}
    path = official.save(tmp_path / "w.pth", state)
    with pytest.raises(WeightsMismatch, match=f"w.pth: {key} is not finite"):
        load_encoder(NAME, weights=path)


@pytest.mark.parametrize("has_mask", [True, False])
def test_a_bias_for_keys_is_not_dropped_unseen(tmp_path: Path, has_mask: bool) -> None:
    key = "blocks.1.attn.qkv.bias"
    changed = upstream()
    if has_mask:
        changed[f"{key}_mask"] = torch.ones(1152)
    else:
        del changed[f"{key}_mask"]
    with pytest.raises(WeightsMismatch, match=f"{key} has a bias for keys"):
        load_encoder(NAME, weights=official.save(tmp_path / "w.pth", changed))


def test_sides_that_are_no_multiples_of_the_patch_are_refused(small: Encoder) -> None:
    with pytest.raises(ValueError, match=r"x: \[1, 3, 64, 70\] has sides"):
        small.forward(noise(1, 3, 64, 70))


def picture(height: int, width: int) -> npt.NDArray[np.uint8]:
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([x / width, y / height, (x + 2 * y) / (width + 2 * height)], axis=2)
    return (200 * waves + random.integers(0, 55, (height, width, 3))).astype(np.uint8)


@pytest.mark.parametrize("size", [(48, 64), (90, 31), (301, 411), (256, 256)])
def test_pictures_become_the_networks_input(
    small: Encoder, size: tuple[int, int], tmp_path: Path
) -> None:
    pixels = picture(*size)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    (window,) = decode(path, {"i": small.recipe("image")}).fates["i"].windows
    prepared = small.prepare(torch.from_numpy(np.array(window.array))[None])[0]
    readme = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((256, 256), antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=MEAN, std=STD),
        ]
    )
    wanted = readme(pixels)
    assert prepared.shape == (3, 256, 256)
    assert official.largest(prepared - wanted) <= 1e-5
    halves = (torch.from_numpy(np.array(window.array)) / 255.0 - 0.5) / 0.5
    assert official.largest(prepared - halves) > 0.3
    if size != (256, 256):
        rough = v2.functional.resize(torch.from_numpy(pixels.transpose(2, 0, 1)), [256, 256])
        assert official.largest(torch.from_numpy(window.array).float() - rough.float()) <= 1.0


def test_a_video_has_a_row_a_sampled_frame(small: Encoder, tmp_path: Path) -> None:
    path = kit.write_clip(tmp_path / "a.mp4", frames=15, sound_s=None)
    rows, times = small.extract(path)
    assert rows.shape == (3, 384)
    np.testing.assert_allclose(times, [[0.0, 0.2], [0.2, 0.4], [0.4, 0.6]], atol=1e-6)
