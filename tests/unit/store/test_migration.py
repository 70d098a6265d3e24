"""Stores of older versions read as those of today; there is one version, so an older one is made.

Version 0 is of these tests alone: its `store.json` calls the partition's seed `shuffle`, and its
`column.json` has no format.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scfae.store import FeatureStore, SampleRow, verify
from scfae.store.document import read_document, write_document
from scfae.store.errors import StoreVersionError
from scfae.store.migration import FORMAT_VERSION, STEPS, Body, Step, migrate
from scfae.store.testing import make_store


def store_step(body: Body) -> dict[str, Any]:
    return {
        **{key: value for key, value in body.items() if key != "shuffle"},
        "seed": body["shuffle"],
    }


def column_step(body: Body) -> dict[str, Any]:
    return {**body, "format": "zarr"}


@pytest.fixture
def step() -> Iterator[None]:
    STEPS[0] = Step(store_step, column_step)
    yield
    del STEPS[0]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a store of version 0."""
    path = make_store(tmp_path / "store", num_samples=6, shard_size=2, seed=3).path
    body = read_document(path / "store.json")
    body["shuffle"] = body.pop("seed")
    write_document(path / "store.json", body | {"format_version": 0})
    for file in path.glob("columns/*/column.json"):
        write_document(file, read_document(file) | {"format_version": 0})
    return path


def rows_of(store: FeatureStore) -> list[bytes]:
    return [store.column(name).rows(i).tobytes() for name in store.columns for i in range(6)]


@pytest.mark.usefixtures("step")
def test_an_older_store_reads_as_one_of_today_and_is_left_alone(old: Path, tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in old.rglob("*") if p.is_file()}
    store = FeatureStore.open(old)
    today = make_store(tmp_path / "today", num_samples=6, shard_size=2, seed=3)
    assert store.format_version == FORMAT_VERSION
    assert (store.columns, store.samples.seed) == (today.columns, 3)
    assert rows_of(store) == rows_of(today)
    assert verify(old) == []
    assert {p: p.read_bytes() for p in old.rglob("*") if p.is_file()} == before


@pytest.mark.usefixtures("step")
def test_a_migration_writes_every_document_once_and_the_store_last(
    old: Path, tmp_path: Path
) -> None:
    wanted = rows_of(FeatureStore.open(old))
    assert migrate(old) == ["columns/audio/column.json", "columns/video/column.json", "store.json"]
    assert migrate(old) == []
    del STEPS[0]
    try:
        assert rows_of(FeatureStore.open(old)) == wanted
        assert verify(old) == []
    finally:
        STEPS[0] = Step(store_step, column_step)


@pytest.mark.usefixtures("step")
def test_an_older_store_can_be_written_on(old: Path) -> None:
    FeatureStore.open(old).append_samples([SampleRow("new")])
    assert read_document(old / "store.json")["format_version"] == FORMAT_VERSION
    assert len(FeatureStore.open(old).samples) == 7
    assert verify(old) == []


def test_a_version_without_a_way_to_today_is_refused(old: Path) -> None:
    with pytest.raises(StoreVersionError, match=r"version 0, from which nothing leads"):
        FeatureStore.open(old)


def test_a_column_of_a_newer_version_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = make_store(tmp_path / "store", num_samples=6).path
    file = path / "columns" / "video" / "column.json"
    write_document(file, read_document(file) | {"format_version": 9})
    with pytest.raises(StoreVersionError, match=r"column.json has format version 9.*upgrade"):
        FeatureStore.open(path).column("video")


def test_a_store_of_today_is_not_written(tmp_path: Path) -> None:
    golden = Path(__file__).resolve().parents[2] / "golden" / "store-v1"
    path = Path(shutil.copytree(golden, tmp_path / "store"))
    assert migrate(path) == []
