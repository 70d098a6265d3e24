"""Windows of sound on a grid of time steps, for networks that see a spectrogram as patches.

Apart from the network, since it runs in the decoding children: importing torch there would cost
every one of them seconds at its start.
"""

from dataclasses import dataclass

import numpy as np

from .recipe import AudioChunk, MediaKind, StreamInfo, Window


@dataclass(frozen=True, slots=True)
class Grid:
    """How a network's input lies on the sound.

    Attributes:
        sample_rate_hz: Rate of the sound.
        frame_samples: Samples that a spectrogram's frame sees.
        hop_samples: From one frame to the next.
        step_frames: Frames of one time step.
        steps: Time steps of a window.
    """

    sample_rate_hz: int
    frame_samples: int
    hop_samples: int
    step_frames: int
    steps: int

    @property
    def step_samples(self) -> int:
        """Samples from one time step to the next."""
        return self.hop_samples * self.step_frames

    @property
    def window_samples(self) -> int:
        """Samples that all frames of a window see."""
        return self.hop_samples * (self.step_frames * self.steps - 1) + self.frame_samples

    def frames(self, samples: int) -> int:
        """Return the whole frames in so many samples."""
        return max(0, 1 + (samples - self.frame_samples) // self.hop_samples)

    def steps_in(self, samples: int) -> int:
        """Return the time steps that hold at least one frame of so many samples."""
        return min(self.steps, -(-self.frames(samples) // self.step_frames))


class GridWindows:
    """Cuts windows of `grid.window_samples`; what is short ends in NaN.

    The first window begins with the sound, the next `stride` steps later. Sound that no window
    covers gives a last one, which begins on the grid and reaches the end: it lacks less than one
    step. So only sound shorter than a window leaves much of one empty.

    Args:
        grid: Of the network.
        stride: Time steps from one window to the next.
        has_steps: A row a time step, each step once (a later window's earlier steps only give
            context); or a row a window.
    """

    def __init__(self, grid: Grid, stride: int, *, has_steps: bool) -> None:
        self._grid = grid
        self._stride = stride * grid.step_samples
        self._has_steps = has_steps
        self._held = np.empty(0, dtype=np.float32)
        self._held_from = 0  # number of the first held sample
        self._next = 0  # number of the sample where the next window starts
        self._covered = 0  # number of the first time step that no window covers
        self._start_s: float | None = None

    def push(self, chunk: AudioChunk) -> list[Window]:
        """Return the windows that this chunk completes."""
        if self._start_s is None:
            self._start_s = chunk.start_s
        self._held = np.concatenate([self._held, chunk.samples])
        windows = []
        length = self._grid.window_samples
        while self._next + length <= self._end:
            windows.append(self._cut(self._next))
            self._next += self._stride
        # The last window may reach back over a whole length.
        keep_from = max(self._held_from, min(self._next, self._end - length))
        self._held = self._held[keep_from - self._held_from :]
        self._held_from = keep_from
        return windows

    def end(self) -> list[Window]:
        """Return the window of short sound or of an uncovered tail."""
        grid = self._grid
        total_steps = -(-grid.frames(self._end) // grid.step_frames)
        if self._covered >= total_steps:
            return []
        return [self._cut(max(0, total_steps - grid.steps) * grid.step_samples)]

    @property
    def _end(self) -> int:
        return self._held_from + len(self._held)

    def _cut(self, start: int) -> Window:
        grid = self._grid
        here = start - self._held_from
        sound = self._held[here : here + grid.window_samples]
        array = np.full(grid.window_samples, np.nan, dtype=np.float32)
        array[: len(sound)] = sound
        first = start // grid.step_samples
        steps = grid.steps_in(len(sound))
        skip = max(0, self._covered - first) if self._has_steps else 0
        self._covered = first + steps
        begin_s = (self._start_s or 0.0) + start / grid.sample_rate_hz
        end_s = begin_s + len(sound) / grid.sample_rate_hz
        if not self._has_steps:
            return Window(array, np.array([[begin_s, end_s]], dtype=np.float64))
        edges = begin_s + np.arange(steps + 1) * (grid.step_samples / grid.sample_rate_hz)
        edges[-1] = min(edges[-1], end_s)
        times = np.stack([edges[:-1], edges[1:]], axis=1)
        return Window(array, times[skip:], skip=skip)


@dataclass(frozen=True, slots=True)
class GridSound:
    """Sound to windows on a grid; see `GridWindows`."""

    grid: Grid
    stride: int
    has_steps: bool
    kind: MediaKind = "audio"

    @property
    def sample_rate_hz(self) -> int:
        """Rate at which it wants sound."""
        return self.grid.sample_rate_hz

    def begin(self, info: StreamInfo, /) -> GridWindows:
        """Return a cutter for one stream."""
        return GridWindows(self.grid, self.stride, has_steps=self.has_steps)
