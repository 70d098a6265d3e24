"""Extraction: every encoder over one decode of each file, one column each, shard by shard.

The order of things is the guarantee: nothing is touched before inputs, encoders and weights are
checked; a shard is committed whole, its receipt last; so a kill at any instant costs at most the
shards in flight, and the same command again ends in the same bytes.
"""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scfae.store.receipt import STATUSES

from .claiming import tasks_of
from .device import choose_device
from .done import Done
from .estimate import estimate
from .meter import Progress
from .preparation import Prepared, prepare
from .processes import devices_of, run_processes
from .report import ColumnReport, ExtractReport
from .running import run_here
from .settings import ExtractSettings


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
    dry_run: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> ExtractReport:
    """Run encoders over media into a feature store; what is there already is kept.

    Args:
        media: A folder of media, or a manifest.
        store: The store's folder or URL, made if there is none.
        encoders: Encoder strings `NAME[@WEIGHTS][:option=value,…]`.
        dry_run: Only say what would be done, and what it would take by a short measured probe.
        progress: Receives (files done, files in all, text).
        **settings: The other attributes of `ExtractSettings`, e.g. `batch_size=32`.

    Raises:
        ManifestError: If there is nothing to read or a row cannot be used.
        UnknownEncoder, WeightsUnavailable, WeightsMismatch: If an encoder cannot be loaded.
        ConfigError: If a setting is out of range.
        FingerprintMismatch: If a column is there and was made differently.
        StoreLocked: If another process extracts one of the columns and does not share.
        ExtractionInterrupted: If KeyboardInterrupt came; its first argument names the signal.
    """
    begun_s = time.monotonic()
    wanted = ExtractSettings(
        media=os.fspath(media), store=os.fspath(store), encoders=tuple(encoders), **settings
    )
    try:
        prepared, done = run(wanted, progress, dry_run=dry_run)
        expected = estimate(prepared, num_devices=len(devices_of(wanted))) if dry_run else None
    except KeyboardInterrupt as stop:
        signum = stop.args[0] if stop.args else signal.SIGINT
        raise ExtractionInterrupted(int(signum), wanted.store) from None
    report = _report(prepared, done, seconds=time.monotonic() - begun_s, is_dry=dry_run)
    return replace(report, estimate=expected)


def run(
    settings: ExtractSettings, progress: Progress | None, *, dry_run: bool = False
) -> tuple[Prepared, Done]:
    """Prepare an extraction and do it in the way that its settings say.

    Returns:
        What was to do, and what has been done.
    """
    settings.check()
    if settings.ray is not None and not dry_run:
        from .ray_pool import run_with_ray

        return run_with_ray(settings, progress)
    devices = devices_of(settings)
    is_parent = len(devices) > 1
    device = choose_device(settings.device, where=f"--device {settings.device}")
    prepared = prepare(
        settings,
        device="cpu" if is_parent and not dry_run else device,
        kind_of_device=device.partition(":")[0],
        dry_run=dry_run,
    )
    if dry_run:
        return prepared, Done()
    if is_parent:
        return prepared, run_processes(prepared, devices, progress)
    return prepared, run_here(prepared, progress)


def _report(prepared: Prepared, done: Done, *, seconds: float, is_dry: bool) -> ExtractReport:
    settings, work, store = prepared.settings, prepared.work, prepared.store
    tasks = tasks_of(work) if is_dry else done.tasks
    num_shards = (
        -(-len(prepared.items) // settings.shard_size)
        if store is None
        else store.samples.num_shards
    )
    reports = []
    failures: dict[str, str] = {}
    for name, plan in work.columns.items():
        extracted = num_shards if store is None else sum(name in task.missing for task in tasks)
        counts: dict[str, int] = {}
        rows = 0
        if store is not None and not is_dry:
            column = store.column(name)
            status, reasons = column.status, column.reasons
            counts = {fate: int((status == fate).sum()) for fate in STATUSES}
            rows = int(column.lengths.sum())
            for index, fate in enumerate(status):
                if fate == "failed":
                    failures.setdefault(str(store.samples.ids[index]), reasons[index])
        kept = num_shards - extracted
        reports.append(ColumnReport(name, plan.info.is_random, extracted, kept, counts, rows))
    return ExtractReport(
        store=settings.store if store is None else store.url,
        samples=len(prepared.items) if store is None else len(store.samples),
        columns=reports,
        failures=sorted(failures.items()),
        max_failures=settings.max_failures,
        seconds=seconds,
        files=done.files,
        clips=done.clips,
        shares=done.shares(),
        notices=[*work.notices, *done.notices],
        is_dry=is_dry,
    )
