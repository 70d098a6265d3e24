"""Extraction on a Ray cluster: one task a shard, one actor a GPU, or one for each few CPUs.

The driver plans, begins the columns and deals out shards; an actor loads its encoders once and
makes one shard at a time. Numbers of shards go out and counts come back: features go straight from
the actor into the store, which every node must reach under the same path or URL, like the media.

A shard whose actor or node died is dealt out again, up to `_TRIES` times; Ray starts a lost actor
anew where there is room. Doing a shard twice is harmless, since its commit is idempotent.
"""

import logging
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from scfae.store.errors import ConfigError, ScfaeError, StoreError

from .claiming import tasks_of
from .decoder_pool import DecoderPool
from .done import Done
from .leases import Leases, refuse_claimed
from .meter import Meter, Progress, duration
from .preparation import Prepared, prepare, prepare_part
from .running import names_of, notice_compute
from .settings import ExtractSettings
from .shard_work import ShardExtractor, ShardTask
from .writers import BriefWriters

_TRIES: Final = 4
_CPUS_BESIDE_GPU: Final = 4
_POLL_S: Final = 1.0
_CONNECT_S: Final = 10.0
_NOBODY_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Share:
    """What one actor needs of the cluster.

    Attributes:
        count: Actors.
        cpus: Of each; it decodes in as many processes.
        gpus: Of each.
    """

    count: int
    cpus: int
    gpus: int


class ShardActor:
    """Makes shards on some node; its encoders are loaded once.

    Args:
        settings: As `ExtractSettings` gives them by `asdict`.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        chosen = ExtractSettings.from_json(settings)
        prepared = prepare_part(chosen, device=chosen.device)
        assert prepared.store is not None
        infos = [plan.info for plan in prepared.work.columns.values()]
        self._meter = Meter()
        self._writers = BriefWriters(prepared.store, infos, replace=False)
        self._writers.__enter__()
        self._pool = DecoderPool(chosen.num_workers, chosen.limits, decoder=chosen.decoder)
        self._extractor = ShardExtractor(
            prepared.store,
            prepared.work.columns,
            prepared.items,
            committer=self._writers,
            precision=chosen.precision,
            meter=self._meter,
        )
        self._told: list[str] = []

    def ready(self) -> None:
        """Return when the actor can work."""

    def extract(self, shard: int, missing: tuple[str, ...]) -> dict[str, Any]:
        """Make one shard; return what was done, as `Done.to_json` gives it."""
        before = Done()
        before.count(self._meter)
        done = Done(list(self._extractor.run([ShardTask(shard, missing)], self._pool)))
        done.count(self._meter)
        done.files -= before.files
        done.clips -= before.clips
        done.seconds = {key: spent - before.seconds[key] for key, spent in done.seconds.items()}
        done.notices = [one for one in self._extractor.notices if one not in self._told]
        self._told += done.notices
        return done.to_json()


def run_with_ray(settings: ExtractSettings, progress: Progress | None) -> tuple[Prepared, Done]:
    """Run an extraction on a Ray cluster; return what was to do and what was done.

    Args:
        settings: With the cluster's address.
        progress: Told after every shard.

    Raises:
        ConfigError: If Ray is not installed or there is no such cluster.
        StoreLocked: If another process extracts one of the columns and does not share.
        ScfaeError: If a shard failed again and again.
    """
    # Ray tells of dying nodes on stdout, which is for the report alone.
    with redirect_stdout(sys.stderr):
        return _run_with_ray(settings, progress)


def _run_with_ray(settings: ExtractSettings, progress: Progress | None) -> tuple[Prepared, Done]:
    ray = _connect(str(settings.ray))
    try:
        share = share_of(ray.cluster_resources(), settings)
        device = "cuda" if share.gpus else "cpu"
        settings = replace(settings, device=device, workers=share.cpus)
        prepared = prepare(settings, device="cpu", kind_of_device=device)
        names = names_of(prepared.work)
        if not names or prepared.store is None:
            return prepared, Done()
        infos = [prepared.work.columns[name].info for name in names]
        refuse_claimed(prepared.store, names, is_sharing=False)
        with (
            Leases(prepared.store, names, lease_s=settings.lease_s) as leases,
            BriefWriters(prepared.store, infos, replace=settings.replace) as writers,
        ):
            leases.take_all()
            for info in infos:
                now, then = info.compute, writers.info(info.name).compute
                notice_compute(prepared.work, info.name, now, then)
            tell = _teller(prepared, writers, progress)
            # The actors must find the columns as they are now, and not begin or replace any.
            sent = asdict(replace(settings, replace=False, retry_failed=False, ray=None))
            dealer = _Dealer(ray, sent, share, tell)
            return prepared, dealer.run(deque(tasks_of(prepared.work)))
    finally:
        ray.shutdown()


def _teller(
    prepared: Prepared, writers: BriefWriters, progress: Progress | None
) -> Callable[[Done], None]:
    """Return what tells of the files that are done."""
    assert prepared.store is not None
    counter = ShardExtractor(
        prepared.store,
        prepared.work.columns,
        prepared.items,
        committer=writers,
        precision=prepared.settings.precision,
        meter=Meter(),
    )
    total = sum(map(counter.count_files, tasks_of(prepared.work)))
    begun_s = time.monotonic()

    def tell(done: Done) -> None:
        if progress is None:
            return
        spent_s = time.monotonic() - begun_s
        shares = " ".join(f"{name} {share:.0%}" for name, share in done.shares().items())
        left_s = spent_s / max(done.files, 1) * max(total - done.files, 0)
        rate = done.clips / max(spent_s, 1e-9)
        text = f"{rate:.1f} clips/s, {shares}, {duration(left_s)} left"
        progress(done.files, max(total, done.files), text)

    return tell


def share_of(resources: dict[str, float], settings: ExtractSettings) -> Share:
    """Return how many actors a cluster has room for, and what each gets.

    >>> share_of({"CPU": 16, "GPU": 2}, ExtractSettings("m", "s", ("ge2e",)))
    Share(count=2, cpus=4, gpus=1)
    >>> share_of({"CPU": 6}, ExtractSettings("m", "s", ("ge2e",), workers=2))
    Share(count=3, cpus=2, gpus=0)
    """
    cpus = int(resources.get("CPU", 0))
    gpus = 0 if settings.device == "cpu" else int(resources.get("GPU", 0))
    if settings.device.startswith("cuda") and not gpus:
        raise ConfigError(f"--device {settings.device}: the Ray cluster has no GPU.")
    if gpus:
        each = settings.workers or max(1, min(_CPUS_BESIDE_GPU, cpus // gpus))
        count = min(gpus, cpus // each)
    else:
        each = settings.workers or 1
        count = cpus // each
    if count < 1:
        raise ConfigError(f"--workers {each}: the Ray cluster has {cpus} CPUs.")
    return Share(count, each, 1 if gpus else 0)


def _connect(address: str) -> Any:
    try:
        import ray
    except ImportError:
        raise ConfigError("--ray needs the extra: pip install 'scfae[ray]'.") from None
    where = None if address == "local" else address  # None begins a cluster, if there is none
    try:
        check_reachable(address)
        ray.init(address=where, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, OSError, ValueError) as error:
        raise ConfigError(
            f"--ray {address}: there is no Ray cluster ({_first_line(error)}). Begin one with "
            "`ray start --head`, or use --ray local for one of this machine alone."
        ) from None
    return ray


def check_reachable(address: str) -> None:
    """Check that somebody listens at an address `HOST:PORT`; Ray itself tries for minutes.

    Raises:
        OSError: If nobody does.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "://" not in address:
        with socket.create_connection((host, int(port)), timeout=_CONNECT_S):
            return


class _Dealer:
    """Deals out shards to actors until all are committed."""

    def __init__(
        self, ray: Any, settings: dict[str, Any], share: Share, tell: Callable[[Done], None]
    ) -> None:
        self._ray = ray
        self._tell = tell
        self._tries: Counter[int] = Counter()
        self._done = Done()
        self._running: dict[Any, tuple[Any, ShardTask | None]] = {}
        kind = ray.remote(ShardActor).options(
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            max_restarts=-1,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )
        self._begin: Callable[[], Any] = lambda: kind.remote(settings)
        for _ in range(share.count):
            self._await(self._begin())

    def run(self, tasks: "deque[ShardTask]") -> Done:
        """Return what was done, when everything is."""
        idle: list[Any] = []
        last_sign_s = time.monotonic()
        while tasks or any(task is not None for _, task in self._running.values()):
            while idle and tasks:
                actor, given = idle.pop(), tasks.popleft()
                self._tries[given.shard] += 1
                self._running[actor.extract.remote(given.shard, given.missing)] = (actor, given)
            finished, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_POLL_S)
            if finished or any(task is not None for _, task in self._running.values()):
                last_sign_s = time.monotonic()
            elif time.monotonic() - last_sign_s > _NOBODY_S:
                raise StoreError(
                    f"--ray: no node has had room for an actor for {duration(_NOBODY_S)}; "
                    "finished shards are in the store. Run the same command again to go on."
                )
            for reference in finished:
                actor, task = self._running.pop(reference)
                outcome = self._outcome(reference)
                if isinstance(outcome, Done):
                    idle.append(actor)
                    if task is not None:
                        self._done.add(outcome)
                        self._tell(self._done)
                    continue
                if isinstance(outcome, ScfaeError | OSError) and task is None:
                    raise outcome  # it cannot even begin
                if task is not None:
                    self._deal_again(task, tasks, outcome)
                self._replace(actor, outcome, idle)
        return self._done

    def _outcome(self, reference: Any) -> Done | Exception:
        errors = self._ray.exceptions
        try:
            body = self._ray.get(reference)
        except errors.RayTaskError as error:
            cause = error.cause
            return cause if isinstance(cause, Exception) else error
        except errors.RayError as error:
            found: Exception = error
            return found
        return Done() if body is None else Done.from_json(body)

    def _deal_again(self, task: ShardTask, tasks: "deque[ShardTask]", why: Exception) -> None:
        if self._tries[task.shard] >= _TRIES:
            if isinstance(why, ScfaeError | OSError):
                raise why
            raise StoreError(
                f"--ray: shard {task.shard} failed {_TRIES} times ({_first_line(why)}); the others "
                "are in the store. Run the same command again to go on."
            )
        tasks.appendleft(task)

    def _replace(self, actor: Any, outcome: Exception, idle: list[Any]) -> None:
        """Go on with an actor after an error: the same, the same begun anew, or another one."""
        errors = self._ray.exceptions
        if not isinstance(outcome, errors.RayActorError):
            idle.append(actor)
        elif isinstance(outcome, errors.ActorUnavailableError):
            time.sleep(_POLL_S)
            self._await(actor)  # Ray is beginning it anew, perhaps elsewhere
        elif "creation task" in str(outcome):
            raise StoreError(f"--ray: an actor cannot begin: {_last_line(outcome)}")
        else:
            time.sleep(_POLL_S)
            self._await(self._begin())

    def _await(self, actor: Any) -> None:
        self._running[actor.ready.remote()] = (actor, None)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
