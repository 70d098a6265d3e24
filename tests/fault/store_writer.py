"""Writes a store until it is stopped, saying what is done once it is done; run by the fault tests.

Every line on stdout is flushed: `ready`, upon which it waits for a line on stdin, and then one line
for each thing that must survive whatever happens next.
"""

import itertools
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from scfae.store import ColumnInfo, FeatureStore, SampleRow, ShardSample
from scfae.store.errors import StoreLocked, StoreNotFound

DIM = 64
SHARD_SIZE = 3
START = 12
SHARED = 20


def value(name: str, generation: int) -> float:
    """Return what every row of a sample holds."""
    return int(name[1:].replace("-", "")) + generation / 4


def describe(column: str, generation: int, form: str = "zarr") -> ColumnInfo:
    return ColumnInfo.create(
        column,
        "video",
        encoder="constant",
        dim=DIM,
        weights=f"random:{generation}",
        is_random=True,
        format=form,
    )


def say(*words: object) -> None:
    print(*words, flush=True)


def commit_next(
    store: FeatureStore, column: str, generation: int, *, replace: bool, form: str = "zarr"
) -> bool:
    """Commit the first missing shard; return whether there was one."""
    with store.add_column(describe(column, generation, form), replace=replace) as writer:
        missing = writer.missing_shards()
        if not missing:
            return False
        ids = [str(store.samples.ids[i]) for i in store.samples.rows_of(missing[0])]
        rows = [np.full((4, DIM), value(name, generation), dtype=np.float32) for name in ids]
        receipt = writer.commit(missing[0], [ShardSample(one) for one in rows])
        say("commit", column, generation, missing[0], receipt.sha256)
        return True


def create(path: Any) -> FeatureStore:
    store = FeatureStore.create(
        path, [SampleRow(f"s{i}") for i in range(START)], shard_size=SHARD_SIZE
    )
    say("created", path)
    return store


def create_many(folder: Path) -> None:
    """Create one store after the other."""
    for number in itertools.count():
        create(folder / f"{number}")


def grow(path: Any, generation: int, num_turns: int, form: str = "zarr") -> None:
    """Extend `kept`, replace `swapped` and append samples, again and again."""
    try:
        store = FeatureStore.open(path)
    except StoreNotFound:
        store = create(path)
    for turn in range(num_turns):
        while commit_next(store, "kept", 0, replace=False, form=form):
            pass
        say("replacing")
        while commit_next(store, "swapped", generation + turn % 2, replace=True, form=form):
            pass
        name = f"s{generation + 1}-{turn:04d}"
        store.append_samples([SampleRow(name)])
        say("appended", name)
    while commit_next(store, "kept", 0, replace=False, form=form):
        pass
    say("finished")


def share(path: Path, who: int) -> None:
    """Write what is missing beside another process that does the same."""
    is_done = False
    appended = 0
    while not is_done:
        try:
            store = FeatureStore.open(path)
            if appended < SHARED:
                store.append_samples([SampleRow(f"s{who}-{appended:04d}")])
                say("appended", f"s{who}-{appended:04d}")
                appended += 1
            is_done = not commit_next(store, "kept", 0, replace=False) and appended == SHARED
        except StoreLocked:
            say("locked")
            time.sleep(0.002)
    say("finished")


if __name__ == "__main__":
    kind, folder, *numbers = sys.argv[1:]
    say("ready")
    sys.stdin.readline()
    if kind == "create":
        create_many(Path(folder))
    elif kind == "grow":
        where = folder if "://" in folder else Path(folder)
        grow(where, int(numbers[0]), int(numbers[1]), *numbers[2:])
    else:
        share(Path(folder), int(numbers[0]))
