"""Batches of a view in one global order, masked, prefetched, and resumable at any batch.

The state is a handful of integers and does not know ranks: it says how many samples of the global
order were consumed, counted when a batch is handed over and not when it was prefetched.

Shapes: N samples of the view, M modalities, W ranks.
"""

import hashlib
import operator
import os
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, SupportsIndex

import numpy as np
import numpy.typing as npt
import torch

from .batch import Batch, collate, label_tensor
from .errors import ConfigError, StreamStateError
from .masking import Keys, MaskPolicy, id_keys, parse_policy
from .order import Integers, SampleView, check_seed, default_window, global_order, rank_slice
from .prefetch import Prefetcher

State = dict[str, int | str]

STATE_FORMAT: Final = 1
_STATE_FIELDS: Final = ("plan", "seed", "epoch", "position", "batch_size")


class FeatureStream:
    """Iterates over the rest of an epoch, then starts the next epoch at the next `for`.

    Every rank makes `len(stream)` steps an epoch, with its contiguous part of each global batch;
    the last batch may be smaller, and a rank's part of it even empty. Samples without any present
    modality (also those that have none of `only:`) stay in the batch with `present` all False.

    Args:
        view: A store's view, or a `MemoryView`.
        batch_size: Samples of a global batch, over all ranks.
        seed: Decides order and masks, together with the epoch.
        epoch: Where to start.
        rank: This process, 0 .. W-1.
        world_size: Number of processes W.
        masking: `none`, `bernoulli:P`, `subsets` or `only:M1,M2`; see `masking`.
        shuffle: False keeps the order of the view.
        window_shards: How many shards are mixed; by default 8, or 2 % where that is more.
        prefetch: Batches read ahead by one thread; 0 reads in the thread that iterates.
        pin_memory: Page-locked batches for asynchronous copies; ignored without CUDA.

    Raises:
        ConfigError: If an argument is out of range; the message names it.
    """

    def __init__(
        self,
        view: SampleView,
        batch_size: int = 64,
        *,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        masking: str = "none",
        shuffle: bool = True,
        window_shards: int | None = None,
        prefetch: int = 2,
        pin_memory: bool = False,
    ) -> None:
        self.view = view
        self.batch_size = _integer("batch_size", batch_size, least=1)
        self.seed = _integer("seed", seed, least=0)
        self.world_size = _integer("world_size", world_size, least=1)
        self.rank = _integer("rank", rank, least=0)
        self.prefetch = _integer("prefetch", prefetch, least=0)
        self.shuffle = bool(shuffle)
        self.policy: MaskPolicy = parse_policy(masking, view.modalities)
        self._epoch = _integer("epoch", epoch, least=0)
        self._position = 0
        check_seed(self.seed, epoch=self._epoch)
        if self.rank >= self.world_size:
            raise ConfigError(f"rank: {rank} of world_size {world_size}; ranks count from 0")
        shards = len(np.unique(view.shard_of))
        self.window_shards = default_window(shards)
        if window_shards is not None:
            self.window_shards = _integer("window_shards", window_shards, least=1)
        self._pin_memory = bool(pin_memory) and torch.cuda.is_available()
        self._active: weakref.ref[_Iteration] | None = None
        self._order: tuple[int, Integers] | None = None

    def __len__(self) -> int:
        """Return the steps of a whole epoch, the same on every rank."""
        return -(-len(self.view) // self.batch_size)

    @property
    def epoch(self) -> int:
        """The epoch of the next batch; it rises when an iteration has run to its end."""
        return self._epoch

    @property
    def position(self) -> int:
        """Samples of this epoch's global order that were consumed, over all ranks."""
        return self._position

    def __iter__(self) -> Iterator[Batch]:
        """Iterate from the current position to the end of the epoch.

        An iteration that was broken off is closed, and this one continues behind its last batch.
        """
        if (active := self._iteration()) is not None:
            active.close()
        iteration = _Iteration(self, self._reader())
        self._active = weakref.ref(iteration)
        return iteration

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; where it is the current one, stay at the position.

        So `for epoch in range(stream.epoch, end): stream.set_epoch(epoch)` resumes exactly.

        Raises:
            ConfigError: If `epoch` is negative.
            StreamStateError: If an iteration is under way.
        """
        wanted = _integer("epoch", epoch, least=0)
        check_seed(self.seed, epoch=wanted)
        self._refuse_while_iterating("set_epoch")
        if wanted != self._epoch:
            self._epoch, self._position = wanted, 0

    def state_dict(self) -> State:
        """Return where the stream is, as integers and strings, the same on every rank.

        After the last batch of an epoch and before the iteration ended, the state is the end of
        that epoch: resumed from there, the rest of the epoch is empty.
        """
        return {
            "format": STATE_FORMAT,
            "plan": self._plan,
            "seed": self.seed,
            "epoch": self._epoch,
            "position": self._position,
            "batch_size": self.batch_size,
        }

    def load_state_dict(self, state: Mapping[str, int | str]) -> None:
        """Go to where `state` was taken, from any rank of any world size.

        Raises:
            StreamStateError: If an iteration is under way, or the state was taken from a stream
                of other samples, columns, order, masking, seed or batch size, or is damaged.
        """
        self._refuse_while_iterating("load_state_dict")
        if state.get("format") != STATE_FORMAT:
            raise StreamStateError(
                f"stream state: format {state.get('format')!r} is not {STATE_FORMAT}; "
                "it was saved by another version of scfae"
            )
        if lacking := [field for field in _STATE_FIELDS if field not in state]:
            raise StreamStateError(f"stream state: lacks {', '.join(lacking)}")
        for field, mine in (("seed", self.seed), ("batch_size", self.batch_size)):
            if state[field] != mine:
                raise StreamStateError(
                    f"stream state: {field} is {state[field]}, but this stream's is {mine}"
                )
        if state["plan"] != self._plan:
            raise StreamStateError(
                f"stream state: was taken from a stream that differs in "
                f"{_difference(str(state['plan']), self._plan)}; make the stream as it was then"
            )
        epoch, position = state["epoch"], state["position"]
        if not isinstance(epoch, int) or epoch < 0:
            raise StreamStateError(f"stream state: epoch {epoch!r} is not a number of an epoch")
        at_batch = isinstance(position, int) and 0 <= position <= len(self.view)
        if not at_batch or (position != len(self.view) and int(position) % self.batch_size):
            raise StreamStateError(f"stream state: position {position!r} is not between batches")
        self._epoch, self._position = epoch, int(position)

    @cached_property
    def _plan(self) -> str:
        return "".join(
            _short_digest(*part)
            for part in (
                (self.view.fingerprint,),
                (self.shuffle, self.window_shards),
                (str(self.policy),),
                (self.seed, self.batch_size),
            )
        )

    @cached_property
    def _columns(self) -> "_Columns":
        view = self.view
        return _Columns(
            keys=id_keys(view.ids) if self.policy.is_random else np.zeros(len(view), np.uint64),
            available=np.asarray(view.available, dtype=bool),
            lengths={m: np.asarray(view.lengths(m)) for m in view.modalities},
            labels={name: label_tensor(view.label(name)) for name in view.label_names},
        )

    def _reader(self) -> "_Reader":
        if self._order is None or self._order[0] != self._epoch:
            order = global_order(
                self.view.shard_of,
                self.seed,
                epoch=self._epoch,
                window_shards=self.window_shards,
                shuffle=self.shuffle,
            )
            self._order = (self._epoch, order)
        return _Reader(
            view=self.view,
            columns=self._columns,
            order=self._order[1],
            policy=self.policy,
            seed=self.seed,
            epoch=self._epoch,
            batch_size=self.batch_size,
            rank=self.rank,
            world_size=self.world_size,
            pin_memory=self._pin_memory,
        )

    def _iteration(self) -> "_Iteration | None":
        active = self._active() if self._active is not None else None
        return active if active is not None and not active.is_closed else None

    def _refuse_while_iterating(self, what: str) -> None:
        if self._iteration() is not None:
            raise StreamStateError(
                f"{what}: an iteration over this stream is under way; leave its loop first"
            )

    def _advance(self, position: int) -> None:
        self._position = position

    def _end_epoch(self) -> None:
        self._epoch, self._position = self._epoch + 1, 0


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """What is known of all samples without reading rows; the same in every epoch."""

    keys: Keys
    available: npt.NDArray[np.bool_]
    lengths: dict[str, npt.NDArray[np.int64]]
    labels: dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class _Reader:
    """Reads one rank's part of an epoch. Refers to no stream, so a thread may own it."""

    view: SampleView
    columns: _Columns
    order: Integers
    policy: MaskPolicy
    seed: int
    epoch: int
    batch_size: int
    rank: int
    world_size: int
    pin_memory: bool

    def batches(self, position: int) -> Iterator[tuple[Batch, int]]:
        """Yield the batches from a position on, each with the position behind it."""
        while position < len(self.order):
            batch = self.order[position : position + self.batch_size]
            mine = batch[rank_slice(len(batch), self.rank, world_size=self.world_size)]
            position += len(batch)
            yield self._read(mine), position

    def _read(self, positions: Integers) -> Batch:
        present = self.policy.masks(
            self.columns.keys[positions],
            self.columns.available[positions],
            seed=self.seed,
            epoch=self.epoch,
        )
        return collate(
            self.view,
            positions,
            present=present,
            lengths=self.columns.lengths,
            labels=self.columns.labels,
            pin_memory=self.pin_memory,
        )


class _Iteration(Iterator[Batch]):
    """The rest of one epoch; moves its stream on with every batch that it hands over."""

    def __init__(self, stream: FeatureStream, reader: _Reader) -> None:
        self.is_closed = False
        self._stream = stream
        self._pid = os.getpid()
        batches = reader.batches(stream.position)
        self._batches: Iterator[tuple[Batch, int]] = (
            Prefetcher(batches, stream.prefetch, name="scfae-stream")
            if stream.prefetch
            else batches
        )

    def __next__(self) -> Batch:
        if self.is_closed:
            raise StopIteration
        if self._pid != os.getpid():
            raise RuntimeError("this iterator belongs to the parent process; start one after fork")
        try:
            batch, position = next(self._batches)
        except StopIteration:
            self.close()
            self._stream._end_epoch()
            raise
        except Exception:
            # The position is still behind the last good batch: the next iteration tries again.
            self.close()
            raise
        self._stream._advance(position)
        return batch

    def close(self) -> None:
        """End the loader thread; the iteration yields no more. May be called again."""
        self.is_closed = True
        if isinstance(self._batches, Prefetcher):
            self._batches.close()


def _integer(field: str, value: SupportsIndex, *, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise ConfigError(f"{field}: must be an integer, not {value!r}") from None
    if number < least:
        raise ConfigError(f"{field}: must be at least {least}, not {number}")
    return number


_PLAN_PARTS: Final = (
    "the view (its samples, columns or labels)",
    "shuffle or window_shards",
    "masking",
    "seed or batch_size",
)
_PART_DIGITS: Final = 16


def _short_digest(*values: object) -> str:
    # A plan is one such digest for each part, so that a mismatch can say which part it is.
    return hashlib.sha256(repr(values).encode()).hexdigest()[:_PART_DIGITS]


def _difference(theirs: str, mine: str) -> str:
    if len(theirs) != len(mine):
        return "its plan"
    starts = range(0, len(mine), _PART_DIGITS)
    pairs = [(theirs[i : i + _PART_DIGITS], mine[i : i + _PART_DIGITS]) for i in starts]
    return " and ".join(name for name, (a, b) in zip(_PLAN_PARTS, pairs, strict=True) if a != b)
