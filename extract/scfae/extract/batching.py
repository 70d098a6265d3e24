"""Windows of many files packed into batches of one fixed shape, and rows handed back to samples.

Batches are composed inside a shard in the order of its samples, never by timing: windows of one
shape wait for each other, also across samples, up to a bound in bytes; where that is reached, those
that wait longest go as they are. An unfilled batch is filled up with zeros. So features depend
neither on the number of workers nor on which shards were done before a kill.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch

from scfae.store import ColumnInfo

from .forward import Forward, Rows
from .gathering import GatheredRows, Times
from .recipe import Window

DEFAULT_BATCH_SIZE = 8
_MOST_RUNNING = 1  # so that a GPU computes one batch while the next is composed
# What a batch is made of depends on it, so it is no setting.
_MOST_WAITING_BYTES = 64 << 20

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A window, and where its rows belong."""

    sample: str
    number: int
    window: Window


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
        self._waiting: dict[Shape, list[_Waiting]] = {}  # the shape that waits longest first
        self._waiting_bytes = 0
        self._counts: dict[str, int] = {}
        self._running: list[tuple[list[_Waiting], Callable[[], Rows]]] = []
        self._gathered = GatheredRows(forward.encoder.stored_as or "float32")

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
            number = self._counts.get(sample, 0)
            self._counts[sample] = number + 1
            shape = window.array.shape
            group = self._waiting.setdefault(shape, [])
            group.append(_Waiting(sample, number, window))
            self._waiting_bytes += window.array.nbytes
            if len(group) == self._batch_size:
                self._encode(shape)
            while self._waiting_bytes > _MOST_WAITING_BYTES and len(self._waiting) > 1:
                self._encode(next(iter(self._waiting)))

    def finish(self) -> None:
        """Encode what is left."""
        while self._waiting:
            self._encode(next(iter(self._waiting)))
        self._settle(most_running=0)

    def rows(self, sample: str) -> tuple[Rows, Times] | None:
        """Return a sample's rows `[T, D]` and times `[T, 2]` and forget them; None if it has none.

        To be called after `finish`.
        """
        return self._gathered.take(sample)

    def _encode(self, shape: Shape) -> None:
        waiting = self._waiting.pop(shape)
        first = waiting[0].window.array
        self._waiting_bytes -= len(waiting) * first.nbytes
        size = self._batch_size if self._forward.encoder.pads_batches else len(waiting)
        batch = self._forward.buffer((size, *shape), first.dtype)
        slots = batch.numpy()
        for slot, one in enumerate(waiting):
            slots[slot] = one.window.array
        slots[len(waiting) :] = 0
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        self._running.append((waiting, self._forward.submit(batch)))
        self._settle(most_running=_MOST_RUNNING)

    def _settle(self, *, most_running: int) -> None:
        """Hand the rows of all but the last few batches to their samples, in order."""
        while len(self._running) > most_running:
            waiting, wait = self._running.pop(0)
            encoded = wait()
            for slot, one in enumerate(waiting):
                window = one.window
                kept = encoded[slot, window.kept]
                if len(kept) != len(window.times):
                    raise ValueError(
                        f"{self._forward.encoder.spec.name}: a window of {len(window.times)} rows "
                        f"after {window.skip} gave {encoded.shape[1]}"
                    )
                self._gathered.add(one.sample, one.number, kept, window.times)
