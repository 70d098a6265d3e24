"""Renaming and dropping columns behind a URL: one compare-and-swap of `columns.json` each.

A receipt and `column.json` carry the column's name, so that an object in the wrong place is found.
So a column is renamed by way of copies, which the server makes: shards and receipts under the new
name; the swap of the two names in `columns.json` is the commit; what the old name has is removed
then. A column is dropped by the removal of its name.

Nothing keeps writers off, so they look after themselves: a writer whose column is not in
`columns.json` any more after it created a receipt says that the shard does not count. A receipt
that was created before the swap is carried over after it. What a kill leaves has a `column.json`
whose name is not known: nobody begins a column or renames one to there until `drop`, or `gc` after
its grace period, has removed the rest, `column.json` last.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from ..column import COLUMN_FILE, SAFE_NAME, ColumnInfo, column_document
from ..document import seal
from ..errors import ConfigError, CorruptShard, StoreError
from ..header import COLUMNS_FOLDER
from ..receipt import Receipt, parse_receipt, receipt_file
from .names import object_name
from .objects import PARALLEL_REQUESTS, create_once, get_many
from .pins import refuse_pinned
from .store import RemoteStore


def rename_column(store: RemoteStore, old: str, new: str) -> None:
    """Give a column another name; see `store.catalogue.rename_column`.

    Raises:
        UnknownColumn: If there is no column `old`.
        ConfigError: If `new` cannot be a column's name.
        StoreError: If there is another column `new`, or one that was not removed to the end.
        ColumnPinned: If a run reads it.
        CorruptShard: If a receipt is damaged.
    """
    if not SAFE_NAME.fullmatch(new):
        raise ConfigError(f"{new!r} is no column name: letters, digits and . _ = + - only.")
    store.refresh()
    names = store.column_names()
    if old not in names:
        _refuse_unknown(store, old)
    if old == new:
        return
    if new in names:
        raise _taken(store, new)
    refuse_pinned(store.objects, old)
    store.names.change(list)  # a copied local store has none yet: not to take the copy for one
    info = store.columns[old]
    document = column_document(info.model_copy(update={"name": new}))
    if not create_once(store.objects, _key(new, COLUMN_FILE), document):
        raise StoreError(
            f"{store.url}: column '{new}' was dropped, or is being renamed, and its objects are "
            "not all gone: wait, or, if that was cut off, remove them by `scfae store drop "
            f"{store.url} {new} --yes`."
        )
    carried: dict[int, bytes] = {}

    def swap(there: list[str]) -> list[str]:
        if old not in there:
            raise StoreError(f"{store.url}: column '{old}' was dropped or renamed meanwhile.")
        if new in there:
            raise _taken(store, new)
        return [new if name == old else name for name in there]

    try:
        _carry(store, info, new, carried)
        store.names.change(swap)
    except BaseException:
        if new not in store.column_names():
            _remove(store, new)
        raise
    _carry(store, info, new, carried)  # what writers have committed until then
    _remove(store, old)


def drop_column(store: RemoteStore, name: str) -> None:
    """Remove a column, at once and for good; also what a renaming or dropping left that was killed.

    Raises:
        UnknownColumn: If there is none.
        ColumnPinned: If a run reads it.
    """
    store.refresh()
    is_there = name in store.column_names()
    if not is_there and not _has_leftovers(store, name):
        _refuse_unknown(store, name)
    refuse_pinned(store.objects, name)
    if is_there:
        store.names.change(lambda there: [one for one in there if one != name])
    _remove(store, name)


def column_bytes(store: RemoteStore, name: str) -> int:
    """Return the bytes of the shards that `drop_column` would remove.

    Raises:
        UnknownColumn: If there is no column, nor anything left of one.
    """
    if name not in store.column_names() and not _has_leftovers(store, name):
        _refuse_unknown(store, name)
    num_bytes = 0
    for shard, data in store.fetch_receipts(name).items():
        with suppress(CorruptShard):
            num_bytes += parse_receipt(data, Path(name), shard).bytes
    return num_bytes


def _refuse_unknown(store: RemoteStore, name: str) -> NoReturn:
    store.column(name)  # says which columns there are
    raise ConfigError(f"'{name}' is the encoder of a column, not its name; see `store info`.")


def _taken(store: RemoteStore, new: str) -> StoreError:
    return StoreError(
        f"{store.url} has a column '{new}' already; drop it first, or choose another name."
    )


def _has_leftovers(store: RemoteStore, name: str) -> bool:
    if not SAFE_NAME.fullmatch(name):
        return False
    return bool(get_many(store.objects, [_key(name, COLUMN_FILE)]))


def _carry(store: RemoteStore, info: ColumnInfo, new: str, carried: dict[int, bytes]) -> None:
    """Copy the shards and receipts of a column that were not copied yet, each shard first."""

    def copy(receipt: Receipt) -> None:
        moved = receipt.model_copy(update={"column": new, "file": object_name(receipt)})
        store.objects.copy(_key(info.name, receipt.file), _key(new, moved.file))
        store.objects.put(_key(new, receipt_file(moved.shard)), seal(moved.model_dump(mode="json")))

    found = store.fetch_receipts(info.name)
    fresh = [
        parse_receipt(data, Path(info.name), shard)
        for shard, data in found.items()
        if carried.get(shard) != data
    ]
    with ThreadPoolExecutor(PARALLEL_REQUESTS, thread_name_prefix="scfae-copy") as pool:
        list(pool.map(copy, [one for one in fresh if one.fingerprint == info.fingerprint]))
    carried.update(found)


def _remove(store: RemoteStore, name: str) -> None:
    """Remove the objects of a column, each shard before its receipt, and `column.json` last."""

    def remove(shard: int, data: bytes) -> None:
        try:
            receipt = parse_receipt(data, Path(name), shard)
        except CorruptShard:
            pass  # `gc` finds the shard
        else:
            store.objects.delete(_key(name, receipt.file))
        store.objects.delete(_key(name, receipt_file(shard)))

    found: Mapping[int, bytes] = store.fetch_receipts(name)
    with ThreadPoolExecutor(PARALLEL_REQUESTS, thread_name_prefix="scfae-drop") as pool:
        list(pool.map(remove, found, found.values()))
    store.objects.delete(_key(name, COLUMN_FILE))


def _key(name: str, file: str) -> str:
    return f"{COLUMNS_FOLDER}/{name}/{file}"
