"""Windows and strides in seconds become frames and samples, and are recorded as such."""

from typing import Any

import numpy as np
import pytest

from scfae.extract import load_encoder
from scfae.extract.recipe import AudioChunk, VideoFrame
from scfae.extract.windowing import CLIP_OPTIONS, SOUND_OPTIONS, ClipWindows, SoundRuns
from scfae.store.errors import ConfigError


def clips(**given: Any) -> ClipWindows:
    return ClipWindows.of("net", dict.fromkeys(CLIP_OPTIONS) | given, frames=4)


def runs(**given: Any) -> SoundRuns:
    values = dict.fromkeys(SOUND_OPTIONS) | given
    return SoundRuns.of("net", values, length=40, sample_rate_hz=100, shortest=10)


def starts_of(windows: ClipWindows, times_s: list[float]) -> list[float]:
    """Return the start of each window over frames shown at some times."""
    cutter = windows.cutter(lambda pixels: pixels[:1, :1].transpose(2, 0, 1))
    picture = np.zeros((2, 2, 3), np.uint8)
    ends_s = [*times_s[1:], times_s[-1] + 0.1]
    cut = []
    for start_s, end_s in zip(times_s, ends_s, strict=True):
        cut += cutter.push(VideoFrame(picture, start_s, end_s))
    return [round(float(one.times[0, 0]), 3) for one in cut + cutter.end()]


TEN_A_SECOND = [0.5 + k / 10 for k in range(20)]


def test_without_options_windows_lie_side_by_side_over_every_frame() -> None:
    assert clips() == ClipWindows(4, None, 4, None)
    assert clips().rows_per_second is None
    assert starts_of(clips(), TEN_A_SECOND) == [0.5, 0.9, 1.3, 1.7, 2.1]
    assert runs() == SoundRuns(40, 40, 100, 10)
    assert runs().rows_per_second == 2.5


def test_a_window_in_seconds_is_a_frame_rate() -> None:
    windows = clips(window_s=2.0)
    assert windows.fps == 2.0
    assert windows.rows_per_second == 0.5
    assert starts_of(windows, TEN_A_SECOND) == [0.5]


def test_a_stride_in_seconds_holds_at_any_frame_rate() -> None:
    assert starts_of(clips(stride_s=0.5), TEN_A_SECOND) == [0.5, 1.0, 1.5, 2.0, 2.1]
    uneven = [0.0, 0.1, 0.2, 0.9, 1.0, 1.1, 1.9, 2.0, 2.1, 2.2]
    # Due at 0, 1, 2: the first frames shown then; the last window reaches back from the end.
    assert starts_of(clips(stride_s=1.0), uneven) == [0.0, 1.0, 1.9]
    assert clips(stride_s=0.5).rows_per_second == 2.0


def test_a_stride_below_a_frame_gives_a_window_a_frame() -> None:
    assert starts_of(clips(stride_s=0.01), TEN_A_SECOND[:6]) == [0.5, 0.6, 0.7]


def test_a_stride_beyond_a_window_leaves_frames_out() -> None:
    assert starts_of(clips(stride_s=1.0), TEN_A_SECOND) == [0.5, 1.5, 2.1]
    assert starts_of(clips(stride_s=1.0, fps=5), TEN_A_SECOND) == [0.5, 1.5, 1.7]


def test_strides_and_windows_of_sound_are_samples() -> None:
    assert runs(window_s=0.5, stride_s=0.25) == SoundRuns(50, 25, 100, 10)
    assert runs(stride=7).stride == 7
    cutter = runs(window_s=0.5, stride_s=0.25).cutter()
    windows = cutter.push(AudioChunk(np.arange(100, dtype=np.float32), 3.0)) + cutter.end()
    assert [one.times[0].tolist() for one in windows] == [[3.0, 3.5], [3.25, 3.75], [3.5, 4.0]]


@pytest.mark.parametrize("first", [clips, runs])
def test_two_options_for_one_thing_are_refused(first: Any) -> None:
    with pytest.raises(ConfigError, match="net: give stride or stride_s, not both"):
        first(stride=2, stride_s=0.1)
    if first is clips:
        with pytest.raises(ConfigError, match="net: give fps or window_s, not both"):
            first(fps=2.0, window_s=0.1)


def test_sound_windows_below_what_the_network_reads_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"window_s must be at least 0\.1, not 0\.05"):
        runs(window_s=0.05)


def test_a_recipe_gives_the_windows_back() -> None:
    for windows in (clips(), clips(stride_s=0.5, fps=2.0), clips(stride=3)):
        assert ClipWindows.recorded(windows.recipe) == windows
    sound = runs(window_s=0.5)
    assert SoundRuns.recorded(sound.recipe | {"sample_rate_hz": 100}, shortest=10) == sound


def test_encoders_take_them() -> None:
    clip = load_encoder("r2plus1d-18@random:0:window_s=4,stride_s=2").spec
    assert (clip.recipe["fps"], clip.recipe["stride_s"], clip.rows_per_second) == (4.0, 2.0, 0.5)
    sound = load_encoder("resnetse34l@random:0:window_s=1.5,stride_s=0.5").spec
    assert (sound.recipe["samples"], sound.recipe["stride"]) == (24_000, 8_000)
    assert sound.rows_per_second == 2.0
