"""Renaming and dropping columns: each one rename of a folder, so a kill leaves one or the other.

A receipt and `column.json` carry the column's name, so that a file in the wrong place is found. So
a column is renamed by way of a copy: a temporary folder with hard links to the shards, which cost
nothing, and receipts with the new name; its renaming is the commit, and dropping the old folder the
rest. Killed between the two, the column is there under both names, whole; the same command again
drops the old one. Keeping the receipts and dropping their check would be one step less, but files
of two columns that were swapped would no longer be found, and what was written by earlier versions
of scfae and is read by them would differ.
"""

import os
import secrets
import shutil
from pathlib import Path

from .atomic import TEMPORARY, fsync_folder
from .column import COLUMN_FILE, SAFE_NAME, read_column, write_column
from .errors import ConfigError, StoreError
from .header import COLUMNS_FOLDER
from .lock import LOCK_NAME, FolderLock
from .pins import refuse_pinned
from .receipt import Receipt, read_receipt, write_receipt
from .store import FeatureStore


def rename_column(store: FeatureStore, old: str, new: str) -> None:
    """Give a column another name.

    Args:
        store: The store.
        old: The column.
        new: Its name from now on.

    Raises:
        UnknownColumn: If there is no column `old`.
        ConfigError: If `new` cannot be a column's name.
        StoreError: If there is another column `new`.
        StoreLocked: If the column is being written.
        ColumnPinned: If a run reads it.
        CorruptShard: If a receipt is damaged.
    """
    if not SAFE_NAME.fullmatch(new):
        raise ConfigError(f"{new!r} is no column name: letters, digits and . _ = + - only.")
    folder, target = _folder(store, old), store.path / COLUMNS_FOLDER / new
    if folder == target:
        return
    with FolderLock(folder, f"column '{old}'"):
        refuse_pinned(folder)
        if not _is_copy(folder, target):
            copy = _temporary(target)
            try:
                _copy(folder, copy, new)
                copy.rename(target)
            except BaseException as error:
                shutil.rmtree(copy, ignore_errors=True)
                if isinstance(error, OSError) and target.exists():
                    raise StoreError(
                        f"{store.path} has a column '{new}' already; drop it first, or choose "
                        "another name."
                    ) from None
                raise
            fsync_folder(target.parent)
        _drop(folder)


def drop_column(store: FeatureStore, name: str) -> None:
    """Remove a column, at once and for good; also one whose `column.json` is damaged.

    Args:
        store: The store.
        name: The column.

    Raises:
        UnknownColumn: If there is none.
        StoreLocked: If it is being written.
        ColumnPinned: If a run reads it.
    """
    folder = _folder(store, name)
    with FolderLock(folder, f"column '{name}'"):
        refuse_pinned(folder)
        _drop(folder)


def column_bytes(store: FeatureStore, name: str) -> int:
    """Return the bytes of all files of a column; also of one whose `column.json` is damaged.

    Raises:
        UnknownColumn: If there is none.
    """
    files = [path for path in _folder(store, name).rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)


def _folder(store: FeatureStore, name: str) -> Path:
    folder = store.path / COLUMNS_FOLDER / name
    if not SAFE_NAME.fullmatch(name) or not folder.is_dir():
        store.column(name)  # says which columns there are
        raise ConfigError(f"'{name}' is the encoder of a column, not its name; see `store info`.")
    return folder


def _temporary(folder: Path) -> Path:
    return folder.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")


def _drop(folder: Path) -> None:
    gone = _temporary(folder)
    folder.rename(gone)
    fsync_folder(gone.parent)
    shutil.rmtree(gone)  # if a kill leaves something of it, `gc` finds it


def _copy(folder: Path, copy: Path, name: str) -> None:
    skipped = shutil.ignore_patterns(LOCK_NAME, f"{TEMPORARY}*")
    shutil.copytree(folder, copy, copy_function=_link, ignore=skipped)
    write_column(copy, read_column(folder).model_copy(update={"name": name}))
    for receipt in _receipts(folder):
        write_receipt(copy, receipt.model_copy(update={"column": name}))
    for parent, _, _ in os.walk(copy):
        fsync_folder(Path(parent))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
        with open(target, "rb") as file:
            os.fsync(file.fileno())


def _receipts(folder: Path) -> list[Receipt]:
    shards = [int(path.stem.removeprefix("shard-")) for path in folder.glob("shard-*.json")]
    receipts = [read_receipt(folder, shard) for shard in sorted(shards)]
    return [one for one in receipts if one is not None]


def _is_copy(folder: Path, target: Path) -> bool:
    """Return whether `target` is what a renaming of `folder` made before it was killed."""
    if not (target / COLUMN_FILE).exists():
        return False
    if read_column(folder).fingerprint != read_column(target).fingerprint:
        return False
    mine, theirs = (
        [one.model_dump(exclude={"column"}) for one in _receipts(one)] for one in (folder, target)
    )
    return mine == theirs
