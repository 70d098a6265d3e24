"""DINOv3 ViT-S/16 against timm's network filled by timm's own filter, bias mask multiplied here."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import timm
import torch
from PIL import Image
from timm.models.eva import checkpoint_filter_fn
from torch import Tensor
from torchvision.transforms import v2

from scfae.extract import Encoder, load_encoder
from scfae.extract.media import decode
from scfae.store.errors import WeightsMismatch

from .. import media_kit as kit
from . import official

NAME = "dinov3-vits16"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def network(state: official.State, *, is_masked: bool = True) -> Any:
    """Return timm's network with the numbers of an upstream file."""
    model = timm.create_model(
        "vit_small_patch16_dinov3_qkvb", pretrained=False, global_pool="token", num_classes=0
    ).eval()
    multiplied = dict(state)
    for i in range(12):
        name = f"blocks.{i}.attn.qkv.bias"
        if is_masked:
            multiplied[name] = state[name] * state[f"{name}_mask"]
    model.load_state_dict(checkpoint_filter_fn(multiplied, model), strict=True)
    return model


@pytest.fixture(scope="module")
def state() -> official.State:
    return official.dinov3(8)


@pytest.fixture(scope="module")
def reference(state: official.State) -> Any:
    return network(state)


@pytest.fixture(scope="module")
def encoder(state: official.State, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    path = tmp_path_factory.mktemp("weights") / "dinov3.pth"
    return load_encoder(NAME, weights=official.save(path, state))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(256, 256), (224, 224), (96, 160)])
def test_numbers_are_timms(reference: Any, encoder: Encoder, size: tuple[int, int]) -> None:
    x = noise(1, 3, *size)
    with torch.inference_mode():
        tokens = encoder.forward(x)
        wanted = reference.forward_features(x)
        assert tokens.shape == (1, 5 + size[0] * size[1] // 256, 384)
        assert official.largest(tokens - wanted) <= 2e-5
        assert official.largest(encoder.pool(tokens) - reference(x)) <= 1e-5


def test_batch_equals_one_by_one(encoder: Encoder) -> None:
    x = noise(3, 3, 64, 64)
    with torch.inference_mode():
        together = encoder.pool(encoder.forward(x))
        alone = torch.cat([encoder.pool(encoder.forward(x[i : i + 1])) for i in range(3)])
    assert official.largest(together - alone) <= 1e-5


def test_what_would_go_wrong_unseen_shows(
    state: official.State, reference: Any, encoder: Encoder
) -> None:
    x = noise(1, 3, 64, 64)
    with torch.inference_mode():
        tokens = encoder.forward(x)
        pooled = encoder.pool(tokens)
        unmasked = network(state, is_masked=False)(x)
        patches = tokens[:, 5:].mean(dim=1)
        norm, reference.norm = reference.norm, torch.nn.Identity()
        unnormed = reference.forward_features(x)[:, 0]
        reference.norm = norm
    for wrong in (unmasked, patches, unnormed):
        assert official.largest(pooled - wrong) > 1e-2


@pytest.mark.parametrize("wrapper", ["model", "data parallel"])
def test_every_wrapper_gives_the_same_numbers(
    state: official.State, encoder: Encoder, wrapper: str, tmp_path: Path
) -> None:
    path = official.save(tmp_path / "w.pth", official.WRAPPERS[wrapper](state))
    other = load_encoder(NAME, weights=path).module.state_dict()
    mine = encoder.module.state_dict()
    assert all(torch.equal(mine[key], other[key]) for key in mine)


def test_timms_own_layout_is_read(reference: Any, encoder: Encoder, tmp_path: Path) -> None:
    path = official.save(tmp_path / "timm.pth", reference.state_dict())
    other = load_encoder(NAME, weights=path).module.state_dict()
    mine = encoder.module.state_dict()
    assert all(torch.equal(mine[key], other[key]) for key in mine)


def test_keys_of_training_are_dropped(
    state: official.State, encoder: Encoder, tmp_path: Path
) -> None:
    local = {"local_cls_norm.weight": noise(384), "local_cls_norm.bias": noise(384)}
    path = official.save(tmp_path / "w.pth", state | local)
    other = load_encoder(NAME, weights=path).module.state_dict()
    assert all(torch.equal(v, other[k]) for k, v in encoder.module.state_dict().items())


def test_a_mask_that_was_never_set_is_refused(state: official.State, tmp_path: Path) -> None:
    key = "blocks.4.attn.qkv.bias_mask"
    path = official.save(tmp_path / "w.pth", state | {key: torch.full((1152,), torch.nan)})
    with pytest.raises(WeightsMismatch, match=f"w.pth: {key} is not finite"):
        load_encoder(NAME, weights=path)


@pytest.mark.parametrize("has_mask", [True, False])
def test_a_bias_for_keys_is_not_dropped_unseen(
    state: official.State, tmp_path: Path, has_mask: bool
) -> None:
    key = "blocks.4.attn.qkv.bias"
    changed = dict(state)
    if has_mask:
        changed[f"{key}_mask"] = torch.ones(1152)
    else:
        del changed[f"{key}_mask"]
    with pytest.raises(WeightsMismatch, match=f"{key} has a bias for keys"):
        load_encoder(NAME, weights=official.save(tmp_path / "w.pth", changed))


def picture(height: int, width: int) -> npt.NDArray[np.uint8]:
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([x / width, y / height, (x + 2 * y) / (width + 2 * height)], axis=2)
    return (200 * waves + random.integers(0, 55, (height, width, 3))).astype(np.uint8)


@pytest.mark.parametrize("size", [(48, 64), (90, 31), (301, 411), (256, 256)])
def test_pictures_become_the_networks_input(
    encoder: Encoder, size: tuple[int, int], tmp_path: Path
) -> None:
    pixels = picture(*size)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    (window,) = decode(path, {"i": encoder.recipe("image")}).fates["i"].windows
    prepared = encoder.prepare(torch.from_numpy(np.array(window.array))[None])[0]
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


def test_a_video_has_a_row_a_sampled_frame(encoder: Encoder, tmp_path: Path) -> None:
    path = kit.write_clip(tmp_path / "a.mp4", frames=15, sound_s=None)
    rows, times = encoder.extract(path)
    assert rows.shape == (3, 384)
    np.testing.assert_allclose(times, [[0.0, 0.2], [0.2, 0.4], [0.4, 0.6]], atol=1e-6)
