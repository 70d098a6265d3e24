"""A shard of every fate, as tests of formats write and parse it."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from scfae.store.container import (
    Layout,
    ShardContents,
    container,
    format_of,
    open_shard,
    write_shard,
)

LENGTHS = [3, 0, 1, 5, 0]
OFFSETS = np.array([0, 3, 3, 4, 9, 9])
FIRST = 40
IDS = ["s0", "é1", "s2", "s3", "s4"]
STATUS = ["ok", "missing", "ok", "partial", "failed"]
REASONS = {1: "no sound", 3: "2 damaged packets — ü", 4: "cannot be decoded"}
DATA = np.random.default_rng(0).normal(size=(9, 4)).astype("float16")
TIMES = np.stack([np.arange(9), np.arange(9) + 0.5], axis=1)


def write(path: Path, modality: str = "video") -> Path:
    form = format_of(path.name)
    assert form is not None
    contents = ShardContents(
        DATA, OFFSETS, TIMES, modality, first=FIRST, ids=IDS, status=STATUS, reasons=REASONS
    )
    write_shard(path, contents, form=form)
    return path


def locate(path: Path) -> Layout:
    form = format_of(path.name)
    assert form is not None
    return container(form).locate(open_shard(path))


def arrays_by_zarr(path: Path) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = (
            zarr.storage.LocalStore(path, read_only=True)
            if path.is_dir()
            else zarr.storage.ZipStore(path, mode="r")
        )
        group = zarr.open_group(store, mode="r")
        arrays = {name: np.asarray(group[name]) for name in ("data", "offsets", "times")}
        store.close()
    return arrays
