"""Tasks of an extraction that several processes share: whichever is free and not done yet.

Every claimer plans the same tasks from the same receipts and goes through them from a place of its
own; one it can lease and that nobody has finished since is its own. When all that is left is
leased by others it waits, and takes over what a dead claimer has left.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Final

from scfae.store import FeatureStore
from scfae.store.errors import CorruptShard
from scfae.store.header import COLUMNS_FOLDER
from scfae.store.receipt import Receipt, parse_receipt, read_receipt, receipt_file

from .leases import Leases
from .plan import Work
from .shard_work import ShardTask

_PAUSES: Final = 20
_LONGEST_PAUSE_S: Final = 2.0


class ClaimedTasks:
    """The tasks that this process gets.

    Args:
        store: Whose shards.
        work: What was missing when this process looked.
        leases: Of this process, entered.
        lease_s: How long a lease outlives its holder.
    """

    def __init__(self, store: FeatureStore, work: Work, leases: Leases, *, lease_s: float) -> None:
        self._store = store
        self._work = work
        self._leases = leases
        self._pause_s = min(lease_s / _PAUSES, _LONGEST_PAUSE_S)
        shards = list(work.shards)
        start = int(leases.token, 16) % len(shards) if shards else 0
        self._left = shards[start:] + shards[:start]

    def rounds(self) -> Iterator[Iterator[ShardTask]]:
        """Yield runs of tasks until nothing is left to do, by anybody.

        A run ends where nothing is free at the moment, so that its last shard is committed before
        anybody waits; the next begins when something is.
        """
        while self._left:
            first = self._take()
            if first is None:
                if self._left:
                    time.sleep(self._pause_s)
                continue
            yield self._run(first)

    def finish(self, task: ShardTask) -> None:
        """Give back the lease of a task whose shard is committed."""
        self._leases.release(task.shard)

    def _run(self, first: ShardTask) -> Iterator[ShardTask]:
        task: ShardTask | None = first
        while task is not None:
            yield task
            task = self._take()

    def _take(self) -> ShardTask | None:
        """Return a task that is ours now; None if there is none free."""
        for shard in list(self._left):
            if not self._missing(shard):
                self._left.remove(shard)
                continue
            if not self._leases.take(shard):
                continue
            self._left.remove(shard)
            missing = self._missing(shard)  # its last holder may have finished it just now
            if missing:
                return ShardTask(shard, missing)
            self._leases.release(shard)
        return None

    def _missing(self, shard: int) -> tuple[str, ...]:
        return tuple(name for name in self._work.shards[shard] if not self._is_done(name, shard))

    def _is_done(self, column: str, shard: int) -> bool:
        """Return whether somebody has committed a shard since this process planned it."""
        receipt = receipt_now(self._store, column, shard)
        wanted = self._work.columns[column].info.fingerprint
        return (
            receipt is not None
            and receipt.fingerprint == wanted
            and receipt.ids_sha256 == self._store.samples.ids_sha256(shard)
            and receipt != self._work.outdated.get((column, shard))
        )


def receipt_now(store: FeatureStore, column: str, shard: int) -> Receipt | None:
    """Return a shard's receipt as it is now; None if there is none that can be used."""
    folder = store.path / COLUMNS_FOLDER / column
    try:
        if store.is_local:
            return read_receipt(folder, shard)
        data = store.objects.get(f"{COLUMNS_FOLDER}/{column}/{receipt_file(shard)}")  # type: ignore[attr-defined]
        return parse_receipt(data, folder, shard)
    except FileNotFoundError:
        return None
    except CorruptShard:
        return None  # committing the shard again is the repair


def tasks_of(work: Work) -> Sequence[ShardTask]:
    """Return all there is to do, in the order of the shards."""
    return [ShardTask(shard, tuple(missing)) for shard, missing in work.shards.items()]
