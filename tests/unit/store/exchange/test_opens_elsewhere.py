"""Other programs open the files as what they say they are."""

import gc
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset

from scfae.store import FeatureStore
from scfae.store.exchange import export

from .small_stores import a_store, exported


def test_numpy_opens_an_npz_without_pickles(tmp_path: Path) -> None:
    store, out = exported(tmp_path)
    column = store.column("lite0")
    with np.load(out / "columns" / "lite0.npz", allow_pickle=False) as arrays:
        assert arrays["ids"].tolist() == store.samples.ids.tolist()
        assert arrays["status"].tolist() == column.status.tolist()
        why = [column.reasons.get(i, "") for i in range(len(column))]
        assert arrays["reasons"].tolist() == why
        assert "not extracted yet" in why
        offsets = arrays["offsets"]
        assert (np.diff(offsets) == column.lengths).all()
        for i in range(6):
            part = slice(offsets[i], offsets[i + 1])
            assert arrays["data"][part].tobytes() == column.rows(i).tobytes()
            assert arrays["times"][part].tobytes() == column.times(i).tobytes()


def test_pyarrow_opens_a_parquet_file_with_a_row_group_a_shard(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    store = a_store(tmp_path / "store", dtype="float16")
    export(store, tmp_path / "out", to="parquet", joined=True)
    file = pq.ParquetFile(tmp_path / "out" / "joined.parquet")
    assert file.metadata.num_row_groups == store.samples.num_shards
    rows = file.read().to_pylist()
    column = store.column("ge2e")
    for i, row in enumerate(rows):
        assert row["id"] == store.samples.ids[i]
        assert (row["split"], row["group"]) == (store.samples.split[i], store.samples.group[i])
        assert row["label.digit"] == store.samples.label("digit")[i]
        assert row["label.word"] == store.samples.label("word")[i]
        assert np.array_equal(np.array(row["audio"]).reshape(-1, 3), column.rows(i))
        times = np.array(row["audio.times"], dtype=float).reshape(-1, 2)
        assert np.array_equal(times, column.times(i), equal_nan=True)
        assert (row["audio.status"], row["audio.reason"]) == (
            column.status[i],
            column.reasons.get(i),
        )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("split", ["train", None])
def test_hugging_face_datasets_opens_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str | None
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets")
    store = a_store(tmp_path / "store", dtype="float16")
    export(store, tmp_path / "out", to="parquet", split=split)
    rows = datasets.load_dataset(
        str(tmp_path / "out"),
        "lite0",
        split=split or "samples",
        cache_dir=str(tmp_path / "cache"),
    )
    assert len(rows) == (3 if split else 7)
    assert rows.features["video"].feature.length == 2
    assert rows.features["video"].feature.feature.dtype == "float16"
    places = {name: i for i, name in enumerate(store.samples.ids.tolist())}
    column = store.column("lite0")
    for row in rows:
        i = places[row["id"]]
        if row["video.reason"] != "not extracted yet":
            assert np.array_equal(np.array(row["video"]).reshape(-1, 2), column.rows(i))
            assert row["video.status"] == column.status[i]


def by_webdataset(pattern: str) -> list[dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its files to the collector
        samples = list(webdataset.WebDataset(pattern, shardshuffle=False).decode())
        gc.collect()
    return samples


def test_webdataset_iterates_over_joined_tars(tmp_path: Path) -> None:
    store = a_store(tmp_path / "store")
    export(store, tmp_path / "out", to="webdataset", joined=True)
    pattern = str(tmp_path / "out" / "joined" / "shard-{00000..00002}.tar")
    found = by_webdataset(pattern)
    assert [one["json"]["id"] for one in found] == store.samples.ids.tolist()
    for i, one in enumerate(found):
        check_joined(store, i, one)


def check_joined(store: FeatureStore, i: int, one: dict[str, Any]) -> None:
    facts = one["json"]
    assert (facts["split"], facts["group"]) == (store.samples.split[i], store.samples.group[i])
    assert facts["labels"]["digit"] == store.samples.label("digit")[i]
    for name, key in (("ge2e", "audio"), ("lite0", "video")):
        column = store.column(name)
        told = {"column": name, "status": column.status[i], "reason": column.reasons.get(i)}
        assert facts["columns"][key] == told
        if told["reason"] == "not extracted yet":
            assert one[f"{key}.npy"].shape == (0, column.info.dim)
            continue
        assert one[f"{key}.npy"].tobytes() == column.rows(i).tobytes()
        assert one[f"{key}.times.npy"].tobytes() == column.times(i).tobytes()


def test_the_webdataset_package_opens_the_tars_of_a_column(tmp_path: Path) -> None:
    store = a_store(tmp_path / "store")
    export(store, tmp_path / "out", to="webdataset", columns=["ge2e"])
    pattern = str(tmp_path / "out" / "columns" / "ge2e" / "shard-{00000..00002}.tar")
    found = by_webdataset(pattern)
    assert [one["json"]["id"] for one in found] == store.samples.ids.tolist()


def test_h5py_and_zarr_open_the_shards_of_a_column(tmp_path: Path) -> None:
    import h5py
    import zarr

    store = a_store(tmp_path / "store")
    column = store.column("ge2e")
    wanted = np.concatenate([column.rows(i) for i in store.samples.rows_of(1)])
    export(store, tmp_path / "hdf5", to="hdf5")
    export(store, tmp_path / "zarr", to="zarr")
    with h5py.File(tmp_path / "hdf5" / "columns" / "ge2e" / "shard-00001.h5") as file:
        assert np.array_equal(file["data"][:], wanted)
    path = tmp_path / "zarr" / "columns" / "ge2e" / "shard-00001.zarr.zip"
    array = zarr.open_array(zarr.storage.ZipStore(path, mode="r"), path="data", mode="r")
    assert np.array_equal(np.asarray(array[:]), wanted)


def test_the_manifest_is_plain_json(tmp_path: Path) -> None:
    store, out = exported(tmp_path)
    document = json.loads((out / "scfae-export.json").read_text())
    assert document["columns"][0]["info"]["fingerprint"] == store.columns["ge2e"].fingerprint
    assert document["files"]["samples.parquet"]["bytes"] > 0
