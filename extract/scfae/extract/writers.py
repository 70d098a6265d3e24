"""Who may write a column, and for how long: one process throughout, or several shard by shard.

One process holds the columns' locks from start to end, so that a second extraction of the same
column is told who does it already. Processes that share an extraction (`--claim`, `--processes`,
`--ray`) hold a column's lock for the moment of each commit only; who does which shard is settled
by leases or by the scheduler before. A remote column is written without locks: there the server's
conditional creation decides.
"""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self

from scfae.store import ColumnInfo, ColumnWriter, FeatureStore, ShardSample
from scfae.store.errors import StoreLocked

_PATIENCE_S: Final = 60.0
_BEGIN_PATIENCE_S: Final = 10.0
_PAUSE_S: Final = (0.02, 0.1)


class HeldWriters:
    """Writers of several columns, all locked while the `with` block lasts.

    Args:
        store: Whose columns.
        infos: The columns.
        replace: Throw away columns of the same name that were made differently.
    """

    def __init__(self, store: FeatureStore, infos: Sequence[ColumnInfo], *, replace: bool) -> None:
        self._store = store
        self._infos = infos
        self._replace = replace
        self._writers: dict[str, ColumnWriter] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for info in self._infos:
                writer = self._store.add_column(info, replace=self._replace)
                self._writers[info.name] = stack.enter_context(writer)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def info(self, column: str) -> ColumnInfo:
        """Return a column as it was recorded when it was begun."""
        return self._writers[column].info

    def commit(self, column: str, shard: int, samples: Sequence[ShardSample]) -> None:
        """Write a shard of a column."""
        self._writers[column].commit(shard, samples)


class BriefWriters:
    """Writers of several columns that other processes write too; use it in a `with` block.

    On entering, columns that are not there are begun, and replaced ones thrown away.

    Args:
        store: Whose columns.
        infos: The columns.
        replace: Throw away columns of the same name that were made differently.
        patience_s: How long a commit waits for a lock that another process holds.

    Raises:
        StoreLocked: If another process keeps a column's lock, as one that shares nothing does.
    """

    def __init__(
        self,
        store: FeatureStore,
        infos: Sequence[ColumnInfo],
        *,
        replace: bool,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._store = store
        self._infos = {info.name: info for info in infos}
        self._replace = replace
        self._patience_s = patience_s
        self._begun: dict[str, ColumnInfo] = {}
        self._held: HeldWriters | None = None

    def __enter__(self) -> Self:
        if not self._store.is_local:
            infos = list(self._infos.values())
            self._held = HeldWriters(self._store, infos, replace=self._replace).__enter__()
            return self
        for name, info in self._infos.items():

            def begin(info: ColumnInfo = info) -> ColumnInfo:
                with self._store.add_column(info, replace=self._replace) as writer:
                    return writer.info

            self._begun[name] = when_free(begin, patience_s=_BEGIN_PATIENCE_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._held is not None:
            self._held.__exit__(kind, error, trace)

    def info(self, column: str) -> ColumnInfo:
        """Return a column as it was recorded when it was begun."""
        return self._begun[column] if self._held is None else self._held.info(column)

    def commit(self, column: str, shard: int, samples: Sequence[ShardSample]) -> None:
        """Write a shard of a column, when its lock is free."""
        if self._held is not None:
            self._held.commit(column, shard, samples)
            return

        def write() -> None:
            with self._store.add_column(self._infos[column]) as writer:
                writer.commit(shard, samples)

        when_free(write, patience_s=self._patience_s)


def when_free(action: Callable[[], Any], *, patience_s: float = _PATIENCE_S) -> Any:
    """Return what an action gives, done again while a lock is held, for a while.

    Raises:
        StoreLocked: If the lock is still held after `patience_s`.
    """
    end_s = time.monotonic() + patience_s
    while True:
        try:
            return action()
        except StoreLocked:
            if time.monotonic() >= end_s:
                raise
            time.sleep(random.uniform(*_PAUSE_S))
