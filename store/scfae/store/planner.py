"""Makes the plan of each epoch of a stream from the index of its view.

Shapes: N samples of the view, U units (samples, or groups), M modalities.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from .balance import balanced_order, class_codes
from .lazy import lazy_property
from .options import BatchOptions
from .order import GivenOrder, Order, ShardIndex, ShuffledOrder, default_window, integer
from .plan import EpochPlan
from .policies import MaskPolicy
from .sample_view import SampleView
from .skew import warn_of_skew
from .units import Groups, Units


class Planner:
    """Plans epochs. What all epochs share is made once, and the last plan is kept.

    Args:
        view: The samples.
        options: How batches are made.
        policy: Which modalities are hidden: the lengths of those never kept do not count.
        seed: Of the stream.
        window_shards: How many shards are mixed; None for the default.

    Raises:
        ConfigError: If the options do not fit the view.
    """

    def __init__(
        self,
        view: SampleView,
        options: BatchOptions,
        policy: MaskPolicy,
        *,
        seed: int,
        window_shards: int | None,
    ) -> None:
        self._view = view
        self._options = options
        self._policy = policy
        self._seed = seed
        self.groups = Groups(view.group_of) if options.group_batches else None
        of_units = view.shard_of if self.groups is None else view.shard_of[self.groups.first]
        self._index = ShardIndex(of_units)
        options.check_last(self._index.num_samples)
        self._classes = None if options.balance is None else class_codes(view, options.balance)
        self.window_shards = default_window(self._index.num_shards)
        if window_shards is not None:
            self.window_shards = integer("window_shards", window_shards, least=1)
        self._is_skew_known = False
        self._planned: tuple[int, EpochPlan] | None = None
        self._known_units: dict[tuple[bool, ...], Units] = {}

    @lazy_property
    def lengths(self) -> dict[str, npt.NDArray[Any]]:
        """Stored rows of every sample, for each modality `[N]`."""
        return {m: np.asarray(self._view.lengths(m)) for m in self._view.modalities}

    def plan(self, epoch: int) -> EpochPlan:
        """Return the batches of an epoch."""
        if self._planned is None or self._planned[0] != epoch:
            plan = EpochPlan(
                self._order(epoch),
                self._units(epoch),
                self._options.rules,
                seed=self._seed,
                epoch=epoch,
            )
            self._planned = (epoch, plan)
        return self._planned[1]

    def shard_windows(self, epoch: int, position: int = 0) -> list[list[int]]:
        """Return the shards that an epoch reads from a position on, window by window.

        A shard is in the first window that needs it.
        """
        order = self._order(epoch)
        seen: set[int] = set()
        windows: list[list[int]] = []
        start = 0
        for end in order.window_ends.tolist():
            if end > position:
                units = order.slice(max(start, position), end)
                if self.groups is not None:
                    members = [self.groups.samples_of(unit) for unit in units.tolist()]
                    units = np.concatenate(members)
                shards = np.unique(self._view.shard_of[units]).tolist()
                windows.append([shard for shard in shards if shard not in seen])
                seen.update(shards)
            start = end
        return windows

    def warn_of_skew(self, epoch: int) -> None:
        """Warn, the first time, of a window of this epoch that is dominated by one value."""
        if self._is_skew_known or not self._options.rules.shuffle:
            return
        self._is_skew_known = True
        window = self._shuffled(epoch).window_of_sample
        warn_of_skew(self._view, window if self.groups is None else self.groups.each_sample(window))

    def __getstate__(self) -> dict[str, Any]:
        """Return what goes to another process: plans are made anew there."""
        return self.__dict__ | {"_planned": None}

    def _shuffled(self, epoch: int) -> ShuffledOrder:
        return ShuffledOrder(self._index, self._seed, epoch=epoch, window_shards=self.window_shards)

    def _order(self, epoch: int) -> Order:
        if not self._options.rules.shuffle:
            return GivenOrder(self._index, window_shards=self.window_shards)
        order = self._shuffled(epoch)
        return order if self._classes is None else balanced_order(self._classes, order)

    def _units(self, epoch: int) -> Units:
        rules = self._options.rules
        if rules.bucketing == "none" and rules.max_rows is None:
            return Units.unknown()
        may_keep = self._policy.may_keep(epoch)
        if may_keep not in self._known_units:
            longest = np.zeros((len(self._view), len(may_keep)), dtype=np.int64)
            for column, modality in enumerate(self._view.modalities):
                if may_keep[column]:
                    stored = self.lengths[modality]
                    longest[:, column] = self._options.crop.lengths(column, stored)
            dims = [self._view.dims[modality] for modality in self._view.modalities]
            samples = Units(longest, np.array(dims, dtype=np.int64))
            self._known_units[may_keep] = (
                samples if self.groups is None else self.groups.of_samples(samples)
            )
        return self._known_units[may_keep]
