"""The feature stores of a service: where they are, and each opened once for every state it is in.

A store is written by extractions while people look at it. So before every answer the times of its
folders are looked at: what was opened, and what was worked out of it, counts only while nothing in
them has changed since.
"""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from scfae.store import Column, FeatureStore
from scfae.store.errors import ScfaeError, StoreNotFound
from scfae.store.header import COLUMNS_FOLDER, SAMPLES_FILE, STORE_FILE

from .roots import Roots

T = TypeVar("T")
DEPTH: Final = 2
MAX_OPEN: Final = 64
MAX_SAMPLES: Final = 5_000_000
"""Of all stores that are kept open together; a million takes about 100 MB."""


def find_stores(roots: Roots) -> list[Path]:
    """Return the folders of stores under the roots, to a depth of two; no link leads outside."""
    found = []
    for root in map(Path, roots.stores):
        patterns = ["/".join(["*"] * depth) for depth in range(DEPTH + 1)]
        for pattern in patterns:
            paths = [root] if not pattern else root.glob(pattern)
            there = [path.resolve() for path in paths if (path / "store.json").is_file()]
            found += [path for path in there if path.is_relative_to(root.resolve())]
    return sorted(set(found))


def store_id(path: Path) -> str:
    """Return the id of a store: a short digest of its absolute path."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


@dataclass(eq=False)
class OpenStore:
    """A store as it was when it was opened.

    Attributes:
        id: Of the store.
        path: Its folder.
        store: The store.
        columns: Its columns, which remember what they were when first looked at.
        readable: Those of them whose receipts can be read; the summary says why others cannot.
        generation: Of its files, before it was opened.
    """

    id: str
    path: Path
    store: FeatureStore
    columns: dict[str, Column]
    readable: dict[str, Column]
    generation: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _kept: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return what is made of this state of the store; it is made once, by one thread."""
        with self._lock:
            if name not in self._kept:
                self._kept[name] = make()
            kept: T = self._kept[name]
            return kept

    @property
    def size_bytes(self) -> int:
        """Bytes of the sample table and all shards."""
        table = (self.path / SAMPLES_FILE).stat().st_size
        return table + sum(column.num_bytes for column in self.readable.values())


class Stores:
    """The stores under a service's folders.

    Args:
        roots: Of the service.
    """

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._open: OrderedDict[str, OpenStore] = OrderedDict()

    def paths(self) -> dict[str, Path]:
        """Return every store's folder by its id."""
        return {store_id(path): path for path in find_stores(self._roots)}

    def path(self, wanted: str) -> Path:
        """Return the folder of a store.

        Raises:
            StoreNotFound: There is none of this id.
        """
        # An open one need not be searched for.
        with self._lock:
            kept = self._open.get(wanted)
        if kept is not None and (kept.path / "store.json").is_file():
            return kept.path
        path = self.paths().get(wanted)
        if path is None:
            raise StoreNotFound(f"there is no store {wanted} under the folders of this service.")
        return path

    def open(self, wanted: str) -> OpenStore:
        """Return a store as it is now.

        Raises:
            StoreNotFound: There is none of this id.
            StoreError: It cannot be read.
        """
        path = self.path(wanted)
        kept = self._kept(wanted, path)
        if kept is not None:
            return kept
        with self._opening:  # by one thread; the others find it open
            kept = self._kept(wanted, path)
            if kept is not None:
                return kept
            opened = _opened(wanted, path)
            with self._lock:
                self._open[wanted] = opened
                self._close_oldest()
            return opened

    def _close_oldest(self) -> None:
        while len(self._open) > 1:
            num_samples = sum(len(one.store.samples) for one in self._open.values())
            if len(self._open) <= MAX_OPEN and num_samples <= MAX_SAMPLES:
                return
            self._open.popitem(last=False)

    def _kept(self, wanted: str, path: Path) -> OpenStore | None:
        with self._lock:
            kept = self._open.get(wanted)
            if kept is None or kept.generation != _generation(path):
                return None
            self._open.move_to_end(wanted)
            return kept


def _opened(wanted: str, path: Path) -> OpenStore:
    for is_last in (False, True):
        generation = _generation(path)
        store = FeatureStore.open(path)
        columns = {name: store.column(name) for name in store.columns}
        readable = {name: column for name, column in columns.items() if _is_readable(column)}
        # Who reads many receipts leaves an index beside them, which changes the folder once.
        if is_last or _generation(path) == generation:
            break
    return OpenStore(wanted, path, store, columns, readable, generation)


def _is_readable(column: Column) -> bool:
    try:
        _ = column.lengths
    except (ScfaeError, OSError):
        return False
    return True


def _generation(path: Path) -> str:
    """Return what changes whenever a store does.

    Documents, shards and receipts are written aside and renamed, so their folders tell the time of
    the last change; to look at each receipt takes a second where there are tens of thousands.
    """
    columns = path / COLUMNS_FOLDER
    folders = sorted(one for one in columns.iterdir() if one.is_dir()) if columns.is_dir() else []
    times = [f"{path.name} {path.stat().st_mtime_ns}"]
    for folder in (path / STORE_FILE, columns, *folders):
        try:
            times.append(f"{folder.name} {folder.stat().st_mtime_ns}")
        except FileNotFoundError:
            continue  # dropped meanwhile, or there are no columns yet
    return "\n".join(times)
