"""`input:ENCODER`: a row is the window that the encoder reads, and gives it back as it was."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from scfae.extract import Encoder, extract, load_encoder
from scfae.extract.encoders.inputs import InputEncoder, input_form, windows_of
from scfae.extract.media import decode
from scfae.extract.utterances import UtteranceRecipe
from scfae.extract.whole_windows import WholeWindows, form_of, smaller
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError

from ..media_kit import write_clip, write_wav
from . import official

PICTURES = {
    "r2plus1d-18": (3, 16, 112, 112),
    "videomaev2-s": (3, 16, 224, 224),
    "dinov3-vits16": (3, 256, 256),
    "efficientnet-lite0": (3, 224, 224),
}
SOUNDS = {
    "resnetse34l:window_s=1": ((16_000,), "whole"),
    "wavlm-base:window_s=1": ((16_080,), "own length"),
    "audiomae-vitb": ((164_080,), "ends in NaN"),
    "ge2e": ((160, 40), "whole"),
}


@pytest.fixture(autouse=True, scope="module")
def _shallow() -> Iterator[None]:
    with official.shallow():
        yield


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "a.mp4", frames=40, sound_s=2.5)


def loaded(name: str) -> InputEncoder:
    encoder = load_encoder(f"input:{name}")
    assert isinstance(encoder, InputEncoder)
    return encoder


def windows_by(encoder: Encoder, path: Path) -> list[Tensor]:
    """Return what the encoder's own recipe cuts."""
    kind = "audio" if encoder.spec.modality == "audio" else encoder.spec.accepts[0]
    fate = decode(path, {"x": encoder.recipe(kind)}).fates["x"]
    return [torch.from_numpy(np.array(window.array)) for window in fate.windows]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * n.startswith("videomae")) for n in PICTURES],
)
def test_pictures_come_back_byte_for_byte(name: str, clip: Path) -> None:
    encoder = loaded(name)
    assert encoder.form.shape == PICTURES[name]
    assert encoder.spec.dim == np.prod(PICTURES[name])
    assert encoder.stored_as == "float16"
    rows, times = encoder.extract(clip)
    stored = torch.from_numpy(rows.astype(np.float16)).float()
    wanted = windows_by(load_encoder(name, weights="random:0"), clip)
    assert len(wanted) == len(stored) > 0
    assert times.shape == (len(rows), 2)
    assert torch.equal(windows_of(encoder.form, stored), torch.stack(wanted))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * n.startswith("wavlm")) for n in SOUNDS]
)
def test_sounds_come_back_as_long_as_they_were(name: str, tmp_path: Path) -> None:
    encoder, own = loaded(name), load_encoder(name, weights="random:0")
    shape, short = SOUNDS[name]
    assert (encoder.form.shape, encoder.form.short) == (shape, short)
    for seconds in (0.4, 2.5):
        path = write_wav(tmp_path / "a.wav", seconds)
        rows, times = encoder.extract(path)
        wanted = windows_by(own, path)
        assert len(wanted) == len(rows) == len(times)
        for row, window in zip(torch.from_numpy(rows), wanted, strict=True):
            back = windows_of(encoder.form, row[None])[0]
            torch.testing.assert_close(back, window, rtol=0, atol=0, equal_nan=True)


def test_sounds_of_one_length_come_back_together() -> None:
    form = form_of("pieces", UtteranceRecipe(50))
    assert (form.shape, form.short, form.dim) == ((16_080,), "own length", 16_081)
    inner = load_encoder("ge2e", weights="random:0")
    encoder = InputEncoder(inner.spec, inner, form, torch.device("cpu"))
    sound = torch.randn(3, 5_000)
    rows = encoder.encode(sound)[:, 0]
    assert rows.shape == (3, 16_081)
    assert rows[:, 0].tolist() == [5_000.0] * 3
    assert not rows[:, 5_001:].any()
    assert torch.equal(windows_of(form, rows), sound)


def test_an_extraction_keeps_windows_as_a_column(clip: Path, tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    (media / "a.mp4").write_bytes(clip.read_bytes())
    names = ("input:r2plus1d-18:stride_s=0.5,every=4,side=28", "input:audiomae-vitb")
    report = extract(media, tmp_path / "store", names, workers=1, shard_size=4)
    assert not report.exceeded
    store = FeatureStore.open(tmp_path / "store")
    infos = {info.modality: info for info in store.columns.values()}
    video, audio = infos["video"], infos["audio"]
    assert video.name == "input-r2plus1d-18.every=4.side=28.stride_s=0.5"
    assert video.recipe["window"] == {
        "shape": [3, 4, 28, 28],
        "values": "bytes",
        "short": "whole",
    }
    assert (video.dtype, video.weights, video.is_random) == ("float16", "none", False)
    assert (audio.dtype, audio.dim) == ("float32", 164_081)
    rows = store.column(audio.name).rows(0)
    assert 39_000 < rows[0, 0] < 41_000
    whole = loaded("r2plus1d-18:stride_s=0.5").extract(clip)[0]
    small = store.column(video.name).rows(0)
    assert len(small) == len(whole)
    first = whole[0].reshape(3, 16, 112, 112).astype(np.uint8)
    assert np.array_equal(small[0].reshape(3, 4, 28, 28), smaller(first, 4, 28))


def test_a_smaller_clip_is_the_middle_of_some_frames() -> None:
    pixels = np.arange(3 * 4 * 6, dtype=np.uint8).reshape(1, 3, 4, 6)
    assert smaller(pixels, 1, None).tolist() == pixels.tolist()
    assert smaller(pixels, 2, 2).tolist() == [[[[8, 9], [14, 15]], [[56, 57], [62, 63]]]]
    with pytest.raises(ConfigError, match="option side must be at most 112, not 113"):
        load_encoder("input:r2plus1d-18:side=113")


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(ConfigError, match="its windows have the shape of the picture"):
        load_encoder("input:r2plus1d-34:crop=none")
    with pytest.raises(
        ConfigError, match="options every and side are for pictures; it reads audio"
    ):
        load_encoder("input:ge2e:side=20")
    with pytest.raises(ConfigError, match="unknown option 'frame'"):
        load_encoder("input:r2plus1d-18:frame=2")


def test_nothing_of_the_network_stays() -> None:
    encoder = loaded("dinov3-vits16")
    assert not list(encoder.module.parameters())
    assert not list(encoder._inner.module.parameters())
    own = load_encoder("dinov3-vits16", weights="random:0")
    assert input_form(own) == encoder.form
    assert isinstance(encoder.recipe("video"), WholeWindows)
