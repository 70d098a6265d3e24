"""Format version 1 for ever: a store of then opens today, and today's bytes are those of then.

`golden/store-v1` and the same store in the other file formats were written by `write` below.
None of them changes; a new version of the format gets a new folder.
"""

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from scfae.store import ColumnInfo, FeatureStore, SampleRow, ShardSample, verify
from scfae.store.container import Format
from scfae.store.samples import SampleTable
from scfae.store.testing import make_store

FOLDER = Path(__file__).resolve().parents[2] / "golden"
GOLDEN: dict[Format, Path] = {
    "zarr": FOLDER / "store-v1",
    "zarr-zstd": FOLDER / "store-v1-zarr-zstd",
    "zarr-dir": FOLDER / "store-v1-zarr-dir",
    "webdataset": FOLDER / "store-v1-webdataset",
    "hdf5": FOLDER / "store-v1-hdf5",
}
HDF5_VERSION = "2.0.0"
ARROW_VERSION = "26.0.1"
N = 5
ORDER = ["s2", "s0", "s1", "s3", "é4"]
FINGERPRINTS = {"ge2e.fps=2": "2d32450fcdd1ba70", "pixels": "c0471d42ccfb0cf3"}
COLUMNS: dict[str, tuple[str, int, Any]] = {
    "pixels": ("video", 3, "float32"),
    "ge2e.fps=2": ("audio", 2, "float16"),
}


@pytest.fixture(params=GOLDEN)
def form(request: pytest.FixtureRequest) -> Format:
    name: Format = request.param
    return name


@pytest.fixture
def golden(form: Format) -> Path:
    return GOLDEN[form]


def names() -> list[str]:
    return [*(f"s{i}" for i in range(N - 1)), f"é{N - 1}"]


def rows(i: int, dim: int) -> npt.NDArray[np.float64]:
    """Return i % 3 + 1 rows of multiples of 1/8, which both dtypes hold exactly."""
    T = i % 3 + 1
    return (np.arange(T * dim).reshape(T, dim) - 2 * i) / 8


def times(i: int) -> npt.NDArray[np.float64]:
    starts = np.arange(i % 3 + 1) / 2
    return np.stack([starts, starts + 0.5], axis=1)


def fate(i: int, modality: str, dim: int) -> ShardSample:
    digest = f"{i:x}" * 64
    if modality == "audio" and i == 1:
        return ShardSample(status="missing", reason="no audio")
    if modality == "audio" and i == 4:
        return ShardSample(status="failed", reason="cannot be decoded", media_sha256=digest)
    if modality == "video" and i == 3:
        return ShardSample(rows(i, dim), None, "partial", "2 damaged packets", digest)
    return ShardSample(rows(i, dim), times(i), media_sha256=digest)


def samples() -> list[SampleRow]:
    return [
        SampleRow(
            name,
            {"video": f"clips/{name}.mp4"},
            "train" if i < 3 else "test",
            f"speaker-{i % 2}",
            {"digit": i, "score": i / 4 if i else None, "word": "ja" if i % 2 else "nej"},
            i + 0.5,
        )
        for i, name in enumerate(names())
    ]


def write(path: Path, form: Format) -> FeatureStore:
    store = FeatureStore.create(path, samples()[:4], shard_size=2, seed=1)
    store.append_samples(samples())
    for name, (modality, dim, dtype) in COLUMNS.items():
        info = ColumnInfo.create(
            name,
            modality,
            encoder=name,
            dim=dim,
            dtype=dtype,
            format=form,
            weights_sha256="ab" * 32,
            recipe={"size": 8, "mean": [0.5, 0.25]},
            options={"fps": 2} if modality == "audio" else {},
            rows_per_second=2.0,
            licence="MIT",
            versions={"numpy": "2"},
            compute={"device": "cpu"},
        )
        with store.add_column(info) as writer:
            for shard in range(store.samples.num_shards):
                here = [names().index(store.samples.ids[k]) for k in store.samples.rows_of(shard)]
                writer.commit(shard, [fate(i, modality, dim) for i in here])
    return store


def files_of(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_a_store_of_version_1_opens_and_is_whole(golden: Path) -> None:
    store = FeatureStore.open(golden)
    assert store.format_version == 1
    assert verify(golden) == []
    assert store.samples.ids.tolist() == ORDER
    assert store.samples.shard_of.tolist() == [0, 0, 1, 1, 2]
    assert list(store.columns) == sorted(COLUMNS)


def test_its_samples_are_those_that_were_written(golden: Path) -> None:
    there = {row.id: row for row in FeatureStore.open(golden).samples.rows()}
    assert there == {row.id: row for row in samples()}


@pytest.mark.parametrize("name", COLUMNS)
def test_its_rows_are_exactly_those_that_were_written(golden: Path, name: str) -> None:
    modality, dim, dtype = COLUMNS[name]
    column = FeatureStore.open(golden).column(name)
    assert (column.info.modality, column.info.dim, column.info.dtype) == (modality, dim, dtype)
    for place, sample in enumerate(ORDER):
        wanted = fate(names().index(sample), modality, dim)
        assert column.status[place] == wanted.status
        assert column.reasons.get(place) == wanted.reason
        if wanted.rows is None:
            assert column.rows(place).shape == (0, dim)
            continue
        assert column.rows(place).dtype == dtype
        assert column.rows(place).tolist() == wanted.rows.tolist()
        if wanted.times is None:
            assert np.isnan(column.times(place)).all()
        else:
            assert column.times(place).tolist() == wanted.times.tolist()


def test_fingerprints_are_those_of_then(golden: Path) -> None:
    columns = FeatureStore.open(golden).columns
    assert {name: info.fingerprint[:16] for name, info in columns.items()} == FINGERPRINTS


def test_the_same_data_gives_the_same_bytes_today(
    golden: Path, form: Format, tmp_path: Path
) -> None:
    if form == "hdf5" and h5py.version.hdf5_version != HDF5_VERSION:
        pytest.skip("releases of the HDF5 library differ in the space they leave in headers")
    if form == "zarr-zstd" and pa.__version__ != ARROW_VERSION:
        pytest.skip("releases of zstd, which comes with pyarrow, differ in what they make")
    store = write(tmp_path / "today", form)
    files = files_of(golden / "columns")
    assert len({file.parts[1] for file in files}) == 1 + 2 * 3
    assert files_of(store.path / "columns") == files
    for file in files:
        there, here = golden / "columns" / file, store.path / "columns" / file
        assert here.read_bytes() == there.read_bytes(), file


def test_the_same_samples_give_the_same_table_today(
    golden: Path, form: Format, tmp_path: Path
) -> None:
    # Not its bytes: parquet files differ between releases of pyarrow.
    data = (golden / "samples.parquet").read_bytes()
    then = SampleTable.from_bytes(data, shard_size=2, seed=1)
    today = write(tmp_path / "today", form).samples
    assert today.rows() == then.rows()
    assert today.shard_of.tolist() == then.shard_of.tolist()


def test_a_store_of_version_1_can_be_written_on(golden: Path, tmp_path: Path) -> None:
    store = FeatureStore.open(shutil.copytree(golden, tmp_path / "store"))
    store.append_samples([SampleRow("new", labels={"digit": 9})])
    assert store.samples.ids.tolist() == [*ORDER, "new"]
    with store.add_column(store.columns["pixels"]) as writer:
        assert writer.missing_shards() == [3]
        writer.commit(3, [ShardSample(np.ones((1, 3)))])
    assert verify(store) == []
    assert len(store.view(video="pixels")) == N + 1


def test_synthetic_stores_are_repeatable(tmp_path: Path) -> None:
    one, other = (make_store(tmp_path / name, num_samples=12, missing=0.3) for name in "ab")
    for file in files_of(one.path):
        assert (one.path / file).read_bytes() == (other.path / file).read_bytes()
    assert one.view(v="video").available.sum() < 12
