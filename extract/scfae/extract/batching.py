"""Windows of many files packed into batches of one fixed shape, and rows handed back to samples.

Batches are composed inside a shard in the order of its samples, never by timing, and the last one
is filled up with zeros: so features depend neither on the number of workers nor on which shards
were done before a kill.
"""

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from scfae.store import ColumnInfo

from .forward import Forward, Rows
from .recipe import Window

Times = npt.NDArray[np.float64]
DEFAULT_BATCH_SIZE = 8
_MOST_RUNNING = 1  # so that a GPU computes one batch while the next is composed


class ShardBatcher:
    """Encodes the windows of one shard for one column.

    Args:
        forward: Gives the rows of batches.
        batch_size: Windows a forward pass.
        threads: CPU threads of a forward pass.
    """

    def __init__(self, forward: Forward, *, batch_size: int, threads: int) -> None:
        self._forward = forward
        self._batch_size = batch_size
        self._threads = threads
        self._waiting: list[tuple[str, Window]] = []
        self._running: list[tuple[list[tuple[str, Window]], Callable[[], Rows]]] = []
        self._rows: dict[str, list[Rows]] = {}
        self._times: dict[str, list[Times]] = {}

    @classmethod
    def for_column(cls, info: ColumnInfo, forward: Forward) -> Self:
        """Return a batcher that does as a column was begun, or by default where it does not say."""
        return cls(
            forward,
            batch_size=int(info.compute.get("batch_size", DEFAULT_BATCH_SIZE)),
            threads=int(info.compute.get("threads", torch.get_num_threads())),
        )

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
        self._settle(most_running=0)

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
        size = self._batch_size if self._forward.encoder.pads_batches else len(waiting)
        batch = self._forward.buffer((size, *first.shape), first.dtype)
        slots = batch.numpy()
        for slot, (_, window) in enumerate(waiting):
            slots[slot] = window.array
        slots[len(waiting) :] = 0
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        self._running.append((waiting, self._forward.submit(batch)))
        self._settle(most_running=_MOST_RUNNING)

    def _settle(self, *, most_running: int) -> None:
        """Hand the rows of all but the last few batches to their samples, in order."""
        while len(self._running) > most_running:
            windows, wait = self._running.pop(0)
            encoded = wait()
            for slot, (sample, window) in enumerate(windows):
                kept = encoded[slot, window.kept]
                if len(kept) != len(window.times):
                    raise ValueError(
                        f"{self._forward.encoder.spec.name}: a window of {len(window.times)} rows "
                        f"after {window.skip} gave {encoded.shape[1]}"
                    )
                self._rows.setdefault(sample, []).append(kept.copy())
                self._times.setdefault(sample, []).append(window.times)
