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
