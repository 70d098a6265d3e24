"""One process's part of an extraction: all the shards, or those that it claims."""

from collections.abc import Mapping
from contextlib import ExitStack

from scfae.store import FeatureStore

from .claiming import ClaimedTasks, tasks_of
from .decoder_pool import DecoderPool
from .done import Done
from .leases import Leases, refuse_claimed
from .meter import Meter, Progress
from .plan import Work
from .preparation import Prepared
from .shard_work import ShardExtractor
from .writers import BriefWriters, HeldWriters


def run_here(prepared: Prepared, progress: Progress | None) -> Done:
    """Extract what is missing in this process, alone or beside others that claim.

    Args:
        prepared: What to do.
        progress: Told after every file.

    Raises:
        StoreLocked: If another process extracts one of the columns and does not share.
    """
    settings, work = prepared.settings, prepared.work
    names = names_of(work)
    if not names or prepared.store is None:
        return Done()
    infos = [work.columns[name].info for name in names]
    meter = Meter(progress)
    done = Done()
    with ExitStack() as stack:
        writers: BriefWriters | HeldWriters
        if settings.claim:
            writers = BriefWriters(prepared.store, infos, replace=settings.replace)
        else:
            writers = HeldWriters(prepared.store, infos, replace=settings.replace)
        stack.enter_context(writers)
        refuse_claimed(prepared.store, names, is_sharing=settings.claim)
        for info in infos:
            notice_compute(work, info.name, info.compute, writers.info(info.name).compute)
        extractor = ShardExtractor(
            prepared.store,
            work.columns,
            prepared.items,
            committer=writers,
            precision=settings.precision,
            meter=meter,
        )
        meter.total = sum(map(extractor.count_files, tasks_of(work)))
        pool = stack.enter_context(
            DecoderPool(settings.num_workers, settings.limits, decoder=settings.decoder)
        )
        if settings.claim:
            _claim(prepared.store, work, extractor, pool, done, lease_s=settings.lease_s)
        else:
            done.tasks += extractor.run(tasks_of(work), pool)
    done.notices += extractor.notices
    done.count(meter)
    return done


def _claim(
    store: FeatureStore,
    work: Work,
    extractor: ShardExtractor,
    pool: DecoderPool,
    done: Done,
    *,
    lease_s: float,
) -> None:
    with Leases(store, names_of(work), lease_s=lease_s) as leases:
        claimed = ClaimedTasks(store, work, leases, lease_s=lease_s)
        for tasks in claimed.rounds():
            for task in extractor.run(tasks, pool):
                claimed.finish(task)
                done.tasks.append(task)


def names_of(work: Work) -> list[str]:
    """Return the columns that have something to do, sorted."""
    return sorted({name for missing in work.shards.values() for name in missing})


def notice_compute(
    work: Work, name: str, now: Mapping[str, object], then: Mapping[str, object]
) -> None:
    """Take note of a column that is computed as it was begun and not as was asked for now."""
    keys = list(dict.fromkeys([*now, *then]))
    changed = [
        f"{key} {then.get(key, False)}, not {now.get(key, False)}"
        for key in keys
        if then.get(key) != now.get(key)
    ]
    if not changed:
        return
    work.notices.append(
        f"{name}: goes on as it was begun, with {', '.join(changed)}"
        if then.get("device") == now.get("device")
        else f"{name}: was begun on {then.get('device')}, goes on on {now.get('device')}: "
        "rows of the two may differ in the last digits"
    )
