"""Batches of a view in one global order, masked, prefetched, and resumable at any batch.

The state is a handful of integers and does not know ranks: it says how far the global order was
consumed, counted when a batch is handed over and not when it was prefetched.

Shapes: N samples of the view, M modalities, W ranks.
"""

import weakref
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from .batch import Batch, Layout
from .buffers import BufferRing, Buffers, FreshBuffers
from .collate import Collator
from .crop import PerModality
from .damage import count_damage
from .epoch_reader import EpochReader, ReadBatch
from .errors import ConfigError, StreamStateError
from .facts import Facts
from .iteration import Iteration
from .lazy import lazy_property
from .masking import check_tables, parse_policy
from .options import BatchOptions, Bucketing, CropAt, FeatureDtype, Last, OnDamage
from .order import check_seed, integer
from .planner import Planner
from .policies import MaskPolicy
from .sample_view import SampleView
from .state import State, check_state, make_state, plan_digest

if TYPE_CHECKING:
    from .dataset import StreamDataset


class FeatureStream:
    """Iterates over the rest of an epoch, then starts the next epoch at the next `for`.

    Every rank makes `len(stream)` steps an epoch, with its contiguous part of each global batch.
    Samples without any present modality (also those that have none of `only:`) stay in the batch
    with `present` all False.

    Args:
        view: A store's view, or a `MemoryView`.
        batch_size: Samples of a global batch, over all ranks; groups, with `group_batches`.
        seed: Decides order, masks and random crops, together with the epoch.
        epoch: Where to start.
        rank: This process, 0 .. W-1.
        world_size: Number of processes W.
        masking: Which modalities are hidden, e.g. `bernoulli:0.3`; see `masking`.
        shuffle: False keeps the order of the view.
        window_shards: How many shards are mixed; by default 8, or 2 % where that is more.
        bucketing: `length` sorts each window by length, cuts batches and permutes those.
        max_rows: A global batch ends before its padded rows, summed over modalities, exceed this;
            a sample that exceeds it alone is a batch alone. Steps then differ between epochs.
        last: The last batch of an epoch, where it is not full: `short` leaves it so, and a rank's
            part of it may be empty; `drop` leaves it out; `wrap` fills it from the start of the
            epoch; `pad` fills it with samples of weight 0 that have nothing (`Batch.is_padding`).
        balance: A label whose classes come equally often, rare samples more than once an epoch;
            `none` for each sample once.
        group_batches: A batch holds whole groups (dialogues, speakers), in the order of the ids
            inside a group, and no group is split between ranks.
        crop: At most so many rows of a sample are read; one number, or one a modality.
        crop_at: Which rows: a `random` window, or the one in the `center`.
        stride: Every how many-th row is read, before the crop; one number, or one a modality.
        layout: `padded`, `packed` (no padding, `Batch.cu_seqlens`) or `pooled` (the mean row).
        dtype: Of the features: `float32`, or as `stored`.
        on_damage: `stop` raises where a shard is damaged; `mask` hides its modality from its
            samples, warns once a shard and counts in `damaged`. The order is the same.
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
        bucketing: Bucketing = "none",
        max_rows: int | None = None,
        last: Last = "short",
        balance: str = "none",
        group_batches: bool = False,
        crop: PerModality = None,
        crop_at: CropAt = "random",
        stride: PerModality = None,
        layout: Layout = "padded",
        dtype: FeatureDtype = "float32",
        on_damage: OnDamage = "stop",
        prefetch: int = 2,
        pin_memory: bool = False,
    ) -> None:
        self.view = view
        self.batch_size = integer("batch_size", batch_size, least=1)
        self.seed = integer("seed", seed, least=0)
        self.world_size = integer("world_size", world_size, least=1)
        self.rank = integer("rank", rank, least=0)
        self.prefetch = integer("prefetch", prefetch, least=0)
        self.shuffle = bool(shuffle)
        self.policy: MaskPolicy = parse_policy(masking, view.modalities)
        self.damaged: dict[tuple[str, int], int] = {}
        self._epoch = integer("epoch", epoch, least=0)
        self._position = 0
        check_seed(self.seed, epoch=self._epoch)
        if self.rank >= self.world_size:
            raise ConfigError(f"rank: {rank} of world_size {world_size}; ranks count from 0")
        self.options = BatchOptions.parse(
            view.modalities,
            batch_size=self.batch_size,
            shuffle=self.shuffle,
            bucketing=bucketing,
            max_rows=max_rows,
            last=last,
            balance=balance,
            group_batches=group_batches,
            crop=crop,
            crop_at=crop_at,
            stride=stride,
            layout=layout,
            dtype=dtype,
            on_damage=on_damage,
        )
        check_tables(self.policy, view.ids)
        self._planner = Planner(
            view, self.options, self.policy, seed=self.seed, window_shards=window_shards
        )
        self.window_shards = self._planner.window_shards
        self._pin_memory = bool(pin_memory) and torch.cuda.is_available()
        self._active: weakref.ref[Iteration] | None = None

    def __len__(self) -> int:
        """Return the steps of this epoch on every rank; with `max_rows`, epochs differ in it."""
        return self._planner.plan(self._epoch).num_batches

    @property
    def epoch(self) -> int:
        """The epoch of the next batch; it rises when an iteration has run to its end."""
        return self._epoch

    @property
    def position(self) -> int:
        """Samples (or groups) of this epoch's order that were consumed, over all ranks."""
        return self._position

    @property
    def is_same_every_epoch(self) -> bool:
        """Whether order, masks and crops do not depend on the epoch, as in evaluation."""
        return not (self.shuffle or self.policy.changes or self.options.crop.is_random)

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the rest of the epoch, behind the last batch of one that was broken off."""
        if (active := self._iteration()) is not None:
            active.close()
        if self.view.is_fetched:
            self.view.will_read(self._planner.shard_windows(self._epoch, self._position))
        iteration = Iteration(self, self.reader())
        self._active = weakref.ref(iteration)
        return iteration

    def dataset(self) -> "StreamDataset":
        """Return the stream as a `torch.utils.data.IterableDataset`; see `StreamDataset`."""
        from .dataset import StreamDataset

        return StreamDataset(self)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; where it is the current one, stay at the position.

        So `for epoch in range(stream.epoch, end): stream.set_epoch(epoch)` resumes exactly.

        Raises:
            ConfigError: If `epoch` is negative.
            StreamStateError: If an iteration is under way.
        """
        wanted = integer("epoch", epoch, least=0)
        check_seed(self.seed, epoch=wanted)
        self._refuse_while_iterating("set_epoch")
        if wanted != self._epoch:
            self._epoch, self._position = wanted, 0

    def state_dict(self, after: Batch | None = None) -> State:
        """Return where the stream is, as integers and strings, the same on every rank.

        After the last batch of an epoch and before the iteration ended, the state is the end of
        that epoch: resumed from there, the rest of the epoch is empty.

        Args:
            after: The state behind this batch instead, also one that another process read.
        """
        return make_state(
            self._digest,
            seed=self.seed,
            epoch=self._epoch if after is None else after.epoch,
            position=self._position if after is None else after.position,
            batch_size=self.batch_size,
            options=self._options_text,
        )

    def load_state_dict(self, state: Mapping[str, int | str]) -> None:
        """Go to where `state` was taken, from any rank of any world size.

        Raises:
            StreamStateError: If an iteration is under way, or the state was taken from a stream
                of other samples, columns, order, masking, seed, batch size or options (layout,
                dtype, damage and prefetch may differ), or is damaged. The message says which.
        """
        self._refuse_while_iterating("load_state_dict")
        epoch, position = check_state(state, self.state_dict())
        if not self._planner.plan(epoch).is_between_batches(position):
            raise StreamStateError(f"stream state: position {position!r} is not between batches")
        self._epoch, self._position = epoch, position

    def reader(self, epoch: int | None = None) -> EpochReader:
        """Return what reads this rank's part of an epoch; it does not move the stream.

        Args:
            epoch: Which; by default the current one.
        """
        epoch = self._epoch if epoch is None else epoch
        if not self._position:  # a stream that resumes has said so before
            self._planner.warn_of_skew(epoch)
        return EpochReader(
            plan=self._planner.plan(epoch),
            groups=self._planner.groups,
            facts=self._facts,
            needs_keys=self.policy.is_random or self.options.crop.is_random,
            policy=self.policy,
            collator=Collator(
                self.view,
                self._facts,
                buffers=self._buffers,
                crop=self.options.crop,
                layout=self.options.layout,
                keeps_dtype=self.options.keeps_dtype,
                masks_damage=self.options.masks_damage,
                pin_memory=self._pin_memory,
            ),
            seed=self.seed,
            epoch=epoch,
            rank=self.rank,
            world_size=self.world_size,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return what goes to another process: an iteration under way does not."""
        kept = {key: value for key, value in self.__dict__.items() if key != "_buffers"}
        return kept | {"_active": None}

    @lazy_property
    def _digest(self) -> str:
        return plan_digest(
            fingerprint=self.view.fingerprint,
            shuffle=self.shuffle,
            window_shards=self.window_shards,
            masking=str(self.policy),
            seed=self.seed,
            batch_size=self.batch_size,
            options=self._options_text,
        )

    @lazy_property
    def _options_text(self) -> str:
        return self.options.text(self.view.group_of if self.options.group_batches else None)

    @lazy_property
    def _buffers(self) -> dict[str, Buffers]:
        # Read ahead, being read, in use, and the one before until its name is used again.
        depth, pins = self.prefetch + 3, self._pin_memory
        return {m: FreshBuffers() if pins else BufferRing(depth) for m in self.view.modalities}

    @lazy_property
    def _facts(self) -> Facts:
        return Facts.of(
            self.view, lengths=self._planner.lengths, has_groups=self.options.group_batches
        )

    def _iteration(self) -> Iteration | None:
        active = self._active() if self._active is not None else None
        return active if active is not None and active.is_under_way else None

    def _refuse_while_iterating(self, what: str) -> None:
        if self._iteration() is not None:
            raise StreamStateError(
                f"{what}: an iteration over this stream is under way; leave its loop first"
            )

    def _advance(self, read: ReadBatch) -> None:
        count_damage(self.damaged, read.damage, stacklevel=3)
        self._position = read.position

    def _end_epoch(self) -> None:
        self._epoch, self._position = self._epoch + 1, 0
