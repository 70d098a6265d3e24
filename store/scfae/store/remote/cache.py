"""Shard files of a remote store on the local disk: bounded, checked on arrival, filled ahead.

A file is named by the sha256 of its contents, and its digest is compared when it arrives. What an
earlier process left is set aside and compared when it is first asked for: so nothing waits for the
disk when a copy is written, and a power cut harms nobody. A stream says in which order
it will read (`plan`): helper threads fetch in that order while there is room, and what the plan
has left behind goes first when there is none. Without a plan the least recently asked for goes.

A window is the set of shards that a stream mixes; a batch may lie across two, so the window that
is read and the one before it stay.
"""

import logging
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..atomic import sha256_file
from ..container import SUFFIXES, format_of
from ..errors import ConfigError, CorruptShard, StoreError
from ..files import FilePool
from ..shard import ShardFacts
from .objects import Objects

logger = logging.getLogger("scfae.store")

FILLERS: Final = 8
_WAIT_S = 1.0
_PAUSE_S = 0.5  # after a shard's first failed fetch, twice as long after each further one
_MAX_TRIES: Final = 8
_LEFT: Final = "left-"


@dataclass(frozen=True, slots=True)
class _Remote:
    key: str
    sha256: str
    num_bytes: int


class ShardCache:
    """Local copies of remote shards, at most `max_bytes` of them.

    Args:
        objects: Where shards come from.
        folder: Where copies lie; used by this process alone.
        max_bytes: Of all copies together.
        pool: Keeps copies open; told when one is removed, so that its space is free.
    """

    def __init__(self, objects: Objects, folder: Path, *, max_bytes: int, pool: FilePool) -> None:
        self._objects = objects
        self._folder = folder
        self._max_bytes = max_bytes
        self._pool = weakref.ref(pool)  # which holds this cache: the two must not hold each other
        self._pid = os.getpid()
        self._known: dict[Path, _Remote] = {}
        self._sizes: OrderedDict[Path, int] = OrderedDict()  # there or on the way, oldest first
        self._arriving: set[Path] = set()
        self._failed: dict[Path, tuple[int, float]] = {}  # how often, and when to try again
        self._windows: list[tuple[Path, ...]] = []
        self._window_of: dict[Path, int] = {}
        self._current = 0
        self._plan_number = 0
        self._changed = threading.Condition()
        folder.mkdir(parents=True, exist_ok=True)
        for found in sorted(folder.iterdir(), key=lambda p: p.stat().st_mtime):
            if format_of(found.name) is None:
                found.unlink()  # what a killed download left
                continue
            path = folder / found.name.removeprefix(_LEFT)
            if path not in self._sizes:
                self._sizes[path] = found.stat().st_size
                found.rename(_left(path))
        with self._changed:
            self._make_room(0)

    @property
    def num_bytes(self) -> int:
        """Bytes of the copies that are there or on the way."""
        with self._changed:
            return sum(self._sizes.values())

    def path(self, key: str, facts: ShardFacts) -> Path:
        """Return where the copy of a shard lies, or will lie once it is asked for.

        Args:
            key: Its object.
            facts: What its receipt says.
        """
        form = format_of(facts.file)
        suffix = "" if form is None else SUFFIXES[form]
        path = self._folder / f"{facts.sha256}{suffix}"
        self._known[path] = _Remote(key, facts.sha256, facts.bytes)
        return path

    def ensure(self, path: Path) -> None:
        """Fetch a copy if it is not there; waits if it is on the way already.

        Raises:
            FileNotFoundError: If the object is gone.
            CorruptShard: If what arrived is not what the receipt says.
            ConfigError: If the cache has no room for it.
            StoreError: In a forked process, whose threads and connections are the parent's.
        """
        if os.getpid() != self._pid:
            raise StoreError(
                "a remote store cannot be read in a forked process: open the store again there."
            )
        with self._changed:
            window = self._window_of.get(path)
            if window is not None and window > self._current:
                self._current = window
                self._changed.notify_all()
            while path in self._arriving:
                self._changed.wait()
            if path in self._sizes and path.exists():
                self._sizes.move_to_end(path)
                return
            self._begin(path)
        self._fetch(path)

    def plan(self, windows: Sequence[Sequence[Path]]) -> None:
        """Say which shards will be read, window by window, and begin to fetch them.

        Raises:
            ConfigError: If two windows that follow each other do not fit into the cache.
        """
        sizes = [sum(self._known[path].num_bytes for path in window) for window in windows]
        need = max(
            (a + b for a, b in zip(sizes, [*sizes[1:], 0], strict=True)),
            default=0,
        )
        if need > self._max_bytes:
            raise ConfigError(
                f"cache_bytes: the stream mixes shards of {need} bytes at a time, but the cache "
                f"holds {self._max_bytes}; give a larger cache or a smaller window_shards."
            )
        with self._changed:
            self._windows = [tuple(window) for window in windows]
            self._window_of = {}
            for number, window in reversed(list(enumerate(self._windows))):
                self._window_of.update(dict.fromkeys(window, number))
            self._current = 0
            self._failed = {}
            self._plan_number += 1
            number = self._plan_number
            self._changed.notify_all()
        for _ in range(FILLERS):
            threading.Thread(
                target=_fill, args=(weakref.ref(self), number), name="scfae-fetch", daemon=True
            ).start()

    def close(self) -> None:
        """End fetching ahead."""
        with self._changed:
            self._plan_number += 1
            self._changed.notify_all()

    def _fill_one(self, number: int) -> bool:
        """Fetch one shard of plan `number`, or wait a while; return whether there is more to do."""
        with self._changed:
            path = self._next_to_fetch()
            if path is None and self._plan_number == number:
                is_last = self._current >= len(self._windows) - 1
                if is_last and not self._arriving and not self._to_try_again():
                    return False
                self._changed.wait(_WAIT_S)
                path = self._next_to_fetch()
            if self._plan_number != number:
                return False
            if path is None:
                return True
            self._begin(path)
        try:
            self._fetch(path)
        except Exception as error:
            # Whoever reads the shard asks again and gets the error itself.
            with self._changed:
                times = self._failed.get(path, (0, 0.0))[0] + 1
                self._failed[path] = times, time.monotonic() + _PAUSE_S * 2 ** (times - 1)
            if times == 1:  # a server that is away for a minute is one line, not hundreds
                logger.warning("fetching %s ahead failed, trying again: %s", path.name, error)
            elif times == _MAX_TRIES:
                logger.warning("fetching %s ahead failed %d times: %s", path.name, times, error)
        return True

    def _to_try_again(self) -> bool:
        """Return whether a planned shard whose fetch failed has a try left."""
        return any(
            times < _MAX_TRIES and self._window_of.get(path, -1) >= self._current
            for path, (times, _) in self._failed.items()
        )

    def _is_due(self, path: Path) -> bool:
        """Return whether a shard may be fetched ahead: not soon after that failed."""
        times, next_s = self._failed.get(path, (0, 0.0))
        return times < _MAX_TRIES and next_s <= time.monotonic()

    def _next_to_fetch(self) -> Path | None:
        """Return the first planned shard that is not there, if it fits beside what is needed."""
        free = self._max_bytes - sum(self._sizes.values())
        free += sum(self._sizes[path] for path in self._idle())
        for window in self._windows[self._current :]:
            for path in window:
                if path not in self._sizes and self._is_due(path):
                    return path if self._known[path].num_bytes <= free else None
        return None

    def _begin(self, path: Path) -> None:
        """Make room for a shard and mark it as on the way; the caller holds the condition."""
        self._sizes.pop(path, None)
        self._make_room(self._known[path].num_bytes)
        self._sizes[path] = self._known[path].num_bytes
        self._arriving.add(path)

    def _make_room(self, num_bytes: int) -> None:
        """Remove copies until `num_bytes` fit; the caller holds the condition."""
        over = sum(self._sizes.values()) + num_bytes - self._max_bytes
        if over <= 0:
            return
        # Then what is planned, last needed first, but never what is being read.
        ahead = sorted(
            (p for p in self._sizes if self._window_of.get(p, -1) > self._current),
            key=lambda p: -self._window_of[p],
        )
        for path in [*self._idle(), *(p for p in ahead if p not in self._arriving)]:
            size = self._sizes.pop(path)
            if (pool := self._pool()) is not None:
                pool.forget_path(path)
            path.unlink(missing_ok=True)
            _left(path).unlink(missing_ok=True)
            over -= size
            if over <= 0:
                return
        raise ConfigError(
            f"cache_bytes: {self._max_bytes} bytes are too few for the shards that are read "
            "together; give a larger cache."
        )

    def _idle(self) -> list[Path]:
        """Return what nothing planned needs any more, oldest first."""
        return [
            path
            for path in self._sizes
            if path not in self._arriving and self._window_of.get(path, -2) < self._current - 1
        ]

    def _fetch(self, path: Path) -> None:
        remote = self._known[path]
        is_there = False
        try:
            left = _left(path)
            if left.exists() and sha256_file(left) == remote.sha256:
                left.rename(path)
            else:
                left.unlink(missing_ok=True)
                self._download(path, remote)
            is_there = True
        finally:
            with self._changed:
                self._arriving.discard(path)
                if is_there:
                    self._failed.pop(path, None)
                else:
                    self._sizes.pop(path, None)
                self._changed.notify_all()

    def _download(self, path: Path, remote: _Remote) -> None:
        if self._objects.download(remote.key, path) != remote.sha256:
            path.unlink()
            raise CorruptShard(
                f"{self._objects.url}/{remote.key} differs from the sha256 of its receipt. "
                "Remove the shard's receipt and extract again."
            )


def _left(path: Path) -> Path:
    """Return where a copy lies that an earlier process left, until it is compared."""
    return path.with_name(f"{_LEFT}{path.name}")


def _fill(cache: "weakref.ref[ShardCache]", number: int) -> None:
    """Fetch ahead until plan `number` is done, another takes its place, or no one reads."""
    while (alive := cache()) is not None and alive._fill_one(number):
        del alive
