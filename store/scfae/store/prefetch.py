"""One loader thread and a bounded queue: batches are read while the last one is computed on.

A thread and not a process: copies from memory maps release the GIL, and nothing has to be copied
through shared memory. The thread ends when the iterator is exhausted, closed or no longer
referred to, when it fails, and when the interpreter exits. Nothing here forks.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")

_CHECK_S = 1.0
_JOIN_S = 5.0


@dataclass(frozen=True, slots=True)
class _Failure:
    error: BaseException


class _End:
    """Says that the source is exhausted."""


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
            RuntimeError: If the writer is gone, which happens in a forked child.
        """
        with self._changed:
            while not self._items:
                if not is_alive():
                    raise RuntimeError(
                        "the loader thread is gone; do not use an iterator in a forked process"
                    )
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
        self._thread = threading.Thread(
            target=_pump, args=(source, self._channel), name=name, daemon=True
        )
        # Also runs at interpreter exit, where a daemon thread inside torch could crash.
        self._finalizer = weakref.finalize(self, _stop, self._channel, self._thread)
        self._thread.start()

    def __iter__(self) -> "Prefetcher[Item]":
        return self

    def __next__(self) -> Item:
        if self._done:
            raise StopIteration
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
        for item in source:
            if not channel.put(item):
                return
    except BaseException as error:  # not swallowed: raised again where the items are used
        channel.put(_Failure(error))
    else:
        channel.put(_End())


def _stop(channel: _Channel[Item], thread: threading.Thread) -> None:
    channel.close()
    # The collector may run this in any thread, also in the loader itself.
    if thread is not threading.current_thread() and thread.is_alive():
        thread.join(_JOIN_S)
