"""One encoder by itself: a file's rows, or a typed error that says what is wrong with the file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scfae.extract import Encoder, load_encoder
from scfae.store.errors import DecodeError, MediaNotFound, StreamMissing

from . import media_kit as kit


@pytest.fixture(scope="module")
def sight() -> Encoder:
    return load_encoder("efficientnet-lite0@random:0")


@pytest.fixture(scope="module")
def hearing() -> Encoder:
    return load_encoder("ge2e@random:0")


def test_rows_and_times_have_their_types_and_shapes(
    sight: Encoder, hearing: Encoder, tmp_path: Path
) -> None:
    path = kit.write_clip(tmp_path / "a.mp4", frames=10, sound_s=0.4)
    for encoder in (sight, hearing):
        rows, times = encoder.extract(str(path))
        assert rows.dtype == np.float32
        assert times.dtype == np.float64
        assert rows.shape == (len(times), encoder.spec.dim)
        assert times.shape == (len(rows), 2)
        assert (times[:, 1] > times[:, 0]).all()
        assert (np.diff(times[:, 0]) > 0).all()
        again, _ = encoder.extract(path)
        np.testing.assert_array_equal(again, rows)


def test_rows_of_several_windows_follow_each_other(hearing: Encoder, tmp_path: Path) -> None:
    rows, times = hearing.extract(kit.write_wav(tmp_path / "a.wav", 3.0))
    assert rows.shape == (300, 256)
    np.testing.assert_allclose(times[1:, 0], times[:-1, 1])


def test_what_cannot_be_read_is_a_typed_error(
    sight: Encoder, hearing: Encoder, tmp_path: Path
) -> None:
    with pytest.raises(MediaNotFound, match=r"file not found: .*nothing\.mp4"):
        sight.extract(tmp_path / "nothing.mp4")
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(DecodeError, match="not readable as media"):
        sight.extract(tmp_path / "text.mp4")
    silent = kit.write_clip(tmp_path / "silent.mp4", frames=5, sound_s=None)
    with pytest.raises(StreamMissing, match=r"silent\.mp4: no audio stream"):
        hearing.extract(silent)
    with pytest.raises(StreamMissing, match="no video stream"):
        sight.extract(kit.write_wav(tmp_path / "a.wav", 0.1))
    Image.fromarray(kit.picture(0)).save(tmp_path / "a.png")
    with pytest.raises(StreamMissing, match="an image has no sound"):
        hearing.extract(tmp_path / "a.png")


def test_a_damaged_file_gives_the_rows_that_are_left(sight: Encoder, tmp_path: Path) -> None:
    path = kit.move_index_first(tmp_path / "a.mp4", kit.write_clip, frames=50, sound_s=None)
    whole, _ = sight.extract(path)
    rows, times = sight.extract(kit.keep_share(path, 0.6))
    assert 0 < len(rows) < len(whole)
    assert len(times) == len(rows)


def test_weights_are_frozen_but_gradients_reach_the_input(sight: Encoder) -> None:
    assert not any(parameter.requires_grad for parameter in sight.module.parameters())
    x = torch.randn(1, 3, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(sight.pool(sight.forward(x)).sum(), x)
    assert bool(gradient.abs().sum() > 0)


def test_the_canonical_name_sorts_options_and_leaves_out_weights() -> None:
    spec = load_encoder("r2plus1d-18@random:0:stride=4,fps=8").spec
    assert spec.canonical == "r2plus1d-18:fps=8.0,stride=4"
    assert load_encoder("ge2e@random:0").spec.canonical == "ge2e"
