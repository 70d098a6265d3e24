"""Cutters: everything is covered, times follow from counts, pieces do not matter."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfae.extract.cutters import FrameSampler, FrameWindows, SoundWindows
from scfae.extract.recipe import AudioChunk, VideoFrame, Window

RATE_HZ = 100
START_S = 0.25


def tiny(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return pixels[:1, :1].transpose(2, 0, 1)


def frames(count: int, rate_hz: float) -> list[VideoFrame]:
    return [
        VideoFrame(np.full((2, 2, 3), k % 256, np.uint8), k / rate_hz, (k + 1) / rate_hz)
        for k in range(count)
    ]


def uneven(lengths_ms: list[int]) -> list[VideoFrame]:
    """Return frames that are shown as long as is said, the first at `START_S`."""
    ends = START_S + np.cumsum([0, *lengths_ms]) / 1000
    return [
        VideoFrame(np.full((2, 2, 3), k % 256, np.uint8), float(ends[k]), float(ends[k + 1]))
        for k in range(len(lengths_ms))
    ]


def sound(pieces: list[int], length: int, stride: int) -> list[Window]:
    cutter = SoundWindows(length, stride, sample_rate_hz=RATE_HZ, shortest=3)
    samples = np.arange(sum(pieces), dtype=np.float32)
    windows, place = [], 0
    for piece in pieces:
        chunk = AudioChunk(samples[place : place + piece], START_S + place / RATE_HZ)
        windows += cutter.push(chunk)
        place += piece
    return windows + cutter.end()


@given(
    pieces=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    length=st.integers(3, 30),
    data=st.data(),
)
def test_windows_of_sound(pieces: list[int], length: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, length))
    total = sum(pieces)
    windows = sound(pieces, length, stride)
    if total < 3:
        assert windows == []
        return
    assert all(window.array.shape == (length,) for window in windows)
    heard = set(np.concatenate([window.array for window in windows]).astype(int).tolist())
    assert heard == set(range(total))
    for window in windows:
        first = window.array[0]
        last = min(total, first + length)
        expected = [[START_S + first / RATE_HZ, START_S + last / RATE_HZ]]
        np.testing.assert_allclose(window.times, expected)
    whole = sound([total], length, stride)
    assert [w.array.tolist() for w in whole] == [w.array.tolist() for w in windows]


@given(count=st.integers(1, 60), length=st.integers(1, 16), data=st.data())
def test_windows_of_frames(count: int, length: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, length))
    cutter = FrameWindows(length, stride, fps=None, prepare=tiny)
    windows = [w for frame in frames(count, 10) for w in cutter.push(frame)] + cutter.end()
    seen = {int(k) for window in windows for k in window.array[0, :, 0, 0]}
    assert seen == set(range(count))
    for window in windows:
        numbers = window.array[0, :, 0, 0].astype(int)
        assert len(numbers) == length
        np.testing.assert_allclose(window.times, [[numbers[0] / 10, (numbers[-1] + 1) / 10]])


@pytest.mark.parametrize(
    ("rate_hz", "fps", "rows"), [(10, 5, 8), (25, 5, 4), (3, 6, 10), (8, 8, 7)]
)
def test_sampled_frames_are_those_on_screen(rate_hz: int, fps: int, rows: int) -> None:
    count = round(rows * rate_hz / fps)
    sampler = FrameSampler(fps, tiny, is_image=False)
    windows = [w for frame in frames(count, rate_hz) for w in sampler.push(frame)]
    assert len(windows) == rows
    for k, window in enumerate(windows):
        np.testing.assert_allclose(window.times, [[k / fps, (k + 1) / fps]])
        assert int(window.array[0, 0, 0]) == int(k / fps * rate_hz + 1e-6)


def test_a_still_is_one_row_at_0() -> None:
    sampler = FrameSampler(5, tiny, is_image=True)
    (window,) = sampler.push(VideoFrame(np.zeros((4, 4, 3), np.uint8), 0.0, 0.0))
    assert window.times.tolist() == [[0.0, 0.0]]
    assert sampler.end() == []


@given(
    lengths_ms=st.lists(st.integers(1, 900), min_size=1, max_size=30),
    fps=st.sampled_from([0.5, 2.0, 5.0, 12.5, 30.0]),
)
def test_sampling_follows_the_clock_at_any_frame_rate(lengths_ms: list[int], fps: float) -> None:
    shown = uneven(lengths_ms)
    sampler = FrameSampler(fps, tiny, is_image=False)
    windows = [w for frame in shown for w in sampler.push(frame)] + sampler.end()
    due = [float(window.times[0, 0]) for window in windows]
    np.testing.assert_allclose(due, START_S + np.arange(len(due)) / fps)
    assert shown[-1].end_s <= START_S + len(due) / fps + 1e-3  # none is due that was not taken
    assert due[-1] < shown[-1].end_s
    for window, time_s in zip(windows, due, strict=True):
        frame = shown[int(window.array[0, 0, 0])]
        assert frame.start_s - 1e-3 <= time_s < frame.end_s


def test_without_a_rate_every_frame_is_a_row() -> None:
    sampler = FrameSampler(None, tiny, is_image=False)
    windows = [w for frame in uneven([40, 500, 20]) for w in sampler.push(frame)]
    np.testing.assert_allclose(
        np.concatenate([w.times for w in windows]), [[0.25, 0.29], [0.29, 0.79], [0.79, 0.81]]
    )


@given(
    lengths_ms=st.lists(st.integers(1, 400), min_size=1, max_size=40),
    fps=st.sampled_from([None, 2.0, 10.0, 25.0]),
    length=st.integers(1, 8),
    stride=st.integers(1, 12),
)
def test_windows_of_uneven_frames(
    lengths_ms: list[int], fps: float | None, length: int, stride: int
) -> None:
    shown = uneven(lengths_ms)
    taken = list(range(len(shown)))
    if fps is not None:
        sampler = FrameSampler(fps, tiny, is_image=False)
        taken = [int(w.array[0, 0, 0]) for frame in shown for w in sampler.push(frame)]
    cutter = FrameWindows(length, stride, fps=fps, prepare=tiny)
    windows = [w for frame in shown for w in cutter.push(frame)] + cutter.end()
    found = [window.array[0, :, 0, 0].astype(int).tolist() for window in windows]
    last = max(0, len(taken) - length)
    firsts = list(range(0, last + 1, stride))
    if firsts[-1] != last or len(taken) < length:
        firsts = sorted({*firsts, last})
    padded = taken + taken[-1:] * length  # a short video repeats its last frame
    assert found == [padded[first : first + length] for first in firsts]
    for window, numbers in zip(windows, found, strict=True):
        assert window.array.shape == (3, length, 1, 1)
        np.testing.assert_allclose(
            window.times, [[shown[numbers[0]].start_s, shown[numbers[-1]].end_s]]
        )
    starts = [float(window.times[0, 0]) for window in windows]
    assert starts == sorted(starts)


@given(total=st.integers(3, 60), length=st.integers(3, 30), stride=st.integers(1, 70))
def test_windows_of_sound_at_any_stride(total: int, length: int, stride: int) -> None:
    windows = sound([total], length, stride)
    found = [window.array.astype(int).tolist() for window in windows]
    if total < length:
        assert found == [[k % total for k in range(length)]]  # repeated from its start
        return
    firsts = list(range(0, total - length + 1, stride))
    if firsts[-1] + length < total:
        firsts.append(total - length)
    assert found == [list(range(first, first + length)) for first in firsts]


def test_nothing_in_nothing_out() -> None:
    assert SoundWindows(4, 4, sample_rate_hz=RATE_HZ, shortest=1).end() == []
    assert FrameWindows(4, 4, fps=None, prepare=tiny).end() == []


def test_long_sound_and_video_are_not_held() -> None:
    cutter = SoundWindows(50, 70, sample_rate_hz=RATE_HZ, shortest=1)
    for _ in range(100):
        cutter.push(AudioChunk(np.zeros(30, dtype=np.float32), 0.0))
        assert len(cutter._held) < 50 + 30
    clips = FrameWindows(4, 9, fps=None, prepare=tiny)
    for frame in frames(100, 10):
        clips.push(frame)
        assert len(clips._frames) <= 4
