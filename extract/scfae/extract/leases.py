"""Leases on shards: who works on what, when several processes share an extraction.

A lease is a small file in the store's folder `claims`, or an object behind its URL, created only
where there is none. Its holder writes a new number into it every quarter of its time. Whoever sees
the same bytes for the whole of that time, by their own clock, takes the holder for dead, so clocks
need not agree; a holder on the same machine whose process is gone is known to be dead at once.

Leases save work and guard nothing: of two that take over in the same instant both may go on, and
then write the same bytes twice, since a shard's commit is idempotent.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from scfae.store import FeatureStore
from scfae.store.atomic import TEMPORARY
from scfae.store.errors import ScfaeError, StoreLocked
from scfae.store.header import CLAIMS_FOLDER

LEASE_S: Final = 60.0
_BEATS = 4
_WATCH_S = 0.2


class Places(Protocol):
    """Small objects by key; those of a remote store are `scfae.store.remote.objects.Objects`."""

    def get(self, key: str) -> bytes:
        """Return an object; raises FileNotFoundError if there is none."""

    def put(self, key: str, data: bytes) -> None:
        """Write an object, over one that is there."""

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless one is there; return whether it was written."""

    def delete(self, key: str) -> None:
        """Remove an object; nothing if there is none."""


class FolderPlaces:
    """Objects as files of a folder, created by a hard link, which also NFS does atomically.

    Args:
        root: Keys are relative to it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, key: str) -> bytes:
        """See Places."""
        return (self._root / key).read_bytes()

    def put(self, key: str, data: bytes) -> None:
        """See Places."""
        self._write(key, data).rename(self._root / key)

    def create(self, key: str, data: bytes) -> bool:
        """See Places."""
        temporary = self._write(key, data)
        try:
            os.link(temporary, self._root / key)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def delete(self, key: str) -> None:
        """See Places."""
        (self._root / key).unlink(missing_ok=True)

    def _write(self, key: str, data: bytes) -> Path:
        folder = (self._root / key).parent
        while True:
            folder.mkdir(exist_ok=True)
            temporary = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
            try:
                temporary.write_bytes(data)
            except FileNotFoundError:
                continue  # whoever finished last has just removed the folder
            return temporary


class Leases:
    """The leases of one process; use it in a `with` block, which keeps them alive.

    Args:
        store: Whose shards.
        columns: What is being extracted, for the words that others read.
        lease_s: How long a lease outlives its holder.
    """

    def __init__(
        self, store: FeatureStore, columns: Sequence[str], *, lease_s: float = LEASE_S
    ) -> None:
        self._root = store.path if store.is_local else None
        self._places: Places = (
            FolderPlaces(store.path) if store.is_local else store.objects  # type: ignore[attr-defined]
        )
        self.token = secrets.token_hex(8)
        self._words = _here() | {
            "token": self.token, "columns": list(columns), "lease_s": lease_s
        }  # fmt: skip
        self._lease_s = lease_s
        self._held: dict[str, bytes] = {}
        self._seen: dict[str, tuple[bytes, float]] = {}
        self._beat_number = 0
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="leases", daemon=True)

    def __enter__(self) -> Self:
        self._beating.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._beating.join()
        for key in list(self._held):
            self._release(key)
        if self._root is not None:
            _tidy(self._root / CLAIMS_FOLDER)

    def take(self, shard: int) -> bool:
        """Take a shard unless somebody who is alive, or may be, has it; return whether it is ours.

        Whoever asks again and again finds out that a holder elsewhere is dead.
        """
        return self._take(_key(shard))

    def take_all(self) -> None:
        """Say that this process has the columns as a whole dealt out to others."""
        self._take(f"{CLAIMS_FOLDER}/all-{self.token}.json")

    def holds(self, shard: int) -> bool:
        """Return whether a shard is still ours; not so if we were taken for dead."""
        with self._lock:
            mine = self._held.get(_key(shard))
            return mine is not None and self._is_there(_key(shard), mine)

    def release(self, shard: int) -> None:
        """Give a shard back."""
        self._release(_key(shard))

    def _take(self, key: str) -> bool:
        for _ in range(2):
            words = self._next_words()
            if self._places.create(key, words):
                with self._lock:
                    self._held[key] = words
                return True
            try:
                there = self._places.get(key)
            except FileNotFoundError:
                continue
            if not self._is_dead(key, there):
                return False
            self._places.delete(key)
        return False

    def _release(self, key: str) -> None:
        with self._lock:
            mine = self._held.pop(key, None)
            if mine is not None and self._is_there(key, mine):
                self._places.delete(key)

    def _is_there(self, key: str, mine: bytes) -> bool:
        try:
            return self._places.get(key) == mine
        except FileNotFoundError:
            return False

    def _is_dead(self, key: str, there: bytes) -> bool:
        words = _parse(there)
        if is_known_dead(words):
            return True
        first, since_s = self._seen.get(key, (b"", 0.0))
        if first != there:
            self._seen[key] = (there, time.monotonic())
            return False
        return time.monotonic() - since_s > float(words.get("lease_s", self._lease_s))

    def _beat(self) -> None:
        while not self._is_over.wait(self._lease_s / _BEATS):
            for key in list(self._held):
                with self._lock:
                    mine = self._held.get(key)
                    try:
                        if mine is None or not self._is_there(key, mine):
                            continue
                        words = self._next_words()
                        self._places.put(key, words)
                        self._held[key] = words
                    except (OSError, ScfaeError):
                        continue  # a beat may be missed; whoever commits meets the same trouble

    def _next_words(self) -> bytes:
        self._beat_number += 1
        return json.dumps(self._words | {"beat": self._beat_number}).encode()


def refuse_claimed(store: FeatureStore, columns: Sequence[str], *, is_sharing: bool) -> None:
    """Check that nobody has leases that leave these columns of a local store to them.

    What a dead holder has left is removed; to find out about one on another machine takes as long
    as its lease. A remote store needs no such check: there writers meet at the server.

    Args:
        store: Whose columns.
        columns: What is to be extracted.
        is_sharing: It is done shard by shard too, so only a lease on the whole is in the way.

    Raises:
        StoreLocked: If there is a living one.
    """
    if not store.is_local:
        return
    folder = store.path / CLAIMS_FOLDER
    for path in sorted(folder.glob("all-*.json" if is_sharing else "*.json")):
        words = _read(path)
        if words and set(words.get("columns", columns)) & set(columns) and _is_living(path, words):
            raise StoreLocked(
                f"{', '.join(columns)} in {store.url}: locked by process {words.get('pid')} on "
                f"{words.get('host')} since {words.get('since')}, which has leases on shards. "
                "Wait for it, stop it, or share the work: --claim on both sides."
            )
        if words:
            path.unlink(missing_ok=True)
    _tidy(folder)


def _is_living(path: Path, words: dict[str, Any]) -> bool:
    """Return whether a lease's holder lives, watching the lease where nothing else tells."""
    if is_known_dead(words):
        return False
    if _is_here(words):
        return True
    end_s = time.monotonic() + float(words.get("lease_s", LEASE_S))
    while time.monotonic() < end_s:
        time.sleep(_WATCH_S)
        if _read(path) != words:
            return True
    return False


def _read(path: Path) -> dict[str, Any]:
    try:
        return _parse(path.read_bytes())
    except FileNotFoundError:
        return {}


def is_known_dead(words: dict[str, Any]) -> bool:
    """Return whether a holder was a process of this machine that is gone."""
    return _is_here(words) and _started(words["pid"]) != words.get("started")


def _is_here(words: dict[str, Any]) -> bool:
    here = _here()
    is_same = all(words.get(key) == here[key] for key in ("host", "space"))
    return is_same and isinstance(words.get("pid"), int)


def _key(shard: int) -> str:
    return f"{CLAIMS_FOLDER}/shard-{shard:05d}.json"


def _tidy(folder: Path) -> None:
    """Remove the folder of claims if nobody has one."""
    if not folder.is_dir() or any(folder.glob("*.json")):
        return
    try:
        for temporary in folder.glob(f"{TEMPORARY}*"):
            temporary.unlink(missing_ok=True)
        folder.rmdir()
    except OSError:
        return  # somebody has just come


def _here() -> dict[str, Any]:
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "started": _started(pid),
        "space": _space(),
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _space() -> str:
    """Return what numbers of processes are relative to: this boot, and this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return secrets.token_hex(8)  # unknown: equal to no other


def _started(pid: int) -> str | None:
    """Return when a process began, in ticks since boot; None if there is none or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _parse(data: bytes) -> dict[str, Any]:
    try:
        words = json.loads(data)
    except ValueError:
        return {}
    return words if isinstance(words, dict) else {}
