"""The unit of work: one shard of the columns that lack it, from its files to its commit.

Every way to run an extraction hands `ShardExtractor.run` its tasks: one process all of them, a
claimer those it has a lease on, a Ray actor one at a time. A task's commit is idempotent: what is
written depends on the shard's media and the columns alone, so doing one twice changes nothing.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from scfae.store import ColumnInfo, FeatureStore, ShardSample
from scfae.store.errors import CorruptShard

from .batching import ShardBatcher
from .compute import Compute, Precision
from .decoder_pool import DecoderPool, Message, Request
from .forward import Forward
from .manifest import MediaItem
from .media import Decoded, Fate, media_sha256
from .meter import Meter
from .plan import ColumnPlan, sample_files
from .recipe import Recipe
from .texts import MediaSource


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One unit of work.

    Attributes:
        shard: Number of the shard.
        missing: Columns to fill, by name.
    """

    shard: int
    missing: tuple[str, ...]


class Committer(Protocol):
    """Writes finished shards into columns."""

    def info(self, column: str) -> ColumnInfo:
        """Return a column as it was recorded when it was begun."""

    def commit(self, column: str, shard: int, samples: Sequence[ShardSample]) -> None:
        """Write a shard of a column, whole or not at all."""


@dataclass(frozen=True, slots=True)
class _File:
    """One file of one sample, and the columns that it feeds."""

    sample: str
    path: MediaSource
    recipes: Mapping[str, Recipe]


class ShardExtractor:
    """Turns tasks into committed shards.

    Args:
        store: With all the inputs among its samples.
        columns: Every wanted column by name.
        items: The inputs by id.
        committer: Writes the shards.
        precision: Of the forward passes.
        meter: Counts and times what is done.
    """

    def __init__(
        self,
        store: FeatureStore,
        columns: Mapping[str, ColumnPlan],
        items: Mapping[str, MediaItem],
        *,
        committer: Committer,
        precision: Precision,
        meter: Meter,
    ) -> None:
        self._store = store
        self._columns = columns
        self._items = items
        self._committer = committer
        self._precision = precision
        self._meter = meter
        self._forwards: dict[str, Forward] = {}
        self._notices: list[str] = []

    @property
    def notices(self) -> list[str]:
        """What a person should know, one sentence each."""
        return [*self._notices, *(n for one in self._forwards.values() for n in one.notices)]

    def count_files(self, task: ShardTask) -> int:
        """Return how many files a task decodes."""
        return len(self._files_of(task))

    def run(self, tasks: Iterable[ShardTask], pool: DecoderPool) -> Iterator[ShardTask]:
        """Yield each task when its shard is committed.

        Tasks are asked for as soon as the decoders have room, so files of the next shard are
        decoded while this one is encoded and written.

        Args:
            tasks: What to do, taken when there is room.
            pool: Decodes.
        """
        begun: deque[tuple[ShardTask, list[_File]]] = deque()

        def requests() -> Iterator[Request]:
            for task in tasks:
                files = self._files_of(task)
                begun.append((task, files))
                for file in files:
                    yield Request(file.path, file.recipes)

        messages: Iterator[Message] = self._meter.waiting_for_decoders(pool.decode(requests()))
        while True:
            if not begun:
                # Tasks come with the requests that the pool asks for before it gives a message.
                first = next(messages, None)
                if first is not None:
                    messages = itertools.chain([first], messages)
                if not begun:
                    return
            task, files = begun.popleft()
            self._extract(task, files, messages)
            yield task

    def _extract(self, task: ShardTask, files: list[_File], messages: Iterator[Message]) -> None:
        batchers = {name: self._batcher(name) for name in task.missing}
        fates: dict[str, dict[str, tuple[Fate, str | None]]] = {name: {} for name in task.missing}
        for file in files:
            decoded = self._decode(file, batchers, messages)
            digest = decoded.sha256 or media_sha256(file.path)
            for name in file.recipes:
                fates[name][file.sample] = (decoded.fates[name], digest)
            has_failed = any(fate.status == "failed" for fate in decoded.fates.values())
            self._meter.count_file(file.sample, has_failed=has_failed)
        ids = [str(self._store.samples.ids[i]) for i in self._store.samples.rows_of(task.shard)]
        for name in task.missing:
            with self._meter.forward:
                batchers[name].finish()
            earlier = self._earlier(name, task.shard)
            samples = [
                earlier.get(one) or self._sample(name, one, fates[name], batchers[name])
                for one in ids
            ]
            with self._meter.write:
                self._committer.commit(name, task.shard, samples)

    def _decode(
        self, file: _File, batchers: Mapping[str, ShardBatcher], messages: Iterator[Message]
    ) -> Decoded:
        """Encode a file's windows as they come; return the end of it."""
        for message in messages:
            is_end = isinstance(message, Decoded)
            parts = (
                {name: fate.windows for name, fate in message.fates.items()}
                if isinstance(message, Decoded)
                else message
            )
            with self._meter.forward:
                for name, windows in parts.items():
                    batchers[name].add(file.sample, windows)
            self._meter.num_windows += sum(map(len, parts.values()))
            if is_end:
                assert isinstance(message, Decoded)
                return message
        raise RuntimeError(f"the decoder pool ended before {file.path}")

    def _earlier(self, column: str, shard: int) -> dict[str, ShardSample]:
        """Return what the column says already of samples of a shard that are no inputs now."""
        here = self._store.samples.rows_of(shard)
        ids = {index: str(self._store.samples.ids[index]) for index in here}
        others = [index for index in here if ids[index] not in self._items]
        if not others:
            return {}
        stored = self._store.column(column)
        try:
            receipt = stored.receipt(shard)
            if receipt is None:
                return {}
            return {
                ids[index]: ShardSample(
                    stored.rows(index),
                    stored.times(index),
                    receipt.status[index - here.start],
                    receipt.reasons.get(str(index - here.start)),
                    receipt.media[index - here.start],
                )
                for index in others
            }
        except CorruptShard as error:
            self._notices.append(
                f"{column}: the rows of {len(others)} samples that are no inputs now are lost; "
                f"give their media again. {error}"
            )
            return {}

    def _sample(
        self,
        column: str,
        sample: str,
        fates: Mapping[str, tuple[Fate, str | None]],
        batcher: ShardBatcher,
    ) -> ShardSample:
        if sample not in fates:
            return ShardSample(status="missing", reason=self._why_missing(column, sample))
        fate, digest = fates[sample]
        encoded = batcher.rows(sample)
        if encoded is None or fate.status in ("missing", "failed"):
            status = fate.status if fate.status in ("missing", "failed") else "missing"
            reason = fate.reason or "the encoder gave no rows"
            return ShardSample(status=status, reason=reason, media_sha256=digest)
        rows, times = encoded
        if self._precision == "fp16" and not np.isfinite(rows).all():
            reason = "the encoder gave values that are not finite in fp16; --precision bf16 or fp32"
            return ShardSample(status="failed", reason=reason, media_sha256=digest)
        return ShardSample(rows, times, fate.status, fate.reason, digest)

    def _why_missing(self, column: str, sample: str) -> str:
        item = self._items.get(sample)
        if item is None:
            return "not among the inputs when this column was extracted"
        accepts = self._columns[column].encoder.spec.accepts
        return f"the sample has no {' or '.join(accepts)}"

    def _batcher(self, name: str) -> ShardBatcher:
        info = self._committer.info(name)
        if name not in self._forwards:
            encoder = self._columns[name].encoder
            self._forwards[name] = Forward(encoder, Compute.recorded(info))
        return ShardBatcher.for_column(info, self._forwards[name])

    def _files_of(self, task: ShardTask) -> list[_File]:
        """Return a shard's files in the order of its samples, each with all it feeds."""
        files = []
        for index in self._store.samples.rows_of(task.shard):
            sample = str(self._store.samples.ids[index])
            if sample not in self._items:
                continue
            by_path = sample_files(self._items[sample], self._columns, task.missing)
            files += [_File(sample, path, recipes) for path, recipes in by_path.items()]
        return files
