"""Cutters that encoders share: pictures at a rate, runs of frames, runs of sound."""

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .recipe import AudioChunk, VideoFrame, Window

PrepareFrame = Callable[[npt.NDArray[np.uint8]], npt.NDArray[Any]]

# Presentation times are multiples of a time base: a frame due at 0.2 s may come at 0.1999.
TIME_SLACK_S = 1e-4


class FrameClock:
    """When each frame counts at a rate: of those due at `t0 + k / fps`, the one on screen.

    Args:
        fps: Frames a second; None counts every frame once.
    """

    def __init__(self, fps: float | None) -> None:
        self._fps = fps
        self._count = 0
        self.first_s: float | None = None

    def due(self, frame: VideoFrame) -> list[float]:
        """Return the times that are due while this frame is on screen."""
        if self.first_s is None:
            self.first_s = frame.start_s
        if self._fps is None:
            return [frame.start_s]
        due = []
        while (time_s := self.first_s + self._count / self._fps) < frame.end_s - TIME_SLACK_S:
            self._count += 1
            due.append(time_s)
        return due


class FrameSampler:
    """One window a sampled picture: of the frames due at `t0 + k / fps`, the one then on screen.

    A row's time is `[due, due + 1 / fps)`; the last may reach beyond the end of the video. An image
    is one row at 0.

    Args:
        fps: Pictures a second; None takes every frame.
        prepare: From a picture `[H, W, 3]` to the model's size `[3, h, w]`.
        is_image: The stream is a still.
    """

    def __init__(self, fps: float | None, prepare: PrepareFrame, *, is_image: bool) -> None:
        self._length_s = None if fps is None else 1.0 / fps
        self._clock = FrameClock(fps)
        self._prepare = prepare
        self._is_image = is_image

    def push(self, frame: VideoFrame) -> list[Window]:
        """Return the windows that are due while this frame is on screen."""
        if self._is_image or self._length_s is None:
            return [self._window(frame.pixels, frame.start_s, frame.end_s)]
        windows: list[Window] = []
        array = None
        for due in self._clock.due(frame):
            if array is None:
                array = self._prepare(frame.pixels)
            times = np.array([[due, due + self._length_s]], dtype=np.float64)
            windows.append(Window(array, times))
        return windows

    def end(self) -> list[Window]:
        """Return nothing: every picture was a window of its own."""
        return []

    def _window(self, pixels: npt.NDArray[np.uint8], start: float, end: float) -> Window:
        return Window(self._prepare(pixels), np.array([[start, end]], dtype=np.float64))


class FrameWindows:
    """Runs of consecutive frames.

    The first begins at the first frame `t0`, the others `stride` frames apart, or each at the first
    frame shown at or after `t0 + k * stride_s`. A video shorter than one window repeats its last
    frame. A tail that no window covers gives a last window that ends at the last frame. One row a
    window: from its first to its last true frame.

    Args:
        length: Frames a window.
        stride: Frames from one window to the next; None goes by `stride_s`.
        fps: Frames a second to take; None takes every frame.
        stride_s: Seconds from one window to the next, at any frame rate.
        prepare: From a picture `[H, W, 3]` to the model's size `[3, h, w]`.
    """

    def __init__(
        self,
        length: int,
        stride: int | None,
        *,
        fps: float | None,
        stride_s: float | None = None,
        prepare: PrepareFrame,
    ) -> None:
        if (stride is None) == (stride_s is None):
            raise ValueError("FrameWindows: give either stride or stride_s")
        self._length = length
        self._stride = stride
        self._stride_s = stride_s
        self._clock = FrameClock(fps)
        self._prepare = prepare
        self._frames: list[tuple[npt.NDArray[Any], float, float]] = []
        self._begun: deque[int] = deque()  # numbers of the frames where open windows begin
        self._taken = 0
        self._next_s = 0.0
        self._is_uncovered = False

    def push(self, frame: VideoFrame) -> list[Window]:
        """Return the windows that this frame completes."""
        due = self._clock.due(frame)
        if not due:
            return []
        windows = []
        taken = (self._prepare(frame.pixels), frame.start_s, frame.end_s)
        for time_s in due:
            # Kept beyond the stride: a last window may have to reach back.
            self._frames = [*self._frames, taken][-self._length :]
            self._is_uncovered = True
            if self._is_first(time_s):
                self._begun.append(self._taken)
            self._taken += 1
            if self._begun and self._begun[0] + self._length == self._taken:
                self._begun.popleft()
                windows.append(self._window(self._frames))
        return windows

    def end(self) -> list[Window]:
        """Return the window of a short video or of an uncovered tail."""
        if not self._is_uncovered:
            return []
        missing = self._length - len(self._frames)
        return [self._window(self._frames + self._frames[-1:] * missing)]

    def _is_first(self, time_s: float) -> bool:
        """Return whether a window begins at the frame taken for a time."""
        if self._stride_s is None:
            return self._stride is not None and self._taken % self._stride == 0
        since_s = time_s - (self._clock.first_s or 0.0) + TIME_SLACK_S
        if since_s < self._next_s:
            return False
        # A window is skipped where it would begin at the same frame as the one before.
        self._next_s = (math.floor(since_s / self._stride_s) + 1) * self._stride_s
        return True

    def _window(self, frames: list[tuple[npt.NDArray[Any], float, float]]) -> Window:
        self._is_uncovered = False
        array = np.stack([pixels for pixels, _, _ in frames], axis=1)
        return Window(array, np.array([[frames[0][1], frames[-1][2]]], dtype=np.float64))


class SoundWindows:
    """Runs of sound of one length; one row each.

    Sound shorter than one window is repeated from its start to fill it (`wrap`), as the speaker
    networks do at evaluation, so that all windows have the same length; or it is one window of its
    own length. A tail that no window covers gives a last window that ends at the last sample.

    Args:
        length: Samples a window.
        stride: Samples from one window to the next.
        sample_rate_hz: Rate of the sound.
        shortest: Samples below which there is no window.
        is_repeated: Short sound is repeated.
    """

    def __init__(
        self,
        length: int,
        stride: int,
        *,
        sample_rate_hz: int,
        shortest: int,
        is_repeated: bool = True,
    ) -> None:
        self._is_repeated = is_repeated
        self._length = length
        self._stride = stride
        self._rate = sample_rate_hz
        self._shortest = shortest
        self._held = np.empty(0, dtype=np.float32)
        self._held_from = 0  # number of the first held sample
        self._next = 0  # number of the sample where the next window starts
        self._covered = 0  # number of the first sample that no window covers
        self._start_s: float | None = None

    def push(self, chunk: AudioChunk) -> list[Window]:
        """Return the windows that this chunk completes."""
        if self._start_s is None:
            self._start_s = chunk.start_s
        self._held = np.concatenate([self._held, chunk.samples])
        windows = []
        while self._next + self._length <= self._end:
            windows.append(self._cut(self._next))
            self._next += self._stride
        # The last window may reach back over a whole length.
        keep_from = max(self._held_from, min(self._next, self._end - self._length))
        self._held = self._held[keep_from - self._held_from :]
        self._held_from = keep_from
        return windows

    def end(self) -> list[Window]:
        """Return the window of short sound or of an uncovered tail."""
        total = self._end
        if self._covered >= total or total < self._shortest:
            return []
        if total >= self._length:
            return [self._cut(total - self._length)]
        repeats = -(-self._length // total) if self._is_repeated else 1
        array = np.tile(self._held, repeats)[: self._length]
        return [Window(array, self._times(0, total))]

    @property
    def _end(self) -> int:
        return self._held_from + len(self._held)

    def _cut(self, start: int) -> Window:
        here = start - self._held_from
        array = self._held[here : here + self._length].copy()
        self._covered = start + self._length
        return Window(array, self._times(start, start + self._length))

    def _times(self, start: int, end: int) -> npt.NDArray[np.float64]:
        origin = self._start_s or 0.0
        return np.array([[origin + start / self._rate, origin + end / self._rate]])
