"""Every class of odd file has a rule: what comes out, at which time, and what the reason says."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from scfae.extract.limits import Limits
from scfae.extract.media import Decoded, Fate, decode
from scfae.extract.recipe import Recipe

from . import media_kit as kit
from .recorders import Pictures, Sound

BOTH: dict[str, Recipe] = {"video": Pictures(), "audio": Sound()}


def levels(fate: Fate) -> list[int]:
    """Return the grey of each frame's lower right quarter."""
    return [int(np.median(w.array[w.array.shape[0] // 2 + 4 :, -8:])) for w in fate.windows]


def times(fate: Fate) -> npt.NDArray[np.float64]:
    return np.concatenate([window.times for window in fate.windows])


def pictures(path: Path) -> Fate:
    return decode(path, {"video": Pictures()}).fates["video"]


def sound(path: Path, rate_hz: int = 16_000) -> Fate:
    return decode(path, {"audio": Sound(rate_hz)}).fates["audio"]


def pitch_hz(fate: Fate, rate_hz: int) -> float:
    samples = fate.windows[0].array
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate_hz / len(samples))


def assert_failed(decoded: Decoded, what: str) -> None:
    for fate in decoded.fates.values():
        assert fate.status == "failed"
        assert fate.reason is not None
        assert what in fate.reason
        assert "\n" not in fate.reason
        assert fate.windows == []


def test_one_decode_feeds_every_recipe(tmp_path: Path) -> None:
    path = kit.write_clip(tmp_path / "a.mp4")
    recipes: dict[str, Recipe] = {
        "v": Pictures(),
        "again": Pictures(),
        "8k": Sound(8_000),
        "16k": Sound(16_000),
    }
    decoded = decode(path, recipes)
    assert {fate.status for fate in decoded.fates.values()} == {"ok"}
    assert len(decoded.fates["v"].windows) == len(decoded.fates["again"].windows) == 25
    assert len(decoded.fates["8k"].windows[0].array) == pytest.approx(8_000, abs=400)
    assert len(decoded.fates["16k"].windows[0].array) == pytest.approx(16_000, abs=800)
    assert decoded.duration_s == pytest.approx(1.0, abs=0.06)
    assert decoded.sha256 is not None
    assert len(decoded.sha256) == 64


def test_frames_come_in_order_with_their_times(tmp_path: Path) -> None:
    fate = pictures(kit.write_clip(tmp_path / "a.mp4", sound_s=None))
    wanted = [kit.frame_level(i) for i in range(25)]
    assert np.abs(np.array(levels(fate)) - wanted).max() <= 8
    seconds = np.arange(26) / 25
    np.testing.assert_allclose(times(fate)[:, 0], seconds[:-1], atol=2e-3)
    np.testing.assert_allclose(times(fate)[:, 1], seconds[1:], atol=2e-3)


def test_variable_frame_rate_keeps_each_frames_own_time(tmp_path: Path) -> None:
    shown = [0, 40, 80, 500, 520, 1500, 1540]
    fate = pictures(kit.write_clip(tmp_path / "a.mkv", times_ms=shown, sound_s=None))
    np.testing.assert_allclose(times(fate)[:, 0], np.array(shown) / 1000, atol=2e-3)
    np.testing.assert_allclose(times(fate)[:-1, 1], times(fate)[1:, 0])


def test_frames_without_times_are_spaced_by_the_rate(tmp_path: Path) -> None:
    path = kit.write_clip(tmp_path / "a.mp4", sound_s=None, container="h264")
    fate = pictures(path)
    assert len(fate.windows) == 25
    starts = times(fate)[:, 0]
    assert np.isfinite(starts).all()
    assert (np.diff(starts) > 0).all()


def test_rotation_is_applied(tmp_path: Path) -> None:
    fate = pictures(kit.write_rotated(tmp_path / "a.mp4"))
    frame = fate.windows[0].array
    assert frame.shape == (64, 48, 3)
    assert frame[:24, -16:].mean() > 230  # what was top left is top right
    assert frame[40:, :16].mean() < 60


def test_size_that_changes_in_mid_stream(tmp_path: Path) -> None:
    fate = pictures(kit.write_changing_size(tmp_path / "a.ts"))
    assert {window.array.shape for window in fate.windows} == {(48, 64, 3), (64, 96, 3)}
    assert (np.diff(times(fate)[:, 0]) > 0).all()


@pytest.mark.parametrize("size", [(64, 48), (62, 46), (34, 18)])
def test_single_frame_and_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    fate = pictures(kit.write_clip(tmp_path / "a.mp4", frames=1, size=size, sound_s=None))
    assert fate.status == "ok"
    assert [window.array.shape for window in fate.windows] == [(size[1], size[0], 3)]
    assert times(fate)[0, 1] > times(fate)[0, 0]


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
def test_any_sound_becomes_mono_at_the_recipes_rate(
    tmp_path: Path, rate_hz: int, layout: str
) -> None:
    path = kit.write_clip(tmp_path / "a.mp4", video=False, rate_hz=rate_hz, layout=layout)
    fate = sound(path)
    assert fate.status == "ok"
    assert pitch_hz(fate, 16_000) == pytest.approx(kit.TONE_HZ, abs=3)
    assert times(fate)[0] == pytest.approx([0.0, 1.0], abs=0.15)


@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (16_000, 1), (44_100, 2)])
def test_wav_loses_no_sample(tmp_path: Path, rate_hz: int, channels: int) -> None:
    fate = sound(kit.write_wav(tmp_path / "a.wav", 0.5, rate_hz, channels), rate_hz)
    np.testing.assert_allclose(
        fate.windows[0].array, kit.tone(0.5, rate_hz)[0], atol=2e-4 * channels
    )


def test_resampling_keeps_the_length(tmp_path: Path) -> None:
    fate = sound(kit.write_wav(tmp_path / "a.wav", 1.0, 44_100))
    assert len(fate.windows[0].array) == pytest.approx(16_000, abs=2)


def test_five_milliseconds_of_sound(tmp_path: Path) -> None:
    fate = sound(kit.write_wav(tmp_path / "a.wav", 0.005))
    assert (fate.status, len(fate.windows[0].array)) == ("ok", 80)


def test_sound_that_starts_late_keeps_its_time(tmp_path: Path) -> None:
    path = kit.write_clip(tmp_path / "a.mkv", frames=50, sound_s=1.0, sound_starts_s=0.7)
    assert times(sound(path))[0, 0] == pytest.approx(0.7, abs=0.05)


def test_missing_streams_are_missing_and_not_failed(tmp_path: Path) -> None:
    silent = decode(kit.write_clip(tmp_path / "silent.mp4", sound_s=None), BOTH)
    assert silent.fates["video"].status == "ok"
    assert silent.fates["audio"] == Fate("missing", "no audio stream")
    heard = decode(kit.write_clip(tmp_path / "heard.mp4", video=False), BOTH)
    assert heard.fates["audio"].status == "ok"
    assert heard.fates["video"] == Fate("missing", "no video stream")


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    decoded = decode(kit.write_covered_mp3(tmp_path / "a.mp3"), BOTH)
    assert decoded.fates["video"] == Fate("missing", "no video stream")
    assert decoded.fates["audio"].status == "ok"


def test_wav_with_an_empty_data_chunk_is_missing(tmp_path: Path) -> None:
    fate = sound(kit.write_wav(tmp_path / "a.wav", 0.0))
    assert fate.status == "missing"
    assert fate.reason


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_sound_that_is_no_number_fails(tmp_path: Path, value: float) -> None:
    samples = kit.tone(0.5, 16_000)[0]
    samples[1000] = value
    path = kit.write_float_wav(tmp_path / "a.wav", samples)
    assert_failed(decode(path, {"audio": Sound()}), "NaN or infinity")


def test_cut_mp4_is_partial_and_says_how_much_is_lost(tmp_path: Path) -> None:
    path = kit.move_index_first(tmp_path / "a.mp4", kit.write_clip, frames=50, sound_s=None)
    fate = pictures(kit.keep_share(path, 0.6))
    assert fate.status == "partial"
    assert fate.reason is not None
    assert "of 2.00 s decoded" in fate.reason
    assert 5 < len(fate.windows) < 50
    wanted = [kit.frame_level(i) for i in range(len(fate.windows))]
    assert np.median(np.abs(np.array(levels(fate)) - wanted)) <= 8


def test_flipped_bytes_cost_some_frames(tmp_path: Path) -> None:
    path = kit.move_index_first(tmp_path / "a.mp4", kit.write_clip, frames=100, sound_s=None)
    fate = pictures(kit.flip_bytes(path, 0.5, 0.6))
    assert fate.status in {"ok", "partial"}  # a decoder may conceal what it meets
    assert len(fate.windows) > 30
    assert (np.diff(times(fate)[:, 0]) > 0).all()


def _not_media(path: Path) -> Path:
    path.write_text("to be or not to be " * 200)
    return path


def _empty(path: Path) -> Path:
    path.touch()
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _absent(path: Path) -> Path:
    return path


def _zero_byte(path: Path) -> Path:
    return path.with_name("a\0.mp4")


def _dangling(path: Path) -> Path:
    path.symlink_to(path.with_name("nowhere.mp4"))
    return path


def _loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


def _headless(path: Path) -> Path:
    return kit.keep_share(kit.write_clip(path), 0.5)  # the index is at the end


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (_not_media, "not readable as media"),
        (_headless, "not readable as media"),
        (_empty, "empty"),
        (_folder, "not a regular file"),
        (kit.write_pipe, "not a regular file"),
        (_absent, "file not found"),
        (_zero_byte, "no file can have this path"),
        (_dangling, "file not found"),
        (_loop, "cannot be opened"),
    ],
)
def test_what_is_no_media_fails_with_a_sentence(tmp_path: Path, make: Any, what: str) -> None:
    path = make(tmp_path / "x.mp4")
    found: list[Decoded] = []
    thread = threading.Thread(target=lambda: found.append(decode(path, BOTH)), daemon=True)
    thread.start()
    thread.join(20)
    assert found, "decode hangs"
    assert_failed(found[0], what)
    assert found[0].fates["video"].reason is not None
    assert str(path).replace("\0", "\\x00") in found[0].fates["video"].reason


def test_image_is_one_frame_at_zero(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(kit.picture(3)).save(path)
    decoded = decode(path, {"image": Pictures("image"), "audio": Sound()})
    assert decoded.fates["image"].status == "ok"
    (window,) = decoded.fates["image"].windows
    np.testing.assert_array_equal(window.array, kit.picture(3))
    np.testing.assert_array_equal(window.times, [[0.0, 0.0]])
    assert decoded.fates["audio"].status == "missing"


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    fate = decode(kit.write_exif_rotated(tmp_path / "a.jpg"), {"i": Pictures("image")}).fates["i"]
    frame = fate.windows[0].array
    assert frame.shape == (64, 48, 3)
    assert frame[:24, -16:].mean() > 230


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(kit.picture(0)).convert(mode).save(path)
    fate = decode(path, {"i": Pictures("image")}).fates["i"]
    assert fate.status == "ok"
    assert fate.windows[0].array.shape == (48, 64, 3)
    assert fate.windows[0].array.dtype == np.uint8


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.full((8, 8), 0x8000, dtype=np.uint16)).save(path)
    fate = decode(path, {"i": Pictures("image")}).fates["i"]
    assert np.unique(fate.windows[0].array).tolist() == [128]


def test_image_that_claims_a_huge_size_is_refused(tmp_path: Path) -> None:
    path = kit.write_png_claiming(tmp_path / "a.png", 60_000, 60_000)
    assert_failed(decode(path, {"i": Pictures("image")}), "too large")
    near = kit.write_png_claiming(tmp_path / "b.png", 200, 200)
    assert_failed(decode(near, {"i": Pictures("image")}, Limits(max_pixels=30_000)), "too large")


def test_cut_image_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    decoded = decode(kit.keep_share(path, 0.5), {"i": Pictures("image")})
    assert_failed(decoded, "not readable as an image")
