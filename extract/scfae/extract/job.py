"""Extraction: every encoder over one decode of each file, one column each, shard by shard.

The order of things is the guarantee: nothing is touched before inputs, encoders and weights are
checked; a shard is committed whole, its receipt last; so a kill at any instant costs at most the
shards in flight, and the same command again ends in the same bytes.
"""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from scfae.store import FeatureStore
from scfae.store.column import DType
from scfae.store.container import Format
from scfae.store.errors import ConfigError
from scfae.store.receipt import STATUSES

from .claiming import ClaimedTasks, tasks_of
from .decoder_pool import DecoderPool
from .leases import LEASE_S, Leases, refuse_claimed
from .manifest import MediaItem, read_inputs
from .meter import Meter, Progress
from .opening import open_store
from .plan import ColumnPlan, Work, plan_columns, plan_work
from .registry import load_encoder
from .report import ColumnReport, ExtractReport
from .settings import ExtractSettings
from .shard_work import ShardExtractor, ShardTask
from .writers import BriefWriters, HeldWriters


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
    claim: bool = False,
    lease_s: float = LEASE_S,
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
        claim: Share the extraction with other processes that are told the same, on this machine
            or others: each takes the shards that nobody has.
        lease_s: How long a claimed shard is left to a process that shows no sign of life.
        dry_run: Only say what would be done.
        progress: Receives (files done, files in all, text).

    Raises:
        ManifestError: If there is nothing to read or a row cannot be used.
        UnknownEncoder, WeightsUnavailable, WeightsMismatch: If an encoder cannot be loaded.
        ConfigError: If an argument is out of range.
        FingerprintMismatch: If a column is there and was made differently.
        StoreLocked: If another process extracts one of the columns and does not share.
        ExtractionInterrupted: If KeyboardInterrupt came; its first argument names the signal.
    """
    begun_s = time.monotonic()
    settings = ExtractSettings(
        media=os.fspath(media),
        store=os.fspath(store),
        encoders=tuple(encoders),
        device=device,
        dtype=dtype,
        form=form,
        workers=workers,
        batch_size=batch_size,
        shard_size=shard_size,
        max_failures=max_failures,
        timeout_s=timeout_s,
        retry_failed=retry_failed,
        replace=replace,
        column_as=column_as,
        claim=claim,
        lease_s=lease_s,
    )
    settings.check()
    items = {item.id: item for item in read_inputs(media)}
    columns = load_columns(settings)
    opened, known = open_store(
        settings.store, items, shard_size=settings.shard_size, dry_run=dry_run
    )
    if opened is None:
        shards = -(-len(items) // shard_size)
        reports = [
            ColumnReport(name, p.info.is_random, shards, 0, {}, 0) for name, p in columns.items()
        ]
        return ExtractReport(
            settings.store, len(items), reports, [], max_failures, 0.0, 0, is_dry=True
        )
    work = plan_work(opened, columns, items, retry_failed=retry_failed, replace=replace)
    if known is not None and known != shard_size:
        work.notices.append(f"{store} has shards of {known} samples; --shard-size is for new ones")
    done: Sequence[ShardTask] = tasks_of(work)
    meter = Meter(progress)
    if not dry_run:
        try:
            done = _run(opened, work, items, settings=settings, meter=meter)
        except KeyboardInterrupt as stop:
            signum = stop.args[0] if stop.args else signal.SIGINT
            raise ExtractionInterrupted(int(signum), settings.store) from None
    return _report(
        opened,
        work,
        done,
        meter=meter,
        max_failures=max_failures,
        seconds=time.monotonic() - begun_s,
        is_dry=dry_run,
    )


def load_columns(settings: ExtractSettings) -> dict[str, ColumnPlan]:
    """Return the wanted columns by name, with their encoders loaded.

    Raises:
        UnknownEncoder, WeightsUnavailable, WeightsMismatch: If an encoder cannot be loaded.
        ConfigError: If a setting does not fit.
    """
    place = _device(settings.device)
    return plan_columns(
        [load_encoder(text, device=place) for text in settings.encoders],
        dtype=settings.dtype,
        form=settings.form,
        column_as=settings.column_as,
        batch_size=settings.batch_size,
        threads=torch.get_num_threads(),
    )


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"--device {name}: this machine has no CUDA device; use cpu or auto.")
    return name


def _run(
    store: FeatureStore,
    work: Work,
    items: Mapping[str, MediaItem],
    *,
    settings: ExtractSettings,
    meter: Meter,
) -> list[ShardTask]:
    """Extract what is missing, alone or beside others; return what this process has done."""
    names = sorted({name for missing in work.shards.values() for name in missing})
    if not names:
        return []
    infos = [work.columns[name].info for name in names]
    kind = BriefWriters if settings.claim else HeldWriters
    done: list[ShardTask] = []
    with kind(store, infos, replace=settings.replace) as writers:
        for info in infos:
            _notice_compute(work, info.name, info.compute, writers.compute(info.name))
        extractor = ShardExtractor(
            store,
            work.columns,
            items,
            committer=writers,
            batch_size=settings.batch_size,
            meter=meter,
        )
        meter.total = sum(map(extractor.count_files, tasks_of(work)))
        with DecoderPool(settings.num_workers, settings.limits) as pool:
            if settings.claim:
                with Leases(store, names, lease_s=settings.lease_s) as leases:
                    claimed = ClaimedTasks(store, work, leases, lease_s=settings.lease_s)
                    for tasks in claimed.rounds():
                        for task in extractor.run(tasks, pool):
                            claimed.finish(task)
                            done.append(task)
            else:
                refuse_claimed(store, names)
                done += extractor.run(tasks_of(work), pool)
    work.notices += extractor.notices
    return done


def _notice_compute(
    work: Work, name: str, now: Mapping[str, object], then: Mapping[str, object]
) -> None:
    changed = [f"{key} {then[key]}, not {now[key]}" for key in now if then.get(key) != now[key]]
    if not changed:
        return
    work.notices.append(
        f"{name}: goes on as it was begun, with {', '.join(changed)}"
        if then.get("device") == now.get("device")
        else f"{name}: was begun on {then.get('device')}, goes on on {now.get('device')}: "
        "rows of the two may differ in the last digits"
    )


def _report(
    store: FeatureStore,
    work: Work,
    tasks: Sequence[ShardTask],
    *,
    meter: Meter,
    max_failures: int,
    seconds: float,
    is_dry: bool,
) -> ExtractReport:
    reports = []
    failures: dict[str, str] = {}
    for name, plan in work.columns.items():
        done = sum(name in task.missing for task in tasks)
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
        files=meter.num_files,
        clips=meter.num_windows,
        shares=meter.shares(),
        notices=work.notices,
        is_dry=is_dry,
    )
