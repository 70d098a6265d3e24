"""Columns renamed and dropped: whole under one name or the other, and never under a run."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from scfae.store import FeatureStore, catalogue, pin_run, verify
from scfae.store.catalogue import column_bytes
from scfae.store.errors import (
    ColumnPinned,
    ConfigError,
    CorruptShard,
    StoreError,
    StoreLocked,
    UnknownColumn,
)
from scfae.store.lock import FolderLock
from scfae.store.receipt import receipt_file
from scfae.store.testing import make_store


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return make_store(tmp_path / "store", num_samples=12, shard_size=4, missing=0.3)


def rows_of(store: FeatureStore, name: str) -> list[bytes]:
    column = store.column(name)
    return [column.rows(i).tobytes() + column.times(i).tobytes() for i in range(len(column))]


def entries(store: FeatureStore) -> list[str]:
    return sorted(path.name for path in (store.path / "columns").iterdir())


def test_a_renamed_column_is_the_same_under_another_name(store: FeatureStore) -> None:
    before, rows = store.column("video"), rows_of(store, "video")
    digest, fingerprint = before.content_sha256, before.info.fingerprint
    store.rename_column("video", "film")
    assert entries(store) == ["audio", "film"]
    after = store.column("film")
    assert (after.info.name, after.info.fingerprint) == ("film", fingerprint)
    assert after.content_sha256 == digest
    assert rows_of(store, "film") == rows
    assert verify(store) == []
    assert not list(store.path.rglob(".*"))
    with store.add_column(after.info) as writer:
        assert writer.missing_shards() == []
    store.rename_column("film", "film")
    store.rename_column("film", "video")
    assert rows_of(store, "video") == rows


def test_without_hard_links_the_shards_are_copied(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: str) -> None:
        raise OSError(95, "Operation not supported")

    rows = rows_of(store, "video")
    monkeypatch.setattr(os, "link", refuse)
    store.rename_column("video", "film")
    assert rows_of(store, "film") == rows
    assert verify(store) == []


def test_a_renaming_killed_after_its_commit_is_finished_by_the_same_command(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(store, "video")

    def die(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "_drop", die)
        with pytest.raises(KeyboardInterrupt):
            store.rename_column("video", "film")
    assert entries(store) == ["audio", "film", "video"]
    assert verify(store) == []
    assert rows_of(store, "film") == rows_of(store, "video") == rows
    store.rename_column("video", "film")
    assert entries(store) == ["audio", "film"]


def test_a_name_that_is_taken_or_no_name_is_refused(store: FeatureStore) -> None:
    with pytest.raises(StoreError, match="has a column 'audio' already"):
        store.rename_column("video", "audio")
    for name in ("", ".hidden", "a/b", "../x"):
        with pytest.raises(ConfigError, match="is no column name"):
            store.rename_column("video", name)
    with pytest.raises(UnknownColumn, match="Did you mean video"):
        store.rename_column("vide", "x")
    with pytest.raises(UnknownColumn):
        store.drop_column("../columns/video")
    assert entries(store) == ["audio", "video"]
    assert verify(store) == []


def test_a_damaged_receipt_is_named_and_nothing_is_renamed(store: FeatureStore) -> None:
    (store.path / "columns/video" / receipt_file(1)).write_bytes(b"?")
    with pytest.raises(CorruptShard, match="column 'video', shard 1"):
        store.rename_column("video", "film")
    assert entries(store) == ["audio", "video"]


def test_a_dropped_column_is_gone_and_others_are_not(store: FeatureStore) -> None:
    rows, num_bytes = rows_of(store, "audio"), column_bytes(store, "video")
    assert num_bytes > 1000
    store.drop_column("video")
    assert entries(store) == ["audio"]
    assert rows_of(store, "audio") == rows
    assert verify(store) == []
    with pytest.raises(UnknownColumn, match="no column 'video'"):
        store.drop_column("video")


def test_a_column_whose_description_is_damaged_can_be_dropped(store: FeatureStore) -> None:
    (store.path / "columns/video/column.json").write_bytes(b"?")
    store.drop_column("video")
    assert entries(store) == ["audio"]


def drop(store: FeatureStore) -> None:
    store.drop_column("video")


def rename(store: FeatureStore) -> None:
    store.rename_column("video", "film")


@pytest.mark.parametrize("change", [drop, rename])
def test_what_is_being_written_or_read_by_a_run_stays(
    store: FeatureStore, tmp_path: Path, change: Callable[[FeatureStore], None]
) -> None:
    with (
        FolderLock(store.path / "columns/video", "column 'video'"),
        pytest.raises(StoreLocked, match=f"process {os.getpid()}"),
    ):
        change(store)
    run = tmp_path / "run"
    run.mkdir()
    assert pin_run(store.path, run, {"video": store.columns["video"].fingerprint})
    with pytest.raises(ColumnPinned, match=f"the run {run} .* needs it as it is"):
        change(store)
    store.drop_column("audio")
    shutil.rmtree(run)
    with pytest.raises(ColumnPinned, match="is gone from here: `scfae store gc --delete`"):
        change(store)
    assert entries(store) == ["video"]
