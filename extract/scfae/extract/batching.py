"""Windows of many files packed into batches of one fixed shape, and rows handed back to samples.

Batches are composed inside a shard in the order of its samples, never by timing, and the last one
is filled up with zeros: so features depend neither on the number of workers nor on which shards
were done before a kill.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from .encoder import Encoder
from .recipe import Window

Rows = npt.NDArray[np.float32]
Times = npt.NDArray[np.float64]


class ShardBatcher:
    """Encodes the windows of one shard for one column.

    Args:
        encoder: Who encodes.
        batch_size: Windows a forward pass.
        threads: CPU threads of a forward pass.
    """

    def __init__(self, encoder: Encoder, *, batch_size: int, threads: int) -> None:
        self._encoder = encoder
        self._batch_size = batch_size
        self._threads = threads
        self._waiting: list[tuple[str, Window]] = []
        self._rows: dict[str, list[Rows]] = {}
        self._times: dict[str, list[Times]] = {}

    def add(self, sample: str, windows: Sequence[Window]) -> None:
        """Take windows of a sample, in its order; encode whenever a batch is full."""
        for window in windows:
            if self._waiting and self._waiting[0][1].array.shape != window.array.shape:
                self._encode()  # shapes follow from the samples' order, so this does too
            self._waiting.append((sample, window))
            if len(self._waiting) == self._batch_size:
                self._encode()

    def finish(self) -> None:
        """Encode what is left."""
        if self._waiting:
            self._encode()

    def rows(self, sample: str) -> tuple[Rows, Times] | None:
        """Return a sample's rows `[T, D]` and times `[T, 2]` and forget them; None if it has none.

        To be called after `finish`.
        """
        rows = self._rows.pop(sample, None)
        times = self._times.pop(sample, None)
        if not rows or not times:
            return None
        return np.concatenate(rows), np.concatenate(times)

    def _encode(self) -> None:
        waiting, self._waiting = self._waiting, []
        first = waiting[0][1].array
        batch = np.zeros((self._batch_size, *first.shape), dtype=first.dtype)
        for slot, (_, window) in enumerate(waiting):
            batch[slot] = window.array
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            windows = torch.from_numpy(batch).to(self._encoder.device, non_blocking=True)
            encoded = self._encoder.encode(windows).float().cpu().numpy()
        for slot, (sample, window) in enumerate(waiting):
            kept = encoded[slot, window.kept]
            if len(kept) != len(window.times):
                raise ValueError(
                    f"{self._encoder.spec.name}: a window of {len(window.times)} rows after "
                    f"{window.skip} gave {encoded.shape[1]}"
                )
            self._rows.setdefault(sample, []).append(kept.copy())
            self._times.setdefault(sample, []).append(window.times)
