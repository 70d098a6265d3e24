"""What the operations of a store do with shards that are folders (`zarr-dir`)."""

from pathlib import Path

import numpy as np
import pytest

from scfae.store import FeatureStore, ShardSample, collect_garbage, verify
from scfae.store.atomic import TEMPORARY
from scfae.store.receipt import receipt_file
from scfae.store.testing import make_store


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return make_store(tmp_path / "store", num_samples=6, shard_size=2, form="zarr-dir")


def rows_of(store: FeatureStore, column: str) -> list[bytes]:
    opened = store.column(column)
    return [opened.rows(i).tobytes() for i in range(len(opened))]


def test_a_renamed_column_has_its_rows(store: FeatureStore) -> None:
    wanted = rows_of(store, "video")
    store.rename_column("video", "other")
    assert rows_of(store, "other") == wanted
    assert verify(store) == []


def test_a_dropped_column_leaves_nothing(store: FeatureStore) -> None:
    store.drop_column("video")
    assert [path.name for path in (store.path / "columns").iterdir()] == ["audio"]
    assert verify(store) == []


def test_a_replaced_column_leaves_no_shard_of_the_other(store: FeatureStore) -> None:
    info = store.columns["video"].model_copy(update={"fingerprint": "f" * 64, "encoder": "new"})
    with store.add_column(info, replace=True):
        pass
    there = {path.name for path in (store.path / "columns" / "video").iterdir()}
    assert there == {"column.json"}
    assert verify(store) == []


def test_folders_without_a_receipt_and_those_of_killed_writers_are_swept(
    store: FeatureStore,
) -> None:
    folder = store.path / "columns" / "video"
    (folder / receipt_file(1)).unlink()
    (folder / f"{TEMPORARY}0123" / "data").mkdir(parents=True)
    sweep = collect_garbage(store, grace_s=0, is_deleting=True)
    assert {one.file for one in sweep.garbage} == {
        "columns/video/shard-00001.zarr",
        f"columns/video/{TEMPORARY}0123",
    }
    assert not (folder / "shard-00001.zarr").exists()
    assert (folder / "shard-00000.zarr").is_dir()
    assert verify(store) == []


def test_what_a_killed_writer_left_goes_when_the_next_one_begins(store: FeatureStore) -> None:
    left = store.path / "columns" / "video" / f"{TEMPORARY}0123"
    (left / "data").mkdir(parents=True)
    with store.add_column(store.columns["video"]) as writer:
        assert writer.missing_shards() == []
    assert not left.exists()


def test_a_shard_that_is_written_again_takes_the_place_of_the_other(store: FeatureStore) -> None:
    before = store.column("video")
    old = before.rows(2)
    with store.add_column(store.columns["video"]) as writer:
        writer.commit(1, [ShardSample(np.full((1, 12), 7.0))] * 2)
    assert (store.column("video").rows(2) == 7).all()
    assert (before.rows(2) == old).all()  # from the folder that is still open
    assert verify(store) == []


def test_a_file_too_many_or_a_missing_one_is_found(store: FeatureStore) -> None:
    shard = store.path / "columns" / "video" / "shard-00000.zarr"
    (shard / "data" / "more").write_bytes(b"")
    assert [one.shard for one in verify(store)] == [0]
    (shard / "data" / "more").unlink()
    assert verify(store) == []
    (shard / "times" / "c" / "0" / "0").unlink()
    assert [one.file for one in verify(store)] == ["columns/video/shard-00000.zarr"]
