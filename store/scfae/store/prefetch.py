"""One loader thread and a bounded queue: batches are read while the last one is computed on.

A thread and not a process: copies from memory maps release the GIL, and nothing has to be copied
through shared memory. The thread ends when the iterator is exhausted, closed or no longer
referred to, when it fails, and when the interpreter exits.

Nothing here forks, but others do: a fork copies locks and not the threads that hold them, so a
child can wait for ever for a lock that a loader held. So a fork waits until no loader is in the
middle of a read, and in the child a prefetcher of the parent touches no lock.
"""

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")

_CHECK_S = 1.0
_JOIN_S = 5.0
_FORK_WAIT_S = 10.0
_IN_CHILD = "the loader thread is gone; do not use an iterator in a forked process"


class _ForkGate:
    """Keeps forks out while a loader reads, and loaders from reading while the process forks."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._reading: set[int] = set()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read inside this."""
        me = threading.get_ident()
        with self._changed:
            self._reading.add(me)
        try:
            yield
        finally:
            with self._changed:
                self._reading.discard(me)
                self._changed.notify_all()

    def before_fork(self) -> None:
        """Wait until no other thread reads; a read that hangs holds a fork up only so long."""
        self._changed.acquire()
        end_s = time.monotonic() + _FORK_WAIT_S
        while self._reading - {threading.get_ident()} and time.monotonic() < end_s:
            self._changed.wait(_CHECK_S)

    def after_in_parent(self) -> None:
        """Let the loaders go on."""
        self._changed.release()

    def after_in_child(self) -> None:
        """Forget the loaders, which are only in the parent."""
        self.__init__()  # type: ignore[misc]


_GATE = _ForkGate()
os.register_at_fork(
    before=_GATE.before_fork,
    after_in_parent=_GATE.after_in_parent,
    after_in_child=_GATE.after_in_child,
)


@dataclass(frozen=True, slots=True)
class _Failure:
    error: BaseException


class _End:
    """Says that the source is exhausted."""


_END = _End()


class _Channel(Generic[Item]):
    """A bounded queue that either side can close."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._items: deque[Item] = deque()
        self._closed = False
        # Re-entrant, since the garbage collector may close a channel inside its own put.
        self._changed = threading.Condition(threading.RLock())

    def put(self, item: Item) -> bool:
        """Wait for room; return False if the other side has closed."""
        with self._changed:
            while len(self._items) >= self._depth and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def get(self, is_alive: Callable[[], bool]) -> Item:
        """Wait for an item.

        Raises:
            RuntimeError: If the writer is gone.
        """
        with self._changed:
            while not self._items:
                if not is_alive():
                    raise RuntimeError(_IN_CHILD)
                self._changed.wait(_CHECK_S)
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Wake both sides; what was queued is dropped."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()


class Prefetcher(Generic[Item]):
    """Iterates over `source` in a thread of its own, at most `depth` items ahead.

    Items come in the order of the source, and an exception raised there is raised here after the
    items before it. `source` must not refer to the prefetcher.
    """

    def __init__(self, source: Iterator[Item], depth: int, *, name: str = "loader") -> None:
        self._channel: _Channel[Item | _Failure | _End] = _Channel(depth)
        self._done = False
        self._pid = os.getpid()
        self._thread = threading.Thread(
            target=_pump, args=(source, self._channel), name=name, daemon=True
        )
        # Also runs at interpreter exit, where a daemon thread inside torch could crash.
        self._finalizer = weakref.finalize(self, _stop, self._channel, self._thread, self._pid)
        self._thread.start()

    def __iter__(self) -> "Prefetcher[Item]":
        return self

    def __next__(self) -> Item:
        if self._done:
            raise StopIteration
        if self._pid != os.getpid():
            raise RuntimeError(_IN_CHILD)
        item = self._channel.get(self._thread.is_alive)
        if isinstance(item, _End):
            self.close()
            raise StopIteration
        if isinstance(item, _Failure):
            self.close()
            raise item.error
        return item

    def close(self) -> None:
        """End the thread; iteration stops. May be called again."""
        self._done = True
        self._finalizer()


def _pump(source: Iterator[Item], channel: _Channel[Item | _Failure | _End]) -> None:
    try:
        while True:
            with _GATE.reading():
                item = next(source, _END)
            if isinstance(item, _End) or not channel.put(item):
                break
    except BaseException as error:  # not swallowed: raised again where the items are used
        channel.put(_Failure(error))
    else:
        channel.put(_END)


def _stop(channel: _Channel[Item], thread: threading.Thread, pid: int) -> None:
    if pid != os.getpid():
        return  # a forked child: the thread is not here, and its lock may never be released
    channel.close()
    # The collector may run this in any thread, also in the loader itself.
    if thread is not threading.current_thread() and thread.is_alive():
        thread.join(_JOIN_S)
