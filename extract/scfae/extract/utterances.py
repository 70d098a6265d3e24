"""The recipe of WavLM and its like: sound to pieces of its exact length, a row every 20 ms.

Apart from the network, since it runs in the decoding children. Sound of at most `window_s` is one
piece, with every sample of it, as upstream runs an utterance. Longer sound is cut into pieces of
`window_s` that begin on the grid of rows and overlap by the 80 samples that a row reaches beyond
its step, so that rows go on at 20 ms without gap or repetition; the last piece reaches back, as
long as the others, and its rows that are known already are skipped. Features depend on the length
of a piece, since attention and norms run over it: the length is part of the recipe.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .recipe import AudioChunk, MediaKind, StreamInfo, Window

SAMPLE_RATE_HZ = 16_000
ROW_SAMPLES = 400
STEP_SAMPLES = 320
STEP_S = STEP_SAMPLES / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class RowGrid:
    """Where the rows of a network lie in its sound.

    Attributes:
        row_samples: That one row sees at least.
        step_samples: From one row to the next.
        sample_rate_hz: Of the sound.
    """

    row_samples: int = ROW_SAMPLES
    step_samples: int = STEP_SAMPLES
    sample_rate_hz: int = SAMPLE_RATE_HZ

    @property
    def step_s(self) -> float:
        """Seconds from one row to the next."""
        return self.step_samples / self.sample_rate_hz

    def count(self, samples: int) -> int:
        """Return how many rows the network gives for this much sound; 0 if too little."""
        short = samples < self.row_samples
        return 0 if short else (samples - self.row_samples) // self.step_samples + 1

    def length(self, rows: int) -> int:
        """Return the samples of a piece of so many rows."""
        return (rows - 1) * self.step_samples + self.row_samples


WAVLM_GRID = RowGrid()


def count_rows(samples: int) -> int:
    """Return how many rows WavLM gives for this much sound; 0 below 400 samples."""
    return WAVLM_GRID.count(samples)


class UtteranceWindows:
    """Pieces of sound, float32 `[samples]`.

    Args:
        rows: Rows of a piece of long sound.
        grid: Where rows lie.
    """

    def __init__(self, rows: int, grid: RowGrid = WAVLM_GRID) -> None:
        self._rows = rows
        self._grid = grid
        self._length = grid.length(rows)
        self._held: list[npt.NDArray[np.float32]] = []
        self._held_from = 0  # number of the first held sample
        self._end = 0  # number of samples so far
        self._done = 0  # rows of the pieces so far
        self._start_s = 0.0

    def push(self, chunk: AudioChunk) -> list[Window]:
        """Return the pieces that this chunk completes."""
        if self._end == 0:
            self._start_s = chunk.start_s
        self._held.append(chunk.samples)
        self._end += len(chunk.samples)
        windows = []
        # Only where a further row has come is the sound longer than one piece.
        while self._grid.count(self._end) > self._done + self._rows:
            start = self._done * self._grid.step_samples
            windows.append(self._window(start, start + self._length, self._done))
            self._done += self._rows
        return windows

    def end(self) -> list[Window]:
        """Return the only piece of short sound, or the last one of long sound."""
        total = self._grid.count(self._end)
        if total == self._done:
            return []
        if self._done == 0:
            return [self._window(0, self._end, 0)]
        start = (total - self._rows) * self._grid.step_samples
        return [self._window(start, start + self._length, self._done)]

    def _window(self, start: int, end: int, done: int) -> Window:
        """Return a piece whose rows before number `done` are skipped."""
        held = np.concatenate(self._held)
        array = held[start - self._held_from : end - self._held_from].copy()
        # The last piece may reach back over a whole length.
        self._held = [held[start - self._held_from :]]
        self._held_from = start
        first = start // self._grid.step_samples
        step_s = self._grid.step_s
        starts = self._start_s + np.arange(done, first + self._grid.count(len(array))) * step_s
        return Window(array, np.stack([starts, starts + step_s], axis=1), skip=done - first)


@dataclass(frozen=True, slots=True)
class UtteranceRecipe:
    """Sound to pieces.

    Attributes:
        rows: Of a piece of long sound.
        grid: Where rows lie.
    """

    rows: int
    grid: RowGrid = WAVLM_GRID
    kind: MediaKind = "audio"

    @property
    def sample_rate_hz(self) -> int:
        """Rate at which it wants sound."""
        return self.grid.sample_rate_hz

    def begin(self, info: StreamInfo, /) -> UtteranceWindows:
        """Return a cutter for one stream."""
        return UtteranceWindows(self.rows, self.grid)
