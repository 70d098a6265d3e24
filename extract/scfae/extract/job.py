"""Extraction: every encoder over one decode of each file, one column each, shard by shard.

The order of things is the guarantee: nothing is touched before inputs, encoders and weights are
checked; a shard is committed whole, its receipt last; so a kill at any instant costs at most the
shards in flight, and the same command again ends in the same bytes.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from scfae.store import ColumnWriter, FeatureStore, ShardSample
from scfae.store.column import DType
from scfae.store.container import Format
from scfae.store.errors import ConfigError, CorruptShard, StoreNotFound
from scfae.store.receipt import STATUSES

from .batching import ShardBatcher
from .decoder_pool import DecoderPool, Request
from .limits import Limits
from .manifest import MediaItem, read_inputs
from .media import Decoded, Fate, media_sha256
from .plan import ColumnPlan, Work, plan_columns, plan_work, sample_rows
from .recipe import Recipe
from .registry import load_encoder
from .report import ColumnReport, ExtractReport

Progress = Callable[[int, int, str], None]
"""Receives (files done, files in all, what happens now)."""


class ExtractionInterrupted(Exception):
    """An extraction was stopped by a signal between two safe points; the text says how to go on.

    Attributes:
        signum: The signal.
    """

    def __init__(self, signum: int, store: str) -> None:
        self.signum = signum
        super().__init__(
            f"stopped by {signal.Signals(signum).name}; finished shards are in {store}. "
            "Run the same command again to go on."
        )


def extract(
    media: str | Path,
    store: str | Path,
    encoders: Sequence[str],
    *,
    device: str = "auto",
    dtype: DType = "float32",
    form: Format = "zarr",
    workers: int | None = None,
    batch_size: int = 8,
    shard_size: int = 256,
    max_failures: int = 0,
    timeout_s: float = 60.0,
    retry_failed: bool = False,
    replace: bool = False,
    column_as: str | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ExtractReport:
    """Run encoders over media into a feature store; what is there already is kept.

    Args:
        media: A folder of media, or a manifest.
        store: The store's folder or URL, made if there is none.
        encoders: Encoder strings `NAME[@WEIGHTS][:option=value,…]`.
        device: Of the encoders; `auto` takes a GPU where there is one.
        dtype: Of the stored rows.
        form: File format of new columns' shards; a column that was begun keeps its own.
        workers: Decoding processes; None is one a core.
        batch_size: Windows a forward pass; a column that was begun keeps its own.
        shard_size: Samples a shard, of a new store.
        max_failures: Quarantined samples beyond which the report is `exceeded`.
        timeout_s: Wall time that decoding one file may take.
        retry_failed: Extract shards with failed samples again.
        replace: Throw away columns of the same name that were made differently.
        column_as: Name of the column, for a single encoder.
        dry_run: Only say what would be done.
        progress: Receives (files done, files in all, text).

    Raises:
        ManifestError: If there is nothing to read or a row cannot be used.
        UnknownEncoder, WeightsUnavailable, WeightsMismatch: If an encoder cannot be loaded.
        ConfigError: If an argument is out of range.
        FingerprintMismatch: If a column is there and was made differently.
        ExtractionInterrupted: If KeyboardInterrupt came; its first argument names the signal.
    """
    begun_s = time.monotonic()
    workers = _check(
        encoders,
        workers=workers,
        batch_size=batch_size,
        shard_size=shard_size,
        max_failures=max_failures,
        timeout_s=timeout_s,
    )
    items = {item.id: item for item in read_inputs(media)}
    place = _device(device)
    loaded = [load_encoder(text, device=place) for text in encoders]
    columns = plan_columns(
        loaded,
        dtype=dtype,
        form=form,
        column_as=column_as,
        batch_size=batch_size,
        threads=torch.get_num_threads(),
    )
    store = os.fspath(store)
    opened, known = _open(store, items, shard_size=shard_size, dry_run=dry_run)
    if opened is None:
        shards = -(-len(items) // shard_size)
        reports = [
            ColumnReport(name, p.info.is_random, shards, 0, {}, 0) for name, p in columns.items()
        ]
        return ExtractReport(store, len(items), reports, [], max_failures, 0.0, 0, is_dry=True)
    work = plan_work(opened, columns, items, retry_failed=retry_failed, replace=replace)
    if known is not None and known != shard_size:
        work.notices.append(f"{store} has shards of {known} samples; --shard-size is for new ones")
    job = _Job(opened, work, items, batch_size=batch_size, progress=progress)
    if not dry_run:
        try:
            job.run(workers, Limits(timeout_s=timeout_s), replace=replace)
        except KeyboardInterrupt as stop:
            signum = stop.args[0] if stop.args else signal.SIGINT
            raise ExtractionInterrupted(int(signum), store) from None
    return _report(
        opened,
        work,
        job,
        max_failures=max_failures,
        seconds=time.monotonic() - begun_s,
        is_dry=dry_run,
    )


def _check(
    encoders: Sequence[str],
    *,
    workers: int | None,
    batch_size: int,
    shard_size: int,
    max_failures: int,
    timeout_s: float,
) -> int:
    """Return the number of workers after checking the numbers."""
    if not encoders:
        raise ConfigError("no encoder given: name at least one with -e; see `scfae encoders`.")
    chosen = (os.cpu_count() or 1) if workers is None else workers
    numbers = {
        "workers": chosen,
        "batch-size": batch_size,
        "shard-size": shard_size,
    }
    for name, value in numbers.items():
        if value < 1:
            raise ConfigError(f"--{name} must be at least 1, not {value}.")
    if max_failures < 0:
        raise ConfigError(f"--max-failures must be at least 0, not {max_failures}.")
    if not timeout_s > 0:
        raise ConfigError(f"--timeout must be more than 0 seconds, not {timeout_s:g}.")
    return chosen


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"--device {name}: this machine has no CUDA device; use cpu or auto.")
    return name


def _open(
    path: str, items: Mapping[str, MediaItem], *, shard_size: int, dry_run: bool
) -> tuple[FeatureStore | None, int | None]:
    """Return the store with all inputs among its samples, and the shard size it had."""
    rows = sample_rows(list(items.values()))
    try:
        store = FeatureStore.open(path)
    except StoreNotFound:
        if dry_run:
            return None, None
        return FeatureStore.create(path, rows, shard_size=shard_size), None
    if dry_run:
        store.samples = store.samples.append(rows)  # in memory only
    else:
        store.append_samples(rows)
        store.update_labels(rows)
    return store, store.samples.shard_size


@dataclass(frozen=True, slots=True)
class _File:
    """One file of one sample, and the columns that it feeds."""

    sample: str
    path: Path
    recipes: Mapping[str, Recipe]


class _Job:
    """Goes through the shards that have something to do."""

    def __init__(
        self,
        store: FeatureStore,
        work: Work,
        items: Mapping[str, MediaItem],
        *,
        batch_size: int,
        progress: Progress | None,
    ) -> None:
        self._store = store
        self._work = work
        self._items = items
        self._batch_size = batch_size
        self._progress = progress
        self._files = {shard: self._files_of(shard) for shard in work.shards}
        self.num_files = 0
        self._total = sum(map(len, self._files.values()))

    def run(self, workers: int, limits: Limits, *, replace: bool) -> None:
        """Extract everything that is missing."""
        names = sorted({name for missing in self._work.shards.values() for name in missing})
        with ExitStack() as stack:
            writers: dict[str, ColumnWriter] = {}
            for name in names:
                info = self._work.columns[name].info
                writers[name] = stack.enter_context(self._store.add_column(info, replace=replace))
                self._notice(info.compute, writers[name].info.compute, name)
            if not names:
                return
            requests = (
                Request(file.path, file.recipes) for files in self._files.values() for file in files
            )
            pool = stack.enter_context(DecoderPool(workers, limits))
            messages = pool.decode(requests)
            for shard, missing in self._work.shards.items():
                self._shard(shard, {name: writers[name] for name in missing}, messages)

    def _shard(
        self, shard: int, writers: Mapping[str, ColumnWriter], messages: Iterator[object]
    ) -> None:
        batchers = {name: self._batcher(name, writer) for name, writer in writers.items()}
        fates: dict[str, dict[str, tuple[Fate, str | None]]] = {name: {} for name in writers}
        for file in self._files[shard]:
            decoded = self._decode(file, batchers, messages)
            digest = decoded.sha256 or media_sha256(file.path)
            for name in file.recipes:
                fates[name][file.sample] = (decoded.fates[name], digest)
            self.num_files += 1
            if self._progress is not None:
                self._progress(self.num_files, self._total, file.sample)
        for name, writer in writers.items():
            batchers[name].finish()
            earlier = self._earlier(name, shard)
            ids = [str(self._store.samples.ids[i]) for i in self._store.samples.rows_of(shard)]
            samples = [
                earlier.get(one) or self._sample(name, one, fates[name], batchers[name])
                for one in ids
            ]
            writer.commit(shard, samples)

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
            self._work.notices.append(
                f"{column}: the rows of {len(others)} samples that are no inputs now are lost; "
                f"give their media again. {error}"
            )
            return {}

    def _decode(
        self, file: _File, batchers: Mapping[str, ShardBatcher], messages: Iterator[object]
    ) -> Decoded:
        """Encode a file's windows as they come; return the end of it."""
        for message in messages:
            if isinstance(message, Decoded):
                for name, fate in message.fates.items():
                    batchers[name].add(file.sample, fate.windows)
                return message
            assert isinstance(message, dict)
            for name, windows in message.items():
                batchers[name].add(file.sample, windows)
        raise RuntimeError(f"the decoder pool ended before {file.path}")

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
        return ShardSample(rows, times, fate.status, fate.reason, digest)

    def _why_missing(self, column: str, sample: str) -> str:
        item = self._items.get(sample)
        if item is None:
            return "not among the inputs when this column was extracted"
        accepts = self._work.columns[column].encoder.spec.accepts
        return f"the sample has no {' or '.join(accepts)}"

    def _batcher(self, name: str, writer: ColumnWriter) -> ShardBatcher:
        compute = writer.info.compute  # as recorded when the column was begun
        return ShardBatcher(
            self._work.columns[name].encoder,
            batch_size=int(compute.get("batch_size", self._batch_size)),
            threads=int(compute.get("threads", torch.get_num_threads())),
        )

    def _files_of(self, shard: int) -> list[_File]:
        """Return a shard's files in the order of its samples, each with all it feeds."""
        files = []
        for index in self._store.samples.rows_of(shard):
            sample = str(self._store.samples.ids[index])
            if sample not in self._items:
                continue
            by_path: dict[Path, dict[str, Recipe]] = {}
            for name in self._work.shards[shard]:
                plan: ColumnPlan = self._work.columns[name]
                source = plan.source(self._items[sample])
                if source is not None:
                    kind, path = source
                    by_path.setdefault(path, {})[name] = plan.encoder.recipe(kind)
            files += [_File(sample, path, recipes) for path, recipes in by_path.items()]
        return files

    def _notice(self, now: Mapping[str, object], then: Mapping[str, object], name: str) -> None:
        changed = [f"{key} {then[key]}, not {now[key]}" for key in now if then.get(key) != now[key]]
        if changed:
            self._work.notices.append(
                f"{name}: goes on as it was begun, with {', '.join(changed)}"
                if then.get("device") == now.get("device")
                else f"{name}: was begun on {then.get('device')}, goes on on {now.get('device')}: "
                "rows of the two may differ in the last digits"
            )


def _report(
    store: FeatureStore,
    work: Work,
    job: _Job,
    *,
    max_failures: int,
    seconds: float,
    is_dry: bool,
) -> ExtractReport:
    reports = []
    failures: dict[str, str] = {}
    for name, plan in work.columns.items():
        done = sum(name in missing for missing in work.shards.values())
        counts: dict[str, int] = {}
        rows = 0
        if not is_dry:
            column = store.column(name)
            status, reasons = column.status, column.reasons
            counts = {fate: int((status == fate).sum()) for fate in STATUSES}
            rows = int(column.lengths.sum())
            for index, fate in enumerate(status):
                if fate == "failed":
                    failures.setdefault(str(store.samples.ids[index]), reasons[index])
        kept = store.samples.num_shards - done
        reports.append(ColumnReport(name, plan.info.is_random, done, kept, counts, rows))
    return ExtractReport(
        store=store.url,
        samples=len(store.samples),
        columns=reports,
        failures=sorted(failures.items()),
        max_failures=max_failures,
        seconds=seconds,
        files=job.num_files,
        notices=work.notices,
        is_dry=is_dry,
    )
