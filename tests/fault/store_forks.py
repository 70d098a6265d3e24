"""Writes to a store that die at a given instant: `python FILE`, told on stdin.

Each line `WRITE PATH INSTANT` forks a process that makes that write, killed before the line number
INSTANT of the functions that write files; its exit status is printed. A process of its own, with
one thread and little memory, forks quickly and cannot copy a lock that another thread holds.
"""

import os
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from scfae.store import ColumnInfo, FeatureStore, SampleRow, ShardSample, atomic

ATOMIC = atomic.__file__
STEPS = {"create", "_rewrite", "_finish_renaming", "commit", "_begin", "_drop_all"}
STEPS |= {"rename_column", "drop_column", "_copy", "_link", "_drop"}
SAMPLES = [SampleRow(f"s{i}", labels={"y": i}) for i in range(4)]


def commit(store: FeatureStore, column: str, value: float, shards: list[int]) -> None:
    info = ColumnInfo.create(column, "video", encoder="constant", dim=2, weights=f"random:{value}")
    with store.add_column(info, replace=True) as writer:
        for shard in shards:
            here = store.samples.rows_of(shard)
            writer.commit(shard, [ShardSample(np.full((1, 2), value)) for _ in here])


def create(path: Path) -> None:
    FeatureStore.create(path, SAMPLES, shard_size=2)


def append(path: Path) -> None:
    FeatureStore.open(path).append_samples([SampleRow("new"), *SAMPLES])


def relabel(path: Path) -> None:
    FeatureStore.open(path).update_labels([SampleRow("s1", labels={"y": 7})])


def begin(path: Path) -> None:
    commit(FeatureStore.open(path), "begun", 1.0, [0])


def repeat(path: Path) -> None:
    commit(FeatureStore.open(path), "other", 2.0, [0])


def replace(path: Path) -> None:
    commit(FeatureStore.open(path), "other", 3.0, [0, 1])


def rename(path: Path) -> None:
    FeatureStore.open(path).rename_column("other", "renamed")


def drop(path: Path) -> None:
    FeatureStore.open(path).drop_column("other")


WRITES = {
    one.__name__: one for one in (create, append, relabel, begin, repeat, replace, rename, drop)
}


def run_until(instant: int, write: str, path: Path) -> None:
    """Write, but die before the line number `instant` of the functions that write files."""
    left = instant

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        code = frame.f_code
        is_step = code.co_name in STEPS and code.co_filename.startswith(os.path.dirname(ATOMIC))
        if code.co_filename != ATOMIC and not is_step:
            return None
        left -= event == "line"
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    status = 1
    try:
        sys.settrace(trace)
        WRITES[write](path)
        status = 0
    finally:
        os._exit(status)


def serve() -> None:
    """Fork a process for each line of stdin."""
    with tempfile.TemporaryDirectory() as folder:  # imports here what each child would import
        store = Path(folder) / "store"
        create(store)
        commit(FeatureStore.open(store), "other", 1.0, [0])
        append(store)
    for line in sys.stdin:
        write, path, instant = line.rstrip("\n").split("\t")
        child = os.fork()
        if child == 0:
            run_until(int(instant), write, Path(path))
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    serve()
