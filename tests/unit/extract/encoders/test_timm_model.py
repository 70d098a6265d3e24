"""`timm:MODEL` against timm's own model, transform and data configuration."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import timm
import torch
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from scfae.extract import extract, load_encoder, parse_encoder
from scfae.extract.media import decode
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError, UnknownEncoder, WeightsMismatch, WeightsUnavailable

from .. import media_kit as kit
from . import official

# Tokens with and without class token, maps, channels last, and a head wider than the map.
MODELS = ["test_vit", "test_vit_relpos", "test_resnet", "test_convnext", "test_mambaout"]
MODELS += ["mobilenetv3_small_050"]


def network(model: str, seed: int = 3) -> Any:
    """Return timm's own model with a classifier and seeded weights."""
    made = timm.create_model(model, pretrained=False).eval()
    made.load_state_dict(official.fill(official.shapes_of(made), seed), strict=False)
    return made


def data_config(model: Any) -> dict[str, Any]:
    config: dict[str, Any] = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    return config


def picture(height: int, width: int) -> npt.NDArray[np.uint8]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("model", MODELS)
def test_numbers_and_input_are_timms(model: str, tmp_path: Path) -> None:
    theirs = network(model)
    weights = official.save(tmp_path / "w.pth", theirs.state_dict())
    encoder = load_encoder(f"timm:{model}", weights=weights)
    Image.fromarray(picture(301, 260)).save(tmp_path / "a.png")
    config = data_config(theirs)
    x = create_transform(**config, is_training=False)(Image.open(tmp_path / "a.png"))[None]
    (window,) = decode(tmp_path / "a.png", {"i": encoder.recipe("image")}).fates["i"].windows
    prepared = encoder.prepare(torch.from_numpy(np.array(window.array))[None])
    assert official.largest(prepared - x) <= 1e-5
    with torch.inference_mode():
        wanted = theirs.forward_head(theirs.forward_features(x), pre_logits=True)
        tokens = encoder.forward(x)
    scale = official.largest(wanted)
    assert official.largest(encoder.pool(tokens) - wanted) <= 2e-5 * scale
    assert encoder.spec.dim == wanted.shape[1]
    rows, times = encoder.extract(tmp_path / "a.png")
    assert np.abs(rows - wanted.numpy()).max() <= 2e-5 * scale
    assert times.tolist() == [[0.0, 0.0]]
    recipe = encoder.spec.recipe
    assert (recipe["mean"], recipe["std"]) == (list(config["mean"]), list(config["std"]))
    assert recipe["interpolation"] == config["interpolation"]


@pytest.mark.parametrize("size", [(40, 300), (300, 40), (160, 160)])
def test_odd_pictures_are_cut_as_timm_cuts_them(size: tuple[int, int], tmp_path: Path) -> None:
    encoder = load_encoder("timm:test_vit@random:0")
    pixels = picture(*size)
    transform = create_transform(**data_config(encoder.module), is_training=False)
    recipe: Any = encoder.recipe("image")
    prepared = encoder.prepare(torch.from_numpy(recipe.prepare(pixels))[None])
    assert official.largest(prepared[0] - transform(Image.fromarray(pixels))) <= 1e-5


def test_a_name_with_tag_weights_and_options_is_taken_apart() -> None:
    request = parse_encoder("timm:vit_small_patch16_224.augreg_in1k@/w/a.pth:fps=2")
    assert request.name == "timm:vit_small_patch16_224.augreg_in1k"
    assert (request.weights, request.options) == ("/w/a.pth", {"fps": 2})
    assert parse_encoder("timm:resnet18").name == "timm:resnet18"
    encoder = load_encoder("timm:test_vit@random:0:fps=2,modality=video")
    assert encoder.spec.canonical == "timm:test_vit:fps=2.0,modality=video"
    assert encoder.spec.accepts == ("video",)
    with pytest.raises(ConfigError, match="'fps' is no option"):
        parse_encoder("timm:resnet18:fps")


def test_models_that_are_none_are_named() -> None:
    with pytest.raises(UnknownEncoder, match="Did you mean timm:resnet18"):
        load_encoder("timm:resnet_18@random:0")
    with pytest.raises(UnknownEncoder, match="there is no encoder 'timm:'"):
        load_encoder("timm:@random:0")


def test_models_that_read_something_else_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"input_size": (3, 160, 128), "interpolation": "bicubic", "crop_mode": "center"}
    monkeypatch.setattr(
        "scfae.extract.encoders.timm_model.resolve_model_data_config", lambda module: config
    )
    with pytest.raises(ConfigError, match="only RGB pictures"):
        load_encoder("timm:test_vit@random:0")


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    weights = official.save(tmp_path / "w.pth", network("test_efficientnet").state_dict())
    with pytest.raises(WeightsMismatch, match="these are not weights of timm:test_vit"):
        load_encoder("timm:test_vit", weights=weights)


def test_pretrained_weights_come_from_the_hubs_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsUnavailable, match="timm:test_vit: its published weights are not"):
        load_encoder("timm:test_vit")
    from safetensors.torch import save_file

    published: Any = timm.get_pretrained_cfg("test_vit")
    repository = str(published.hf_hub_id)
    folder = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc123")
    (folder / "snapshots" / "abc123").mkdir(parents=True)
    theirs = network("test_vit")
    save_file(theirs.state_dict(), folder / "snapshots" / "abc123" / "model.safetensors")
    encoder = load_encoder("timm:test_vit")
    assert encoder.spec.weights == "published"
    assert not encoder.spec.is_random
    mine = encoder.module.state_dict()
    assert all(torch.equal(mine[key], theirs.state_dict()[key]) for key in mine)


def test_an_extraction_fills_a_column(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    kit.write_clip(media / "a.mp4", frames=10, sound_s=None)
    report = extract(media, tmp_path / "store", ["timm:test_vit@random:1"], workers=1)
    assert report.columns[0].counts["ok"] == 1
    rows, _ = load_encoder("timm:test_vit@random:1").extract(media / "a.mp4")
    (column,) = FeatureStore.open(tmp_path / "store").columns
    view = FeatureStore.open(tmp_path / "store").view(video=column)
    assert column == "timm-test_vit"
    np.testing.assert_allclose(view[0].features["video"], rows, atol=1e-5)
