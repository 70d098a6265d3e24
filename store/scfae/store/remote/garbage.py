"""Mark and sweep behind a URL; the one operation that lists the objects of a store, once.

What is marked is read after the listing: `store.json`, `columns.json`, receipts and pins as they
are then. An object without a mark that was older than the grace period stays without one, since
nobody comes to write a name twice: shards have names that were never there before, and a column
that was dropped begins anew only after its `column.json` is gone, which goes last. Receipts of a
column that is there stay, even those of another fingerprint, whose names are not unique; they are
small. Objects that scfae never wrote are not touched.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..column import COLUMN_FILE, ColumnInfo
from ..derivation.lineage import gone_parents, readable_columns
from ..document import unseal
from ..errors import CorruptShard
from ..garbage import Garbage, Kept, Sweep, ago
from ..header import COLUMNS_FOLDER, NEXT_SAMPLES_FILE, SAMPLES_FILE, STORE_FILE
from ..index import INDEX_FILE
from ..lock import LOCK_NAME
from ..pins import PINS_FOLDER
from ..receipt import Receipt, parse_receipt, shard_of_file
from .objects import PROBE, Entry, Objects, now_s
from .pins import RemotePin, read_pins, remove_pin
from .store import RemoteStore, samples_key

_SAMPLES: Final = re.compile(r"samples\.[0-9a-f]{16}\.parquet")
_RECEIPT: Final = re.compile(r"shard-(\d{5,})\.json")
_Found = tuple[Entry, str, str | None]


def collect_url(store: RemoteStore, *, grace_s: float, is_deleting: bool) -> Sweep:
    """Find what nothing refers to, and remove it if asked to; see `garbage.collect_garbage`.

    Raises:
        CorruptShard: If a pin is damaged, and so may pin anything.
    """
    objects, sweep = store.objects, Sweep(is_deleted=is_deleting)
    now = now_s(objects)
    entries = objects.entries()
    store.refresh()
    pins = read_pins(objects)
    pinned = {
        (name, fingerprint): one.pin.run
        for one in pins
        if not one.is_expired
        for name, fingerprint in one.pin.columns.items()
    }
    infos = readable_columns(store)
    found = [*_of_store(store, entries, pins), *_of_columns(store, entries, infos)]
    for entry, why, fingerprint in found:
        column = entry.key.split("/")[1] if "/" in entry.key else ""
        run = pinned.get((column, fingerprint or ""))
        age_s = now - entry.written_s
        if run is not None:
            sweep.kept.append(Kept(entry.key, f"{why}; the run {run} pins it"))
        elif age_s < grace_s:
            sweep.kept.append(Kept(entry.key, f"{why}; written {ago(age_s)} ago"))
        elif is_deleting and not _remove(store, entry, pins):
            sweep.kept.append(Kept(entry.key, f"{why}; written anew meanwhile"))
        else:
            sweep.garbage.append(Garbage(entry.key, entry.bytes, round(max(0.0, age_s), 3), why))
    for name, info in infos.items():
        sweep.orphans += [
            Kept(f"{COLUMNS_FOLDER}/{name}", f"its parent '{parent}' is gone")
            for parent in gone_parents(infos, info)
        ]
    return sweep


def _of_store(store: RemoteStore, entries: list[Entry], pins: list[RemotePin]) -> Iterator[_Found]:
    keys = {entry.key for entry in entries}
    table = _table_now(store)
    known = table if table in keys else SAMPLES_FILE  # as a copied local store has it
    by_key = {one.key: one for one in pins}
    for entry in entries:
        name = entry.key
        if name.startswith(PROBE):
            yield entry, "left by a process that was killed", None
        elif name in (SAMPLES_FILE, NEXT_SAMPLES_FILE) or _SAMPLES.fullmatch(name):
            if name != known:
                yield entry, f"a sample table that {STORE_FILE} does not name", None
        elif name.startswith(f"{PINS_FOLDER}/"):
            pin = by_key.get(name)
            if pin is None:
                yield entry, "a pin whose run was killed while it began", None
            elif pin.is_expired:
                yield entry, f"a pin of the run {pin.pin.run}, which renews it no more", None
            elif pin.pin.is_stale and pin.pin.is_from_here:
                yield entry, f"a pin of the run {pin.pin.run}, which is gone", None


def _of_columns(
    store: RemoteStore, entries: list[Entry], infos: dict[str, ColumnInfo]
) -> Iterator[_Found]:
    """Yield each object that no column needs, why, and the fingerprint it was written with."""
    names = store.column_names()
    folders: dict[str, list[Entry]] = {}
    for entry in entries:
        parts = entry.key.split("/")
        if len(parts) == 3 and parts[0] == COLUMNS_FOLDER:
            folders.setdefault(parts[1], []).append(entry)
    for name, there in folders.items():
        ours = [entry for entry in there if _is_ours(entry.key.rpartition("/")[2])]
        if name not in names:
            for entry in sorted(ours, key=lambda one: one.key.endswith(f"/{COLUMN_FILE}")):
                yield entry, "of a column that was dropped or renamed", None
        elif name in infos:
            yield from _of_column(store, infos[name], ours)


def _of_column(store: RemoteStore, info: ColumnInfo, ours: list[Entry]) -> Iterator[_Found]:
    receipts: dict[int, Receipt] = {}
    damaged: set[int] = set()
    for shard, data in store.fetch_receipts(info.name).items():
        try:
            receipts[shard] = parse_receipt(data, Path(info.name), shard)
        except CorruptShard:
            damaged.add(shard)  # `verify` names it
    for entry in ours:
        number = shard_of_file(entry.key.rpartition("/")[2])
        if number is None or number in damaged or number >= store.samples.num_shards:
            continue
        receipt = receipts.get(number)
        if receipt is None:
            yield entry, "a shard without a receipt", None
        elif not entry.key.endswith(f"/{receipt.file}"):
            yield entry, "a shard that its receipt does not name", None
        elif receipt.fingerprint != info.fingerprint:
            yield entry, "of a column that was replaced", receipt.fingerprint


def _table_now(store: RemoteStore) -> str:
    """Return the key of the sample table that `store.json` names now."""
    body = unseal(store.objects.get(STORE_FILE), Path(f"{store.url}/{STORE_FILE}"))
    return samples_key(str(body["samples_sha256"]))


def _is_ours(file: str) -> bool:
    is_known = file in (COLUMN_FILE, INDEX_FILE, LOCK_NAME)
    return is_known or shard_of_file(file) is not None or bool(_RECEIPT.fullmatch(file))


def _remove(store: RemoteStore, entry: Entry, pins: list[RemotePin]) -> bool:
    """Remove an object, unless it was written anew since it was listed; return whether."""
    objects: Objects = store.objects
    try:
        if objects.head(entry.key).written_s != entry.written_s:
            return False
    except FileNotFoundError:
        return True
    for pin in pins:
        if pin.key == entry.key:
            remove_pin(objects, pin)
            return True
    table = objects.get(entry.key) if _SAMPLES.fullmatch(entry.key) else None
    objects.delete(entry.key)
    # The one name that may come again: samples that are appended anew after a kill.
    if table is not None and _table_now(store) == entry.key:
        objects.put(entry.key, table)
        return False
    return True
