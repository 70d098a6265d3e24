"""What a derived column was made from, and whether that is still so."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from ..column import ColumnInfo, read_column
from ..config import digest
from ..errors import CorruptShard
from ..header import COLUMNS_FOLDER
from ..reader import Column
from ..samples import SampleTable
from ..store import FeatureStore
from .chain import PREFIX


def is_derived(info: ColumnInfo) -> bool:
    """Return whether a column was computed from others."""
    return info.encoder.startswith(PREFIX)


def parent_record(column: Column) -> dict[str, Any]:
    """Return what a derived column's recipe says of a parent."""
    return {
        "name": column.info.name,
        "fingerprint": column.info.fingerprint,
        "content_sha256": column.content_sha256,
    }


def split_sha256(samples: SampleTable, split: str) -> str:
    """Return the digest of a split's ids: what a fitted column depends on beside its parents."""
    return digest(samples.ids[np.flatnonzero(samples.split == split)].tolist())


def why_stale(store: FeatureStore, info: ColumnInfo) -> list[str]:
    """Return what has changed since a column was derived; nothing for a column of an encoder.

    Reads the receipts of the parents.

    Args:
        store: The store.
        info: The column.
    """
    if not is_derived(info):
        return []
    there = store.columns
    why: list[str] = []
    for parent in info.recipe["parents"]:
        name = _now(there, parent)
        if name is None:
            why.append(f"its parent '{parent['name']}' is gone")
        elif there[name].fingerprint != parent["fingerprint"]:
            why.append(f"its parent '{name}' was made anew in another way")
        elif store.column(name).content_sha256 != parent["content_sha256"]:
            why.append(f"the rows of its parent '{name}' have changed")
    split = info.recipe["steps"].get("fit_split")
    if split is not None and split_sha256(store.samples, split) != info.recipe["fit_sha256"]:
        why.append(f"the split '{split}' that it was fitted on has changed")
    return why


def parents_now(there: Mapping[str, ColumnInfo], info: ColumnInfo) -> list[str]:
    """Return what the parents of a derived column are called now; as then, if they are gone.

    Args:
        there: The columns of the store.
        info: The column.
    """
    return [_now(there, one) or one["name"] for one in info.recipe["parents"]]


def gone_parents(there: Mapping[str, ColumnInfo], info: ColumnInfo) -> list[str]:
    """Return the parents of a column, by name, that are not there, under another name either.

    Args:
        there: The columns of the store.
        info: The column.
    """
    if not is_derived(info):
        return []
    return [one["name"] for one in info.recipe["parents"] if _now(there, one) is None]


def dependents(store: FeatureStore, name: str) -> list[str]:
    """Return the columns that were derived from a column."""
    there = readable_columns(store)
    return [
        one
        for one, info in there.items()
        if is_derived(info)
        and any(_now(there, parent) == name for parent in info.recipe["parents"])
    ]


def readable_columns(store: FeatureStore) -> dict[str, ColumnInfo]:
    """Return a store's columns but those whose `column.json` is damaged, which `verify` names."""
    if not store.is_local:
        with suppress(CorruptShard):
            _ = store.columns  # which mirrors them here
    found: dict[str, ColumnInfo] = {}
    for name in store.column_names():
        with suppress(CorruptShard, FileNotFoundError):
            found[name] = read_column(store.path / COLUMNS_FOLDER / name)
    return found


def _now(there: Mapping[str, ColumnInfo], parent: dict[str, Any]) -> str | None:
    """Return what a parent is called now: it may have been renamed, and its name given anew."""
    name = str(parent["name"])
    same = [one for one, info in there.items() if info.fingerprint == parent["fingerprint"]]
    if name in same or (not same and name in there):
        return name
    return same[0] if same else None
