"""Only what nothing refers to goes, and only when it is old, unpinned and nobody writes."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from scfae.store import Chain, ColumnInfo, FeatureStore, ShardSample, derive, pin_run, verify
from scfae.store.document import read_document, write_document
from scfae.store.errors import CorruptShard
from scfae.store.garbage import collect_garbage
from scfae.store.lock import FolderLock
from scfae.store.receipt import receipt_file, shard_file
from scfae.store.testing import make_store


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return make_store(tmp_path / "store", num_samples=12, shard_size=4, missing=0.3)


def snapshot(store: FeatureStore) -> dict[str, bytes]:
    files = [path for path in sorted(store.path.rglob("*")) if path.is_file()]
    return {str(path.relative_to(store.path)): path.read_bytes() for path in files}


def litter(store: FeatureStore) -> list[str]:
    """Leave what killed writers leave; return what must go."""
    video, audio = store.path / "columns/video", store.path / "columns/audio"
    (store.path / ".tmp-0123").write_bytes(b"half")
    (store.path / "samples.next.parquet").write_bytes(b"half")
    (video / ".tmp-0123").write_bytes(b"half")
    (video / receipt_file(1)).unlink()
    shutil.copytree(audio, store.path / "columns/.tmp-gone")
    (store.path / "columns/begun").mkdir()
    receipt = read_document(audio / receipt_file(2))
    write_document(audio / receipt_file(2), receipt | {"fingerprint": "older"})
    (audio / shard_file(0, "hdf5")).write_bytes(b"of another format")
    return [
        ".tmp-0123",
        "columns/.tmp-gone",
        f"columns/audio/{receipt_file(2)}",
        f"columns/audio/{shard_file(0, 'hdf5')}",
        f"columns/audio/{shard_file(2)}",
        "columns/begun",
        "columns/video/.tmp-0123",
        f"columns/video/{shard_file(1)}",
        "samples.next.parquet",
    ]


def test_a_whole_store_has_no_garbage(store: FeatureStore) -> None:
    before = snapshot(store)
    sweep = collect_garbage(store, grace_s=0, is_deleting=True)
    assert (sweep.garbage, sweep.kept, sweep.orphans, sweep.bytes) == ([], [], [], 0)
    assert snapshot(store) == before


def test_what_nothing_refers_to_is_named_and_then_removed(store: FeatureStore) -> None:
    wanted = litter(store)
    before = snapshot(store)
    named = collect_garbage(store, grace_s=0)
    assert sorted(one.file for one in named.garbage) == sorted(wanted)
    assert named.kept == []
    assert snapshot(store) == before, "without --delete nothing changes"
    swept = collect_garbage(store, grace_s=0, is_deleting=True)
    assert sorted(one.file for one in swept.garbage) == sorted(wanted)
    assert swept.bytes == named.bytes > 0
    gone = before.keys() - snapshot(store).keys()
    assert all(name.startswith(tuple(wanted)) for name in gone)
    assert snapshot(store).items() <= before.items()
    assert collect_garbage(store, grace_s=0).garbage == []
    assert verify(store) == []
    assert store.column("video").missing_shards == [1]


def test_nothing_within_the_grace_period_goes(store: FeatureStore) -> None:
    wanted = litter(store)
    before = snapshot(store)
    sweep = collect_garbage(store, is_deleting=True)
    assert sweep.garbage == []
    assert sorted(one.file for one in sweep.kept) == sorted(wanted)
    assert snapshot(store) == before
    old = store.path / ".tmp-0123"
    os.utime(old, (time.time() - 1e6,) * 2)
    assert collect_garbage(store, is_deleting=True).garbage == [], "its ctime is young"


def test_a_column_or_store_that_is_being_written_is_left_alone(store: FeatureStore) -> None:
    litter(store)
    before = snapshot(store)
    with (
        FolderLock(store.path / "columns/video", "column 'video'"),
        FolderLock(store.path, "the store"),
    ):
        sweep = collect_garbage(store, grace_s=0, is_deleting=True)
    assert {one.file for one in sweep.kept} == {"columns/video", "samples.next.parquet"}
    gone = before.keys() - snapshot(store).keys()
    assert gone
    assert all(name.startswith(("columns/audio", "columns/.tmp", "columns/b")) for name in gone)


def test_what_a_run_pins_stays_until_the_run_is_gone(store: FeatureStore, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    old = store.columns["audio"]
    pin_run(store.path, run, {"audio": old.fingerprint})
    # A column that was replaced in spite of the pin, by a writer killed before it cleaned up.
    new = ColumnInfo.create(**old.model_dump(exclude={"fingerprint"}) | {"encoder": "other"})
    write_document(store.path / "columns/audio/column.json", new.model_dump(mode="json"))
    sweep = collect_garbage(store, grace_s=0, is_deleting=True)
    assert sweep.garbage == []
    assert len(sweep.kept) == 6
    assert all(f"the run {run} pins it" in one.why for one in sweep.kept)
    shutil.rmtree(run)
    assert len(collect_garbage(store, grace_s=0, is_deleting=True).garbage) == 1, "the pin itself"
    assert len(collect_garbage(store, grace_s=0, is_deleting=True).garbage) == 6
    assert verify(store) == []


def test_a_stale_pin_holds_for_the_grace_period(store: FeatureStore, tmp_path: Path) -> None:
    pin_run(store.path, tmp_path / "gone", {"audio": "x"})
    (kept,) = collect_garbage(store, is_deleting=True).kept
    assert f"a pin of the run {tmp_path / 'gone'}, which is gone" in kept.why
    (tmp_path / "gone").mkdir()
    assert collect_garbage(store, grace_s=0).garbage == []


def test_a_damaged_pin_stops_everything_and_damaged_columns_only_themselves(
    store: FeatureStore,
) -> None:
    (store.path / "columns/audio" / receipt_file(1)).write_bytes(b"?")
    (store.path / "columns/video/column.json").write_bytes(b"?")
    before = snapshot(store)
    sweep = collect_garbage(store, grace_s=0, is_deleting=True)
    assert [one.file for one in sweep.kept] == ["columns/audio", "columns/video"]
    assert snapshot(store) == before
    (store.path / "pins").mkdir()
    (store.path / "pins/x.json").write_bytes(b"?")
    with pytest.raises(CorruptShard, match=r"pins/x\.json"):
        collect_garbage(store)


def test_a_derived_column_without_its_parent_is_only_named(store: FeatureStore) -> None:
    derive(store, "video", "pooled", Chain(pool="mean"))
    store.drop_column("video")
    sweep = collect_garbage(store, grace_s=0, is_deleting=True)
    assert [(one.file, one.why) for one in sweep.orphans] == [
        ("columns/pooled", "its parent 'video' is gone")
    ]
    assert store.column("pooled").is_complete


def test_strange_files_are_not_ours_to_remove(store: FeatureStore) -> None:
    (store.path / "notes.txt").write_text("mine")
    (store.path / "columns/audio/notes.txt").write_text("mine")
    (store.path / "columns/other").mkdir()
    (store.path / "columns/other/notes.txt").write_text("mine")
    before = snapshot(store)
    assert collect_garbage(store, grace_s=0, is_deleting=True).garbage == []
    assert snapshot(store) == before


def test_a_reader_keeps_what_it_has_open(store: FeatureStore) -> None:
    column = store.column("video")
    rows = column.rows(4).copy()
    (store.path / "columns/video" / receipt_file(1)).unlink()
    collect_garbage(store, grace_s=0, is_deleting=True)
    assert np.array_equal(column.rows(4), rows)
    with store.add_column(column.info) as writer:
        here = store.samples.rows_of(1)
        writer.commit(1, [ShardSample(np.ones((1, 12))) for _ in here])
    assert verify(store) == []
