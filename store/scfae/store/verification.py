"""Re-read a store against its checksums.

Every byte that was committed is covered: shard files by their receipts, receipts, `column.json` and
`store.json` by their own last line, the sample table by `store.json`. What was never committed is
no damage: temporaries, and a shard file whose receipt was not yet written when its writer died.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from .atomic import TEMPORARY, remove
from .column import BASIS_FILE, COLUMN_FILE, ColumnInfo, read_column
from .container import SUFFIXES
from .document import unseal
from .errors import CorruptShard, StoreVersionError
from .header import (
    CLAIMS_FOLDER,
    COLUMNS_FOLDER,
    NEXT_SAMPLES_FILE,
    SAMPLES_FILE,
    STORE_FILE,
    read_header,
    read_store,
)
from .index import INDEX_FILE, index_damage
from .lock import LOCK_NAME, FolderLock
from .pins import PINS_FOLDER, read_pin
from .receipt import is_committed, read_receipt, receipt_file, shard_file, shard_of_file
from .remote.objects import is_url
from .samples import SampleTable
from .shard import ShardReader
from .store import FeatureStore

_STRAY: Final = "nothing refers to this file"
_Found = Callable[[int | None, str, str], None]
_RECEIPT = re.compile(r"shard-(\d{5,})\.json")


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
        store: An open store, its folder or URL; a folder also where the store cannot be opened.

    Raises:
        StoreNotFound: If there is no store.
        StoreVersionError: If it was written by a newer version.
    """
    where = store.url if isinstance(store, FeatureStore) else os.fspath(store)
    if is_url(where):
        from .remote.verification import verify_url

        return verify_url(where)
    path = Path(where)
    damage: list[Damage] = []
    samples = _verify_samples(path, damage)
    known = {STORE_FILE, SAMPLES_FILE, NEXT_SAMPLES_FILE, LOCK_NAME}
    known |= {COLUMNS_FOLDER, PINS_FOLDER, CLAIMS_FOLDER}
    for entry in sorted(path.iterdir()):
        if entry.name not in known and not entry.name.startswith(TEMPORARY):
            damage.append(Damage(None, None, entry.name, _STRAY))
    for file in sorted((path / PINS_FOLDER).glob("*")):
        if not file.name.startswith(TEMPORARY):
            try:
                read_pin(file)
            except CorruptShard as error:
                damage.append(Damage(None, None, f"{PINS_FOLDER}/{file.name}", str(error)))
    for folder in sorted((path / COLUMNS_FOLDER).glob("*")):
        if not folder.name.startswith(TEMPORARY):
            damage += _verify_column(path, folder, samples)
    return damage


class Requeued(NamedTuple):
    """What became of damaged shards, as (column, shard).

    Attributes:
        withdrawn: Their receipts are gone; the next extraction makes them again.
        mended: They are whole by now: somebody has written them anew since they were verified.
    """

    withdrawn: list[tuple[str, int]]
    mended: list[tuple[str, int]]


def requeue(store: FeatureStore | Path | str, damage: Sequence[Damage]) -> Requeued:
    """Withdraw the receipts of damaged shards, so that whoever made them makes them again.

    A shard is looked at once more under its column's lock: one that is whole by now keeps its
    receipt. One beyond the sample table is left alone, since nobody would make it again.

    Args:
        store: The store.
        damage: What `verify` found.

    Raises:
        StoreLocked: If a damaged column is being written.
    """
    where = store.url if isinstance(store, FeatureStore) else os.fspath(store)
    if is_url(where):
        from .remote.verification import requeue_url

        return Requeued(requeue_url(where, damage), [])
    path = Path(where)
    samples = _verify_samples(path, [])
    shards: dict[str, set[int]] = {}
    for one in damage:
        if one.column is not None and one.shard is not None:
            shards.setdefault(one.column, set()).add(one.shard)
    done = Requeued([], [])
    for column in sorted(shards):
        folder = path / COLUMNS_FOLDER / column
        with FolderLock(folder, f"column '{column}'"):
            info = _info(folder, _collector(path, folder, []))
            for shard in sorted(shards[column]):
                if samples is not None and shard >= samples.num_shards:
                    continue
                found: list[Damage] = []
                _verify_shard(folder, shard, info, samples, _collector(path, folder, found))
                if found:
                    remove(folder / receipt_file(shard))
                (done.withdrawn if found else done.mended).append((column, shard))
    for one in damage:
        if is_cache(one):
            remove(path / one.file)  # a cache: the receipts say the same, and more truly
    return done


def is_cache(damage: Damage) -> bool:
    """Return whether the damaged file only repeats what receipts say; `requeue` removes it."""
    return Path(damage.file).name == INDEX_FILE


def advice(store: Path | str, damage: Damage) -> str:
    """Return in a sentence what to do about damage that withdrawing receipts does not repair.

    Args:
        store: The store's folder, as the user calls it.
        damage: What `verify` found.
    """
    if damage.what == _STRAY:
        return f"{damage.file} was put there by somebody else: move it out of the store."
    if damage.file.startswith(f"{PINS_FOLDER}/"):
        return f"{damage.file} says no more which run it stands for: remove it if none needs it."
    if damage.column is None:
        return (
            f"{damage.file} cannot be made again from the rest: restore it from a backup, or "
            "extract into a new store."
        )
    if damage.shard is None:
        return (
            f"{damage.file} says no more what the column is: `scfae store drop {store} "
            f"{damage.column} --yes`, and extract, derive or import it again."
        )
    return (
        f"{damage.file} belongs to a shard that {SAMPLES_FILE} does not have: restore that from "
        "the backup it was in, or remove the shard's files."
    )


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
        return [Damage(None, None, f"{COLUMNS_FOLDER}/{column}", _STRAY)]
    if not files:
        return []  # a column whose writer died before it began
    damage: list[Damage] = []

    found = _collector(path, folder, damage)
    info = _info(folder, found)
    shards: set[int] = set()
    for name in files:
        match = _RECEIPT.fullmatch(name)
        shard = int(match[1]) if match else shard_of_file(name)
        if shard is not None and (name in _names(shard, info) or _is_named(folder, shard, name)):
            shards.add(shard)
        elif name == BASIS_FILE:
            _verify_basis(folder, info, found)
        elif name != COLUMN_FILE:
            found(None, name, _STRAY)
    for shard in sorted(shards):
        if samples is not None and shard >= samples.num_shards:
            found(shard, receipt_file(shard), f"the store has only {samples.num_shards} shards")
        else:
            _verify_shard(folder, shard, info, samples, found)
    if info is not None and samples is not None:
        # A damaged cache is ignored by readers, and so is none; one that lies would be believed.
        lie = index_damage(folder, info, samples)
        if lie is not None:
            found(None, INDEX_FILE, lie)
    return damage


def _collector(path: Path, folder: Path, damage: list[Damage]) -> _Found:
    def found(shard: int | None, name: str, what: str) -> None:
        damage.append(Damage(folder.name, shard, str((folder / name).relative_to(path)), what))

    return found


def _info(folder: Path, found: _Found) -> ColumnInfo | None:
    try:
        info = read_column(folder)
    except FileNotFoundError:
        found(None, COLUMN_FILE, "the file is gone")
        return None
    except CorruptShard as error:
        found(None, COLUMN_FILE, str(error))
        return None
    if info.name != folder.name:
        found(None, COLUMN_FILE, f"it describes column '{info.name}'")
        return None
    return info


def _verify_shard(
    folder: Path,
    shard: int,
    info: ColumnInfo | None,
    samples: SampleTable | None,
    found: _Found,
) -> None:
    name = receipt_file(shard)
    try:
        receipt = read_receipt(folder, shard)
    except CorruptShard as error:
        found(shard, name, str(error))
        return
    if receipt is None or (info and receipt.fingerprint != info.fingerprint):
        return  # not committed, or left over from a column that was replaced
    if samples is not None and receipt.ids_sha256 != samples.ids_sha256(shard):
        found(shard, name, "it is the receipt of other samples")
    reader = ShardReader(folder / receipt.file, receipt)
    try:
        reader.verify()
    except CorruptShard as error:
        if is_committed(folder, receipt.shard, receipt.sha256):
            found(shard, receipt.file, str(error))
        else:  # a writer has replaced it meanwhile
            _verify_shard(folder, shard, info, samples, found)
        return
    if info is not None and (reader.dim, reader.dtype.name) != (info.dim, info.dtype):
        what = f"it holds {reader.dtype.name} [R, {reader.dim}], not {info.dtype} [R, {info.dim}]"
        found(shard, receipt.file, what)


def _verify_basis(folder: Path, info: ColumnInfo | None, found: _Found) -> None:
    from .derivation.basis import read_basis

    if info is None:
        return  # found by itself
    try:
        read_basis(folder, info)
    except CorruptShard as error:
        found(None, BASIS_FILE, str(error))


def _names(shard: int, info: ColumnInfo | None) -> set[str]:
    """Return the files that a shard may have; of any format if the column's is not known."""
    forms = list(SUFFIXES) if info is None else [info.format]
    return {receipt_file(shard), *(shard_file(shard, form) for form in forms)}


def _is_named(folder: Path, shard: int, name: str) -> bool:
    """Return whether a shard's receipt names a file, which may have its digest in its name."""
    try:
        receipt = read_receipt(folder, shard)
    except CorruptShard:
        return True  # found by itself
    return receipt is not None and receipt.file == name


def _is_ignored(name: str) -> bool:
    return name in (LOCK_NAME, INDEX_FILE) or name.startswith(TEMPORARY)
