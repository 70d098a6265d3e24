"""`hf:MODEL` against the library's own processor and model, on the same frames and sound."""

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scfae.extract import load_encoder
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError, WeightsMismatch, WeightsUnavailable

from .. import hf_kit
from .. import media_kit as kit

RATE_HZ = 8_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def vit(folder: Path) -> Path:
    return hf_kit.write_vit(folder)


@pytest.fixture(scope="module")
def videomae(folder: Path) -> Path:
    return hf_kit.write_videomae(folder)


@pytest.fixture(scope="module")
def wav2vec2(folder: Path) -> Path:
    return hf_kit.write_wav2vec2(folder)


def library(folder: Path, inputs: Any) -> Any:
    """Return what the library's own model says of its own processor's output."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return model(**inputs)


def processor_for(folder: Path) -> Any:
    from transformers import AutoImageProcessor

    auto: Any = AutoImageProcessor
    return auto.from_pretrained(folder)


def extractor_for(folder: Path) -> Any:
    from transformers import AutoFeatureExtractor

    auto: Any = AutoFeatureExtractor
    return auto.from_pretrained(folder)


def largest(a: Any, b: Any) -> float:
    assert a.shape == b.shape
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())


def write_picture(path: Path, number: int = 0) -> np.ndarray[Any, Any]:
    from PIL import Image

    pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def wave(path: Path, seconds: float) -> np.ndarray[Any, Any]:
    samples = np.random.default_rng(7).standard_normal(round(seconds * RATE_HZ)) * 0.1
    kit.write_float_wav(path, samples.astype(np.float32), RATE_HZ)
    return samples.astype(np.float32)


def test_a_picture_is_processed_and_pooled_as_the_library_does(vit: Path, tmp_path: Path) -> None:
    pixels = write_picture(tmp_path / "a.png")
    encoder = load_encoder(f"hf:{vit}")
    output = library(vit, processor_for(vit)(pixels, return_tensors="pt"))
    rows, times = encoder.extract(tmp_path / "a.png")
    assert largest(rows, output.pooler_output) <= 1e-5
    assert times.tolist() == [[0, 0]]
    for feature, wanted in (
        ("mean", output.last_hidden_state.mean(dim=1)),
        ("cls", output.last_hidden_state[:, 0]),
    ):
        found = load_encoder(f"hf:{vit}:feature={feature}").extract(tmp_path / "a.png")[0]
        assert largest(found, wanted) <= 1e-5
        assert np.abs(found - rows).max() > 1e-2
    assert encoder.spec.dim == 24
    assert encoder.spec.recipe["processor_settings"]["size"] == {"height": 32, "width": 32}
    assert len(encoder.spec.recipe["processor_sha256"]) == 64
    assert encoder.spec.name == "hf:vit"


def test_a_pooler_that_is_not_in_the_file_is_not_made_up(tmp_path: Path) -> None:
    folder = hf_kit.write_vit(tmp_path, has_pooler=False)
    encoder = load_encoder(f"hf:{folder}")
    assert encoder.spec.recipe["pooling"] == "mean of all tokens"


def test_a_clip_is_the_frames_that_the_library_would_be_given(
    videomae: Path, tmp_path: Path
) -> None:
    path = kit.write_clip(tmp_path / "a.mp4", frames=10, sound_s=None)
    encoder = load_encoder(f"hf:{videomae}")
    rows, times = encoder.extract(path)
    assert len(rows) == 3  # of 4 frames each; the last reaches back
    frames = decoded(path)
    processor = processor_for(videomae)
    for row, first in zip(rows, (0, 4, 6), strict=True):
        inputs = processor(frames[first : first + 4], return_tensors="pt")
        wanted = library(videomae, inputs).last_hidden_state.mean(dim=1)[0]
        assert largest(row, wanted) <= 1e-5
    assert encoder.spec.modality == "video"
    assert encoder.spec.accepts == ("video",)
    assert times[0, 0] == 0
    thinned = load_encoder(f"hf:{videomae}:window_s=0.4")
    assert thinned.spec.rows_per_second == pytest.approx(2.5)


def test_sound_is_normalised_and_pooled_as_the_library_does(wav2vec2: Path, tmp_path: Path) -> None:
    extractor = extractor_for(wav2vec2)
    samples = wave(tmp_path / "a.wav", 1.3)

    def tokens(piece: Any) -> Any:
        inputs = extractor(piece, sampling_rate=RATE_HZ, return_tensors="pt")
        return library(wav2vec2, inputs).last_hidden_state[0]

    rows, times = load_encoder(f"hf:{wav2vec2}").extract(tmp_path / "a.wav")
    assert largest(rows[0], tokens(samples).mean(dim=0)) <= 1e-5
    assert times.tolist() == [[0, pytest.approx(1.3)]]
    rows, times = load_encoder(f"hf:{wav2vec2}:window_s=0.5").extract(tmp_path / "a.wav")
    for row, start_s in zip(rows, (0.0, 0.5, 0.8), strict=True):
        first = round(start_s * RATE_HZ)
        assert largest(row, tokens(samples[first : first + 4_000]).mean(dim=0)) <= 1e-5
    np.testing.assert_allclose(times, [[0, 0.5], [0.5, 1.0], [0.8, 1.3]])

    steps = load_encoder(f"hf:{wav2vec2}:feature=rows")
    rows, times = steps.extract(tmp_path / "a.wav")
    assert largest(rows, tokens(samples)) <= 1e-5
    assert steps.spec.rows_per_second == RATE_HZ / 32
    np.testing.assert_allclose(times[:, 0], np.arange(len(rows)) * 32 / RATE_HZ)


def test_an_encoder_that_fills_sound_up_gives_rows_for_true_sound_alone(tmp_path: Path) -> None:
    from transformers import WhisperModel

    folder = hf_kit.write_whisper(tmp_path)
    kit.write_wav(tmp_path / "a.wav", seconds=0.5)
    samples = kit.tone(0.5, 16_000)
    rows, times = load_encoder(f"hf:{folder}:feature=rows").extract(tmp_path / "a.wav")
    extractor = extractor_for(folder)
    inputs = extractor(samples, sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        model: Any = WhisperModel.from_pretrained(folder)
        encoder = model.get_encoder().eval()
        wanted = encoder(inputs.input_features).last_hidden_state[0]
    assert wanted.shape == (50, 24)
    assert rows.shape == (25, 24)
    assert np.abs(rows - wanted[:25].numpy()).max() <= 1e-3  # the file has 16 bits
    np.testing.assert_allclose(times[-1], [0.48, 0.5])
    with pytest.raises(ConfigError, match="window_s must be at most 1,"):
        load_encoder(f"hf:{folder}:window_s=2")


def test_of_a_model_of_pictures_and_text_the_projected_picture_is_the_feature(
    tmp_path: Path,
) -> None:
    from transformers import CLIPModel

    folder = hf_kit.write_clip_model(tmp_path)
    pixels = write_picture(tmp_path / "a.png")
    rows, _ = load_encoder(f"hf:{folder}").extract(tmp_path / "a.png")
    inputs = processor_for(folder)(pixels, return_tensors="pt")
    with torch.inference_mode():
        model: Any = CLIPModel.from_pretrained(folder)
        model.eval()
        wanted = model.visual_projection(model.vision_model(**inputs).pooler_output)
    assert rows.shape == (1, 10)
    assert largest(rows, wanted) <= 1e-5
    assert load_encoder(f"hf:{folder}:feature=cls").spec.dim == 24


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_three_models_fill_columns_over_one_decode_of_a_video(
    vit: Path, videomae: Path, wav2vec2: Path, tmp_path: Path
) -> None:
    media = tmp_path / "media"
    media.mkdir()
    kit.write_clip(media / "a.mp4", frames=10, sound_s=0.4)
    kit.write_clip(media / "b.mp4", frames=14, sound_s=None)
    words = [sys.executable, "-m", "scfae.cli", "extract", str(media), str(tmp_path / "store")]
    for model in (vit, videomae, wav2vec2):
        words += ["-e", f"hf:{model}"]
    done = subprocess.run([*words, "--workers", "1", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["columns"]
    store = FeatureStore.open(tmp_path / "store")
    for model in (vit, videomae):
        column = store.column(f"hf-{model.name}")
        alone = load_encoder(f"hf:{model}").extract(media / "a.mp4")[0]
        assert largest(column.rows(0), alone) <= 1e-5
        assert len(column.rows(1)) > 0
        assert column.info.weights_sha256 is not None
    heard = store.column("hf-wav2vec2")
    assert heard.rows(0).shape == (1, 24)
    assert len(heard.rows(1)) == 0


def test_random_weights_are_marked(vit: Path) -> None:
    encoder = load_encoder(f"hf:{vit}@random:3")
    assert encoder.spec.is_random
    assert encoder.spec.weights_sha256 is None


def test_what_cannot_be_served_is_said(
    folder: Path, vit: Path, wav2vec2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bert = hf_kit.write_bert(tmp_path)
    with pytest.raises(ConfigError, match=r"reads input_ids, .* For texts use hf-text:"):
        load_encoder(f"hf:{bert}")
    with pytest.raises(ConfigError, match="unknown option 'stride'"):
        load_encoder(f"hf:{vit}:stride=2")
    with pytest.raises(ConfigError, match="feature must be one of pooled, mean, cls, not 'rows'"):
        load_encoder(f"hf:{vit}:feature=rows")
    with pytest.raises(ConfigError, match="give no stride"):
        load_encoder(f"hf:{wav2vec2}:feature=rows,stride_s=1")
    bare = hf_kit.write_vit(tmp_path)
    (bare / "preprocessor_config.json").unlink()
    with pytest.raises(WeightsMismatch, match="has no processor of image"):
        load_encoder(f"hf:{bare}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsUnavailable, match="no folder here and not in the hub's cache"):
        load_encoder("hf:org/name")


def test_what_is_sent_to_the_decoding_children_arrives_whole(vit: Path) -> None:
    encoder = load_encoder(f"hf:{vit}")
    pixels = np.full((40, 60, 3), 90, dtype=np.uint8)
    recipe = encoder.recipe("image")
    sent = pickle.loads(pickle.dumps(recipe))
    assert sent == recipe
    assert sent.prepare(pixels).shape == (3, 32, 32)


def decoded(path: Path) -> list[np.ndarray[Any, Any]]:
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
