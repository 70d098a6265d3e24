"""Mark and sweep: what nothing refers to any more, and only that.

Marked, and so kept: what `store.json`, a column's receipts of its current fingerprint and the pins
name. Garbage is what writers that were killed and columns that were replaced or dropped leave
behind. Files that scfae never wrote are not touched; `verify` names them.

Nothing younger than the grace period goes, and nothing of a column that is being written: a file
without a receipt may be the shard that is about to get one.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .atomic import TEMPORARY, fsync_folder, sha256_file
from .column import COLUMN_FILE, read_column
from .container import SUFFIXES
from .derivation.lineage import gone_parents, readable_columns
from .errors import CorruptShard, StoreLocked
from .header import COLUMNS_FOLDER, NEXT_SAMPLES_FILE, read_header
from .lock import FolderLock
from .pins import PINS_FOLDER, read_pins
from .receipt import read_receipt, receipt_file
from .store import FeatureStore

DAY_S: Final = 86_400.0
_SHARD = re.compile(rf"shard-(\d{{5,}})({'|'.join(map(re.escape, SUFFIXES.values()))}|\.json)")


@dataclass(frozen=True, slots=True)
class Garbage:
    """A file or folder that nothing refers to.

    Attributes:
        file: Path relative to the store.
        bytes: Its size.
        age_s: Since it was last written, renamed or linked.
        why: Why nothing needs it.
    """

    file: str
    bytes: int
    age_s: float
    why: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What looks like garbage and stays.

    Attributes:
        file: Path relative to the store.
        why: Why it stays.
    """

    file: str
    why: str


@dataclass(slots=True)
class Sweep:
    """What a collection found.

    Attributes:
        garbage: What goes, or would go.
        kept: What is too young, pinned or being written.
        orphans: Derived columns whose parent is gone: they are whole, so they are only named.
        is_deleted: The garbage is gone.
    """

    garbage: list[Garbage] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    orphans: list[Kept] = field(default_factory=list)
    is_deleted: bool = False

    @property
    def bytes(self) -> int:
        """Bytes of all garbage; a file with two names counts, though its other name stays."""
        return sum(one.bytes for one in self.garbage)


def collect_garbage(
    store: FeatureStore, *, grace_s: float = DAY_S, is_deleting: bool = False
) -> Sweep:
    """Find what nothing refers to, and remove it if asked to.

    Args:
        store: The store; one behind a URL is listed for it, see `remote.garbage`.
        grace_s: Nothing that was touched within so many seconds goes.
        is_deleting: Remove it; otherwise only say what would go.

    Raises:
        CorruptShard: If a pin is damaged, and so may pin anything.
    """
    if not store.is_local:
        from .remote.garbage import collect_url

        return collect_url(store, grace_s=grace_s, is_deleting=is_deleting)  # type: ignore[arg-type]
    sweep, now_s = Sweep(is_deleted=is_deleting), time.time()
    pinned = {
        (name, fingerprint): pin.run
        for pin in read_pins(store.path).values()
        for name, fingerprint in pin.columns.items()
    }

    def settle(path: Path, why: str) -> None:
        file = str(path.relative_to(store.path))
        age_s = now_s - _touched_s(path)
        if age_s < grace_s:
            sweep.kept.append(Kept(file, f"{why}; touched {ago(age_s)} ago"))
            return
        sweep.garbage.append(Garbage(file, _bytes(path), round(max(0.0, age_s), 3), why))
        if is_deleting:
            _remove(path)

    try:
        with FolderLock(store.path, f"store {store.path}"):
            for path, why in _of_store(store.path):
                settle(path, why)
    except StoreLocked as error:
        sweep.kept.append(Kept(NEXT_SAMPLES_FILE, str(error)))
    for folder in sorted((store.path / COLUMNS_FOLDER).glob("*")):
        if folder.name.startswith(TEMPORARY):
            settle(folder, "left by a column that was dropped or renamed")
            continue
        if not folder.is_dir():
            continue
        if not any(folder.iterdir()):
            settle(folder, "a column that was never begun")
            continue
        name = f"{COLUMNS_FOLDER}/{folder.name}"
        try:
            with FolderLock(folder, f"column '{folder.name}'"):
                for path, why, fingerprint in _of_column(folder):
                    run = pinned.get((folder.name, fingerprint or ""))
                    if run is None:
                        settle(path, why)
                    else:
                        file = str(path.relative_to(store.path))
                        sweep.kept.append(Kept(file, f"{why}; the run {run} pins it"))
        except (StoreLocked, CorruptShard) as error:
            sweep.kept.append(Kept(name, str(error)))
    there = readable_columns(store)
    for name, info in there.items():
        sweep.orphans += [
            Kept(f"{COLUMNS_FOLDER}/{name}", f"its parent '{parent}' is gone")
            for parent in gone_parents(there, info)
        ]
    return sweep


def _of_store(path: Path) -> Iterator[tuple[Path, str]]:
    table = path / NEXT_SAMPLES_FILE
    if table.exists() and sha256_file(table) != read_header(path).samples_sha256:
        yield table, "a sample table that was never committed"
    for folder in (path, path / PINS_FOLDER):
        for temporary in sorted(folder.glob(f"{TEMPORARY}*")):
            yield temporary, "left by a writer that was killed"
    for file, pin in read_pins(path).items():
        if pin.is_stale:
            yield file, f"a pin of the run {pin.run}, which is gone"


def _of_column(folder: Path) -> Iterator[tuple[Path, str, str | None]]:
    """Yield each piece of garbage, why it is, and the fingerprint it was written with."""
    for temporary in sorted(folder.glob(f"{TEMPORARY}*")):
        yield temporary, "left by a writer that was killed", None
    if not (folder / COLUMN_FILE).exists():
        return  # nothing says what its files are; `verify` names them
    info = read_column(folder)
    shards: dict[int, list[Path]] = {}
    for path in sorted(folder.glob("shard-*")):
        if match := _SHARD.fullmatch(path.name):
            shards.setdefault(int(match[1]), []).append(path)
    for shard, paths in sorted(shards.items()):
        receipt = read_receipt(folder, shard)
        is_current = receipt is not None and receipt.fingerprint == info.fingerprint
        for path in paths:
            if receipt is None:
                yield path, "a shard without a receipt", None
            elif path.name not in (receipt.file, receipt_file(shard)):
                yield path, "a shard in a format that its receipt does not name", None
            elif not is_current:
                yield path, "of a column that was replaced", receipt.fingerprint


def _touched_s(path: Path) -> float:
    # A hard link and a renaming change the second of the two only.
    stat = path.lstat()
    return max(stat.st_mtime, stat.st_ctime)


def _bytes(path: Path) -> int:
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(one.lstat().st_size for one in files if not one.is_dir())


def _remove(path: Path) -> None:
    if path.is_dir():
        is_ours = path.name.startswith(TEMPORARY) or _SHARD.fullmatch(path.name)
        shutil.rmtree(path) if is_ours else path.rmdir()
    else:
        os.unlink(path)
    fsync_folder(path.parent)


def ago(age_s: float) -> str:
    """Return an age for people, in hours or seconds."""
    return f"{age_s / 3600:.1f} h" if age_s >= 3600 else f"{max(0.0, age_s):.0f} s"
