"""Sound by its rule: scaled by its format, resampled, averaged; against values computed by hand."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from scfae.extract.fates import Fate
from scfae.extract.media import decode

from . import odd_media as odd
from .recorders import Sound
from .sound_kit import SampleFormat, write_pcm

Samples = npt.NDArray[np.float32]


def read(path: Path, rate_hz: int = 16_000) -> Fate:
    fate = decode(path, {"a": Sound(rate_hz)}).fates["a"]
    assert fate.status == "ok", fate.reason
    return fate


def samples(path: Path, rate_hz: int = 16_000) -> Samples:
    array: Samples = read(path, rate_hz).windows[0].array
    return array


def sine(hertz: float, seconds: float, rate_hz: int) -> npt.NDArray[np.float64]:
    """Return a sine of half the range as `[1, samples]`."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate_hz)) / rate_hz)[None]


def write_pieces(path: Path, pieces: list[tuple[float, Any]], rate_hz: int = 16_000) -> Path:
    """Write 16-bit mono sound, each piece at a time in seconds."""
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("pcm_s16le", rate=rate_hz, layout="mono")
        for start_s, values in pieces:
            part = np.round(np.asarray(values) * 32768).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
            frame.pts = round(start_s * rate_hz)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("form", "largest"),
    [
        ("u8", 127 / 128),
        ("s16", 32767 / 32768),
        ("s24", 8_388_607 / 8_388_608),
        ("s32", 1.0),  # nearer to 1 than a float can tell
    ],
)
def test_integers_are_scaled_by_the_range_of_their_format(
    tmp_path: Path, form: SampleFormat, largest: float
) -> None:
    values = np.array([[-1.0, -0.5, 0.0, 0.25, 0.75, 1.0]])
    found = samples(write_pcm(tmp_path / "a.wav", values, form))
    np.testing.assert_array_equal(
        found, np.array([-1.0, -0.5, 0.0, 0.25, 0.75, largest], dtype=np.float32)
    )


@pytest.mark.parametrize("form", ["f32", "f64"])
def test_floats_are_taken_as_they_are_also_beyond_one(tmp_path: Path, form: SampleFormat) -> None:
    values = np.array([[-2.5, -1.0, 0.1, 1.0, 3.0]])
    found = samples(write_pcm(tmp_path / "a.wav", values, form))
    np.testing.assert_array_equal(found, values[0].astype(np.float32))


def test_low_bits_of_deep_formats_are_kept(tmp_path: Path) -> None:
    values = np.array([[1 / 8_388_608, -3 / 8_388_608]])
    found = samples(write_pcm(tmp_path / "a.wav", values, "s24"))
    np.testing.assert_array_equal(found, values[0].astype(np.float32))


@pytest.mark.parametrize(
    ("channels", "mean"),
    [((0.5,), 0.5), ((0.5, -0.25), 0.125), ((0.5, 0.25, -0.25, 0.75, 0.0, 0.25), 0.25)],
)
@pytest.mark.parametrize("form", ["s16", "f32", "s24"])
def test_channels_are_averaged_the_low_one_too(
    tmp_path: Path, channels: tuple[float, ...], mean: float, form: SampleFormat
) -> None:
    values = np.repeat(np.array(channels)[:, None], 160, axis=1)
    found = samples(write_pcm(tmp_path / "a.wav", values, form))
    np.testing.assert_allclose(found, mean, atol=1e-7)


def test_channels_that_cancel_are_silence(tmp_path: Path) -> None:
    left = sine(440, 0.1, 16_000)
    found = samples(write_pcm(tmp_path / "a.wav", np.concatenate([left, -left]), "f32"))
    assert np.abs(found).max() < 1e-7


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000])
def test_resampling_gives_the_same_sine(tmp_path: Path, rate_hz: int) -> None:
    path = write_pcm(tmp_path / "a.wav", sine(440, 0.5, rate_hz), "f32", rate_hz)
    found = samples(path)
    assert len(found) == pytest.approx(8_000, abs=2)
    inside = slice(400, 7_600)  # the filter meets the ends of the sound
    np.testing.assert_allclose(found[inside], sine(440, 0.5, 16_000)[0, inside], atol=2e-3)


def test_what_the_rate_cannot_hold_is_filtered_out(tmp_path: Path) -> None:
    path = write_pcm(tmp_path / "a.wav", sine(12_000, 0.5, 48_000), "f32", 48_000)
    assert np.abs(samples(path)[400:7_600]).max() < 5e-3


def test_a_click_stays_at_its_time(tmp_path: Path) -> None:
    values = np.zeros((1, 44_100))
    values[0, 22_050] = 1.0
    found = samples(write_pcm(tmp_path / "a.wav", values, "f32", 44_100))
    assert int(np.argmax(np.abs(found))) == 8_000


def test_several_rates_come_from_one_decode(tmp_path: Path) -> None:
    path = write_pcm(tmp_path / "a.wav", sine(440, 0.5, 48_000), "s16", 48_000)
    fates = decode(path, {"a": Sound(8_000), "b": Sound(16_000)}).fates
    assert len(fates["a"].windows[0].array) == 4_000
    assert len(fates["b"].windows[0].array) == 8_000


def test_a_hole_is_silent_and_what_follows_keeps_its_time(tmp_path: Path) -> None:
    loud = np.full(1_600, 0.5)
    path = write_pieces(tmp_path / "a.mkv", [(0.0, loud), (0.1, loud), (0.5, loud)])
    fate = read(path)
    found = fate.windows[0].array
    assert fate.windows[0].times[0].tolist() == pytest.approx([0.0, 0.6])
    np.testing.assert_allclose(found[:3_200], 0.5)
    np.testing.assert_allclose(found[3_200:8_000], 0.0)
    np.testing.assert_allclose(found[8_000:], 0.5)


def test_rounded_times_make_no_holes(tmp_path: Path) -> None:
    pieces = [(k * 0.1 + (0.004 if k % 2 else 0.0), np.full(1_600, 0.25)) for k in range(5)]
    found = samples(write_pieces(tmp_path / "a.mkv", pieces))
    np.testing.assert_allclose(found, np.full(8_000, 0.25))


def test_what_damage_took_is_silent_and_the_rest_keeps_its_time(tmp_path: Path) -> None:
    path = odd.long_clip(tmp_path / "a.mp4")
    whole = samples(path)
    first = odd.media_start_share(path)
    odd.overwrite(path, first + (1 - first) * 0.4, first + (1 - first) * 0.6)
    fate = decode(path, {"a": Sound()}).fates["a"]
    assert fate.status == "partial"
    found = fate.windows[0].array
    assert len(found) == pytest.approx(len(whole), abs=4)
    late = slice(int(3.5 * 16_000), int(3.9 * 16_000))
    np.testing.assert_allclose(found[late], whole[late], atol=0.05)  # within half a sample
    assert np.abs(found[int(1.9 * 16_000) : int(2.1 * 16_000)]).max() < 1e-6


@pytest.mark.parametrize("codec", ["aac", "libmp3lame", "libopus", "flac"])
def test_priming_of_codecs_is_left_out(tmp_path: Path, codec: str) -> None:
    """A tone begins where it began: no codec's own delay is left in front of it."""
    suffix = {"aac": "m4a", "libmp3lame": "mp3", "libopus": "opus", "flac": "flac"}[codec]
    form = {"libopus": "flt", "flac": "s16"}.get(codec, "fltp")
    fate = read(odd.write_sound(tmp_path / f"a.{suffix}", codec, 48_000, form))
    found = fate.windows[0].array
    wanted = sine(440, 0.5, 16_000)[0]
    inside = slice(1_600, 6_400)
    delays = range(-200, 201)
    errors = [np.abs(np.roll(found, -k)[inside] - wanted[inside]).mean() for k in delays]
    period = 16_000 / 440
    delay = delays[int(np.argmin(errors))]
    assert min(errors) < 0.05
    assert abs((delay + period / 2) % period - period / 2) <= 1.5
    # Within one period, only the onset can tell.
    assert int(np.argmax(np.abs(found) > 0.2)) < 60
