"""The rest of one epoch, which moves its stream on with every batch that it hands over."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .batch import Batch
from .epoch_reader import EpochReader, ReadBatch
from .prefetch import Prefetcher

if TYPE_CHECKING:
    from .stream import FeatureStream


class Iteration(Iterator[Batch]):
    """Hands over batches. Made by `iter(stream)`.

    Args:
        stream: The stream to move on.
        reader: Reads the epoch that the stream is in.
    """

    def __init__(self, stream: "FeatureStream", reader: EpochReader) -> None:
        self.is_closed = False
        self._stream = stream
        self._pid = os.getpid()
        batches = reader.batches(stream.position)
        self._batches: Iterator[ReadBatch] = (
            Prefetcher(batches, stream.prefetch, name="scfae-stream")
            if stream.prefetch
            else batches
        )

    @property
    def is_under_way(self) -> bool:
        """Whether it may yield more, in this process."""
        return not self.is_closed and self._pid == os.getpid()

    def __next__(self) -> Batch:
        if self.is_closed:
            raise StopIteration
        if self._pid != os.getpid():
            raise RuntimeError("this iterator belongs to the parent process; start one after fork")
        try:
            read = next(self._batches)
        except StopIteration:
            self.close()
            self._stream._end_epoch()
            raise
        except Exception:
            # The position is still behind the last good batch: the next iteration tries again.
            self.close()
            raise
        self._stream._advance(read)
        return read.batch

    def close(self) -> None:
        """End the loader thread; the iteration yields no more. May be called again."""
        self.is_closed = True
        if isinstance(self._batches, Prefetcher):
            self._batches.close()
