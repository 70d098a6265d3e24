"""A stream as a `torch.utils.data.IterableDataset`, for trainers that insist on a `DataLoader`.

The stream's own loader thread needs no `DataLoader`, and is faster than worker processes, which
copy every batch through shared memory. With workers, batch k of the stream is read by worker
k mod n, and `DataLoader` collects from them in turn, so batches come in the same order as without.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch.utils.data import IterableDataset, get_worker_info

from .batch import Batch
from .damage import count_damage
from .errors import StreamStateError

if TYPE_CHECKING:
    from .stream import FeatureStream

_MAX_WORKERS = 1024
_EPOCH, _POSITION, _TURN = range(3)


class StreamDataset(IterableDataset[Batch]):
    """Batches of a stream, for `DataLoader(dataset, batch_size=None)`.

    Without workers it is the stream itself, which moves on with every batch. Worker processes are
    forked or spawned and cannot move the stream of this process: call `set_epoch` before each
    epoch, and take the state from the last batch that was used: `state_dict(batch)`. A second
    epoch without `set_epoch` would repeat the first, and is refused.

    Give `rank` and `world_size` to the stream, and let no trainer shard the dataset once more.

    Args:
        stream: The stream; its settings hold. Workers do not read ahead with threads.
    """

    def __init__(self, stream: "FeatureStream") -> None:
        super().__init__()
        self.stream = stream
        # Seen by workers that are already running, as those of `persistent_workers` are: where to
        # begin, how often that was set, and for which of these times each worker began.
        self._shared = torch.zeros(3 + _MAX_WORKERS, dtype=torch.int64)
        self._shared.share_memory_()  # type: ignore[no-untyped-call]
        # Made here, so that forked workers share it and need no lock to make it.
        stream.reader()

    def __len__(self) -> int:
        """Return the batches of an epoch, as `DataLoader` counts them."""
        return len(self.stream)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; where it is the current one, stay at the position."""
        self.stream.set_epoch(epoch)
        self._set_place()

    def state_dict(self, after: Batch | None = None) -> dict[str, int | str]:
        """Return the state of the stream, or that behind a batch; see `FeatureStream`.

        Raises:
            StreamStateError: If workers read the batches and `after` is not given.
        """
        if after is None and self._shared[3:].any():
            raise StreamStateError(
                "state_dict: worker processes read this stream, so only the batch that was used "
                "last says where it is; give that batch"
            )
        return self.stream.state_dict(after)

    def load_state_dict(self, state: dict[str, int | str]) -> None:
        """Go to where a state was taken; see `FeatureStream`."""
        self.stream.load_state_dict(state)
        self._set_place()

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over this process's part of the rest of an epoch."""
        worker = get_worker_info()
        if worker is None:
            return iter(self.stream)
        return self._part(worker.id, worker.num_workers)

    def _set_place(self) -> None:
        self._shared[_EPOCH] = self.stream.epoch
        self._shared[_POSITION] = self.stream.position
        self._shared[_TURN] += 1

    def _part(self, worker: int, num_workers: int) -> Iterator[Batch]:
        """Yield the batches that are one worker's turn."""
        stream = self.stream
        begun, turn = 3 + worker, int(self._shared[_TURN]) + 1
        if int(self._shared[begun]) == turn and not stream.is_same_every_epoch:
            raise StreamStateError(
                "a DataLoader with workers began the same epoch twice; call "
                "dataset.set_epoch(epoch) before each epoch, or use num_workers=0"
            )
        self._shared[begun] = turn
        epoch, position = stream.epoch, stream.position
        if turn > 1:
            epoch, position = int(self._shared[_EPOCH]), int(self._shared[_POSITION])
        reader = stream.reader(epoch)
        for read in reader.batches(position, part=worker, num_parts=num_workers):
            count_damage(stream.damaged, read.damage, stacklevel=1)
            yield read.batch
