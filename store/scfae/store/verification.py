"""Re-read a store against its checksums.

Every byte that was committed is covered: shard files by their receipts, receipts, `column.json` and
`store.json` by their own last line, the sample table by `store.json`. What was never committed is
no damage: temporaries, and a shard file whose receipt was not yet written when its writer died.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .atomic import TEMPORARY, remove
from .column import COLUMN_FILE, ColumnInfo, read_column
from .container import SUFFIXES
from .document import unseal
from .errors import CorruptShard, StoreVersionError
from .index import INDEX_FILE, index_damage
from .lock import LOCK_NAME
from .receipt import Receipt, read_receipt, receipt_file, shard_file
from .samples import SampleTable
from .shard import ShardReader
from .store import (
    COLUMNS_FOLDER,
    NEXT_SAMPLES_FILE,
    SAMPLES_FILE,
    STORE_FILE,
    FeatureStore,
    read_header,
    read_store,
)

_Found = Callable[[int | None, str, str], None]
_SHARD = re.compile(r"shard-(\d{5,})\.(json|zarr\.zip|tar|h5)")


@dataclass(frozen=True, slots=True)
class Damage:
    """One file that is not what was written.

    Attributes:
        column: Name of the column, None for the store's own files.
        shard: Number of the shard, None for other files.
        file: Path relative to the store.
        what: What is wrong.
    """

    column: str | None
    shard: int | None
    file: str
    what: str


def verify(store: FeatureStore | Path | str) -> list[Damage]:
    """Read every file of a store and return all damage; an empty list means whole.

    Args:
        store: An open store or its folder; a folder also where the store cannot be opened.

    Raises:
        StoreNotFound: If there is no store.
        StoreVersionError: If it was written by a newer version.
    """
    path = store.path if isinstance(store, FeatureStore) else Path(store)
    damage: list[Damage] = []
    samples = _verify_samples(path, damage)
    known = {STORE_FILE, SAMPLES_FILE, NEXT_SAMPLES_FILE, COLUMNS_FOLDER, LOCK_NAME}
    for entry in sorted(path.iterdir()):
        if entry.name not in known and not entry.name.startswith(TEMPORARY):
            damage.append(Damage(None, None, entry.name, "nothing refers to this file"))
    for folder in sorted((path / COLUMNS_FOLDER).glob("*")):
        damage += _verify_column(path, folder, samples)
    return damage


def requeue(store: FeatureStore | Path | str, damage: list[Damage]) -> list[tuple[str, int]]:
    """Withdraw the receipts of damaged shards, so that the next extraction writes them again.

    Args:
        store: The store.
        damage: What `verify` found.

    Returns:
        The (column, shard) pairs that were withdrawn.
    """
    path = store.path if isinstance(store, FeatureStore) else Path(store)
    shards = sorted(
        {
            (one.column, one.shard)
            for one in damage
            if one.column is not None and one.shard is not None
        }
    )
    for column, shard in shards:
        remove(path / COLUMNS_FOLDER / column / receipt_file(shard))
    for one in damage:
        if Path(one.file).name == INDEX_FILE:
            remove(path / one.file)  # a cache: the receipts say the same, and more truly
    return shards


def _verify_samples(path: Path, damage: list[Damage]) -> SampleTable | None:
    try:
        read_header(path)
    except CorruptShard as error:
        damage.append(Damage(None, None, STORE_FILE, str(error)))
        return None
    except StoreVersionError as error:
        # One flipped bit in the version looks like a newer store; its checksum tells them apart.
        if _is_sealed(path / STORE_FILE):
            raise
        damage.append(Damage(None, None, STORE_FILE, f"damaged, or newer: {error}"))
        return None
    try:
        header, samples = read_store(path)
    except CorruptShard as error:
        damage.append(Damage(None, None, SAMPLES_FILE, str(error)))
        return None
    if (len(samples), samples.num_shards) != (header.num_samples, header.num_shards):
        what = f"it counts {len(samples)} samples, {STORE_FILE} {header.num_samples}"
        damage.append(Damage(None, None, SAMPLES_FILE, what))
    return samples


def _is_sealed(path: Path) -> bool:
    try:
        unseal(path.read_bytes(), path)
    except CorruptShard:
        return False
    return True


def _verify_column(path: Path, folder: Path, samples: SampleTable | None) -> list[Damage]:
    column = folder.name
    files = sorted(entry.name for entry in folder.glob("*") if not _is_ignored(entry.name))
    if not folder.is_dir():
        return [Damage(None, None, f"{COLUMNS_FOLDER}/{column}", "nothing refers to this file")]
    if not files:
        return []  # a column whose writer died before it began
    damage: list[Damage] = []

    def found(shard: int | None, name: str, what: str) -> None:
        damage.append(Damage(column, shard, str((folder / name).relative_to(path)), what))

    info: ColumnInfo | None = None
    try:
        info = read_column(folder)
    except FileNotFoundError:
        found(None, COLUMN_FILE, "the file is gone")
    except CorruptShard as error:
        found(None, COLUMN_FILE, str(error))
    if info is not None and info.name != column:
        found(None, COLUMN_FILE, f"it describes column '{info.name}'")
        info = None
    shards: set[int] = set()
    for name in files:
        match = _SHARD.fullmatch(name)
        shard = int(match[1]) if match else -1
        if match and name in _names(shard, info):
            shards.add(shard)
        elif name != COLUMN_FILE:
            found(None, name, "nothing refers to this file")
    for shard in sorted(shards):
        if samples is not None and shard >= samples.num_shards:
            found(shard, receipt_file(shard), f"the store has only {samples.num_shards} shards")
            continue
        try:
            receipt = read_receipt(folder, shard)
        except CorruptShard as error:
            found(shard, receipt_file(shard), str(error))
            continue
        if receipt is None or (info and receipt.fingerprint != info.fingerprint):
            continue  # not committed, or left over from a column that was replaced
        _verify_shard(folder, receipt, info, samples, found)
    if info is not None and samples is not None:
        # A damaged cache is ignored by readers, and so is none; one that lies would be believed.
        lie = index_damage(folder, info, samples)
        if lie is not None:
            found(None, INDEX_FILE, lie)
    return damage


def _verify_shard(
    folder: Path,
    receipt: Receipt,
    info: ColumnInfo | None,
    samples: SampleTable | None,
    found: _Found,
) -> None:
    shard = receipt.shard
    name = receipt_file(shard)
    if samples is not None and receipt.ids_sha256 != samples.ids_sha256(shard):
        found(shard, name, "it is the receipt of other samples")
    reader = ShardReader(folder / receipt.file, receipt)
    try:
        reader.verify()
    except CorruptShard as error:
        found(shard, receipt.file, str(error))
        return
    if info is not None and (reader.dim, reader.dtype.name) != (info.dim, info.dtype):
        what = f"it holds {reader.dtype.name} [R, {reader.dim}], not {info.dtype} [R, {info.dim}]"
        found(shard, receipt.file, what)


def _names(shard: int, info: ColumnInfo | None) -> set[str]:
    """Return the files that a shard may have; of any format if the column's is not known."""
    forms = list(SUFFIXES) if info is None else [info.format]
    return {receipt_file(shard), *(shard_file(shard, form) for form in forms)}


def _is_ignored(name: str) -> bool:
    return name in (LOCK_NAME, INDEX_FILE) or name.startswith(TEMPORARY)
