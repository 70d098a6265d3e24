"""Glimpses of real files: the pictures of their times, the extremes of their sound, odd ones."""

from pathlib import Path

import numpy as np
from PIL import Image

from scfae.extract.glimpse import (
    SOUND_HZ,
    Glimpse,
    StripCutter,
    Wanted,
    WaveCutter,
    glimpses,
    shrunk,
)
from scfae.extract.recipe import AudioChunk, VideoFrame
from scfae.extract.texts import InlineText

from .media_kit import frame_level, picture, write_clip


def look(*wanted: Wanted, **options: float) -> list[Glimpse]:
    return list(glimpses(wanted, **options))  # type: ignore[arg-type]


def test_a_clip_shows_pictures_of_their_times_and_its_sound(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", frames=30, fps=10, sound_s=2.0)
    (one,) = look(Wanted(clip, ("frames", "wave"), 6))
    assert one.reasons == {}
    # 3 s in six parts: the middles are 0.25, 0.75 …; the picture then on screen began at 0.2, 0.7 …
    assert [round(start, 3) for _, start in one.frames] == [0.2, 0.7, 1.2, 1.7, 2.2, 2.7]
    for pixels, start in one.frames:
        assert pixels.shape == (48, 64, 3)
        grey = pixels[30:44, 40:60].mean()
        assert abs(grey - frame_level(round(start * 10))) < 6
    assert one.wave is not None
    assert one.wave.shape[1] == 2
    assert np.abs(one.wave[5:-5, 1] - 0.5).max() < 0.05  # a sine of half the range
    assert np.abs(one.wave[5:-5, 0] + 0.5).max() < 0.05
    assert abs(one.wave_span_s[1] - 2.0) < 0.1
    assert one.sha256 is not None


def test_pictures_are_shrunk_and_texts_are_cut(tmp_path: Path) -> None:
    Image.fromarray(picture(0, 640, 480)).save(tmp_path / "still.png")
    (tmp_path / "said.txt").write_text("x" * 30)
    still, said, inline, silent = look(
        Wanted(tmp_path / "still.png", ("frames",)),
        Wanted(tmp_path / "said.txt", ("text",)),
        Wanted(InlineText("yes \udcff <b>"), ("text",)),
        Wanted(tmp_path / "still.png", ("wave",)),
        side=64,
        max_chars=10,
    )
    assert [pixels.shape for pixels, _ in still.frames] == [(48, 64, 3)]
    assert said.text == "x" * 10 + "…"
    assert inline.text == "yes ? <b>"
    assert silent.reasons == {"wave": "an image has no sound"}


def test_a_bad_file_says_why_and_costs_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "noise.mp4").write_bytes(b"no video at all" * 100)
    clip = write_clip(tmp_path / "a.mp4", frames=5, sound_s=None)
    gone, noise, good = look(
        Wanted(tmp_path / "gone.mp4", ("frames",)),
        Wanted(tmp_path / "noise.mp4", ("frames",)),
        Wanted(clip, ("frames", "wave")),
    )
    assert "file not found" in gone.reasons["frames"]
    assert "not readable as media" in noise.reasons["frames"]
    assert len(good.frames) == 5
    assert good.reasons == {"wave": "no audio stream"}


def test_time_is_bounded(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", frames=5, sound_s=None)
    first, second = look(Wanted(clip, ("frames",)), Wanted(clip, ("frames",)), budget_s=-1)
    assert first.reasons == second.reasons == {"frames": "the -1 s for media were spent"}
    (slow,) = look(Wanted(clip, ("frames",)), timeout_s=0.0)
    assert "took longer than 0 s" in slow.reasons["frames"]
    assert look() == []


def test_a_long_video_is_held_in_few_pictures() -> None:
    cutter = StripCutter(4, 8)
    for i in range(1000):
        cutter.push(VideoFrame(np.full((8, 8, 3), i % 251, np.uint8), i / 10, (i + 1) / 10))
        assert len(cutter._kept) <= 64
    starts = [float(window.times[0, 0]) for window in cutter.end()]
    assert len(starts) == 4
    assert all(abs(a - b) < 3.3 for a, b in zip(starts, [12.5, 37.5, 62.5, 87.5], strict=True))
    assert StripCutter(4, 8).end() == []


def test_extremes_are_those_of_the_samples() -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 1600 * 3 + 7).astype(np.float32)
    cutter = WaveCutter(3)
    for start in range(0, len(samples), 1001):  # pieces that fit no block
        cutter.push(AudioChunk(samples[start : start + 1001], 2.0 + start / SOUND_HZ))
    (window,) = cutter.end()
    assert window.array.min() == samples.min()
    assert window.array.max() == samples.max()
    assert window.array.shape == (3, 2)
    assert window.array[0, 0] == samples[:1600].min()
    assert window.times.tolist() == [[2.0, 2.0 + len(samples) / SOUND_HZ]]
    assert WaveCutter(3).end() == []


def test_a_picture_is_never_enlarged() -> None:
    assert shrunk(picture(0, 20, 10), 128).shape == (10, 20, 3)
    assert shrunk(picture(0, 1000, 2), 128).shape == (1, 128, 3)
