"""Stores to export, and what must be equal after a round trip."""

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from scfae.store import ColumnInfo, FeatureStore, SampleRow, ShardSample
from scfae.store.exchange import export
from scfae.store.receipt import Status

FORMS = [
    ("zarr", False),
    ("zarr-zstd", False),
    ("zarr-dir", False),
    ("webdataset", False),
    ("hdf5", False),
    ("npz", False),
    ("parquet", False),
    ("parquet", True),
    ("webdataset", True),
]
DIMS = {"ge2e": 3, "lite0": 2}


def describe(name: str = "ge2e", modality: str = "audio", **fields: Any) -> ColumnInfo:
    dim = DIMS.get(name, 3)
    return ColumnInfo.create(
        name, modality, encoder=name, dim=dim, recipe={"fps": 2.5}, licence="MIT", **fields
    )


def a_store(path: Path, *, form: Any = "zarr", dtype: Any = "float32") -> FeatureStore:
    """A store of 7 samples in 3 shards with every fate, of which one shard is not extracted."""
    rows = [
        SampleRow(
            f"talk/{i}.mp4",
            split="train" if i % 2 else "test",
            group=f"speaker {i % 3}",
            labels={"digit": i, "mood": None if i == 3 else i / 3, "word": "ä" if i else None},
            media={"audio": f"{i}.wav"},
        )
        for i in range(7)
    ]
    store = FeatureStore.create(path, rows, shard_size=3, seed=4)
    random = np.random.default_rng(0)
    for name, modality in (("ge2e", "audio"), ("lite0", "video")):
        with store.add_column(describe(name, modality, format=form, dtype=dtype)) as writer:
            for shard in range(3 if name == "ge2e" else 2):
                here = store.samples.rows_of(shard)
                writer.commit(shard, [_sample(i, DIMS[name], random) for i in here])
    return store


def _sample(i: int, dim: int, random: np.random.Generator) -> ShardSample:
    if i in (1, 4):
        status: Status = "missing" if i == 1 else "failed"
        return ShardSample(status=status, reason=f"no sound, {i}", media_sha256=None)
    T = 1 + i % 4
    return ShardSample(
        rows=random.normal(size=(T, dim)),
        times=None if i == 2 else np.arange(2.0 * T).reshape(T, 2) / 7,
        status="partial" if i == 5 else "ok",
        reason="decoded 3 of 9 frames" if i == 5 else None,
        media_sha256=f"{i:064x}",
    )


@st.composite
def stores(draw: st.DrawFn, path: Path) -> FeatureStore:
    """A small store with any fates, types, lengths and times."""
    num_samples = draw(st.integers(1, 6))
    texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
    ids = draw(
        st.lists(texts.filter(bool), min_size=num_samples, max_size=num_samples, unique=True)
    )
    labels = [
        {"a": draw(st.none() | st.integers(-5, 5)), "b": draw(st.none() | st.floats(-9, 9))}
        for _ in ids
    ]
    splits = draw(st.lists(st.sampled_from(["train", "val", None]), min_size=6, max_size=6))
    rows = [
        SampleRow(name, split=splits[i], labels=labels[i], group=draw(st.none() | texts))
        for i, name in enumerate(ids)
    ]
    store = FeatureStore.create(path, rows, shard_size=draw(st.integers(1, 4)))
    for name in ("ge2e", "lite0")[: draw(st.integers(1, 2))]:
        info = describe(
            name,
            draw(st.sampled_from(["audio", "video", "a b/c"])),
            dtype=draw(st.sampled_from(["float32", "float16"])),
            format=draw(st.sampled_from(["zarr", "webdataset", "hdf5"])),
            weights_sha256=draw(st.none() | st.just("ab" * 32)),
        )
        with store.add_column(info) as writer:
            for shard in range(store.samples.num_shards):
                if draw(st.integers(0, 4)):  # one shard in five is not extracted yet
                    here = store.samples.rows_of(shard)
                    writer.commit(shard, [draw(samples(info.dim)) for _ in here])
    return store


@st.composite
def samples(draw: st.DrawFn, dim: int) -> ShardSample:
    """A sample of any fate; times may be unknown."""
    from hypothesis.extra import numpy as hnp

    status: Status = draw(st.sampled_from(["ok", "partial", "missing", "failed"]))
    T = draw(st.integers(0, 4)) if status in ("ok", "partial") else 0
    times = hnp.arrays(np.float64, (T, 2), elements=st.floats(allow_nan=True, allow_infinity=True))
    return ShardSample(
        rows=draw(hnp.arrays(np.float16, (T, dim), elements=st.floats(-6e4, 6e4, width=16))),
        times=draw(st.none() | times),
        status=status,
        reason=draw(st.none() | st.just("") | st.text(st.characters(codec="utf-8"), max_size=9))
        if status == "ok"
        else draw(st.sampled_from(["no sound", "ä\n\0 reason"])),
        media_sha256=draw(st.none() | st.text("0123456789abcdef", min_size=64, max_size=64)),
    )


def facts(store: FeatureStore) -> dict[str, Any]:
    """Everything a store says, bit for bit: table, descriptions, receipts, rows and times."""
    columns = {}
    for name, info in store.columns.items():
        column = store.column(name)
        shards = range(store.samples.num_shards)
        receipts = [column.receipt(shard) for shard in shards]
        there = [i for i in range(len(column)) if receipts[store.samples.shard_of[i]] is not None]
        columns[name] = {
            "info": info,
            "column.json": (column.folder / "column.json").read_bytes(),
            "receipts": receipts,
            "rows": [(column.rows(i).dtype, column.rows(i).tobytes()) for i in there],
            "times": [column.times(i).tobytes() for i in there],
        }
    return {
        "table": (store.path / "samples.parquet").read_bytes(),
        "fingerprint": store.fingerprint,
        "columns": columns,
    }


def exported(tmp_path: Path, to: Any = "npz", **options: Any) -> tuple[FeatureStore, Path]:
    """A store and its export."""
    store = a_store(tmp_path / "store")
    export(store, tmp_path / "out", to=to, **options)
    return store, tmp_path / "out"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
