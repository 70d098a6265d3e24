"""A store is made once, opened whole after any kill, and changed one column at a time."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfae.store import ColumnInfo, FeatureStore, SampleRow, ShardSample, verify
from scfae.store import store as store_module
from scfae.store.document import read_document, write_document
from scfae.store.errors import (
    ConfigError,
    CorruptShard,
    FingerprintMismatch,
    ManifestError,
    SchemaMismatch,
    StoreError,
    StoreNotFound,
    StoreVersionError,
    UnknownColumn,
)
from scfae.store.lock import LOCK_NAME
from scfae.store.testing import make_store


def rows(*numbers: int, **labels: Any) -> list[SampleRow]:
    return [SampleRow(f"s{i}", split="train", labels=labels) for i in numbers]


def add_column(store: FeatureStore, name: str, value: float, *, replace: bool = False) -> None:
    """Add a column whose rows are all `value`, two a sample."""
    info = ColumnInfo.create(name, "video", encoder=f"constant:value={value}", dim=3)
    with store.add_column(info, replace=replace) as writer:
        for shard in writer.missing_shards():
            samples = [ShardSample(np.full((2, 3), value))] * len(store.samples.rows_of(shard))
            writer.commit(shard, samples)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    made = FeatureStore.create(tmp_path / "store", rows(*range(5), digit=1), shard_size=2, seed=3)
    add_column(made, "ge2e", 1.0)
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_created_store_opens_with_the_same_samples(store: FeatureStore) -> None:
    for path in (store.path, str(store.path), f"file://{store.path}"):
        opened = FeatureStore.open(path)
        assert opened.samples.ids.tolist() == store.samples.ids.tolist()
        assert (opened.samples.num_shards, opened.samples.shard_size) == (3, 2)
        assert opened.format_version == 1
        assert opened.fingerprint == store.fingerprint
        assert list(opened.columns) == ["ge2e"]
    assert not (store.path / LOCK_NAME).exists()


def test_the_same_samples_make_the_same_bytes(tmp_path: Path) -> None:
    for name, given in (("a", rows(0, 1, 2, 3)), ("b", rows(3, 1, 0, 2))):
        FeatureStore.create(tmp_path / name, given, shard_size=2)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_create_leaves_what_is_there_alone(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a feature store already; open it"):
        FeatureStore.create(store.path, rows(1))
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("all of it")
    (foreign / ".tmp-notes").write_text("mine")
    with pytest.raises(StoreError, match="is not empty and no feature store"):
        FeatureStore.create(foreign, rows(1))
    assert contents(foreign) == {"thesis.txt": b"all of it", ".tmp-notes": b"mine"}
    for path in (foreign / "thesis.txt", foreign / "thesis.txt" / "store"):
        with pytest.raises(StoreError, match="a file; give another folder"):
            FeatureStore.create(path, rows(1))


def test_create_with_a_bad_manifest_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ManifestError):
        FeatureStore.create(tmp_path / "store", [])
    assert not (tmp_path / "store").exists()


def test_a_create_that_was_killed_before_its_commit_can_be_done_again(tmp_path: Path) -> None:
    path = tmp_path / "store"
    FeatureStore.create(path, rows(1, 2, 3))
    (path / "store.json").unlink()
    (path / ".tmp-00").write_bytes(b"half")
    with pytest.raises(StoreNotFound, match=r"folder without store\.json"):
        FeatureStore.open(path)
    FeatureStore.create(path, rows(4))
    assert FeatureStore.open(path).samples.ids.tolist() == ["s4"]
    assert verify(path) == []
    assert not (path / ".tmp-00").exists()


def test_opening_what_is_no_store_says_how_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, what in [("none", "does not exist"), ("", "is a folder"), ("file", "is a file")]:
        with pytest.raises(StoreNotFound, match=f"no feature store at {tmp_path / name}.*{what}"):
            FeatureStore.open(tmp_path / name)
    with pytest.raises(ConfigError, match=r"store: gopher://a/b cannot be opened"):
        FeatureStore.open("gopher://a/b")


def test_a_newer_version_says_to_upgrade_even_if_it_seals_differently(store: FeatureStore) -> None:
    path = store.path / "store.json"
    write_document(path, read_document(path) | {"format_version": 2, "new": "field"})
    for data in (path.read_bytes(), b'{"format_version": 2}'):
        path.write_bytes(data)
        with pytest.raises(StoreVersionError, match=r"has format version 2, .* upgrade scfae"):
            FeatureStore.open(store.path)


@pytest.mark.parametrize("name", ["store.json", "samples.parquet"])
def test_a_damaged_file_of_the_store_is_named(store: FeatureStore, name: str) -> None:
    path = store.path / name
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CorruptShard, match=f"{path} is damaged"):
        FeatureStore.open(store.path)


def test_an_unknown_column_suggests_near_names(store: FeatureStore) -> None:
    add_column(store, "wavlm-base", 2.0)
    with pytest.raises(UnknownColumn, match=r"no column 'wavlm-bas'\. Did you mean wavlm-base\?"):
        store.column("wavlm-bas")
    with pytest.raises(UnknownColumn, match=r"'zzz'\. Its columns: ge2e, wavlm-base"):
        store.column("zzz")
    for name in ("../columns/ge2e", "", ".", "a" * 300, "\0"):
        with pytest.raises(UnknownColumn):
            store.column(name)


def test_a_column_is_found_by_its_name_or_encoder_string(store: FeatureStore) -> None:
    add_column(store, "wavlm-base.layer=9", 2.0)
    for name in ("wavlm-base.layer=9", "wavlm-base:layer=9", "wavlm-base@/w/x.pt:layer=9"):
        assert store.column(name).info.name == "wavlm-base.layer=9"


def test_adding_replacing_and_dropping_a_column_touches_no_other(store: FeatureStore) -> None:
    before = contents(store.path)
    add_column(store, "other", 2.0)
    with pytest.raises(FingerprintMismatch, match=r"column 'other' is there .*--replace.*--as"):
        add_column(store, "other", 3.0)
    add_column(store, "other", 3.0, replace=True)
    after = contents(store.path)
    assert {name: after[name] for name in before} == before
    assert (store.column("other").rows(0) == 3).all()
    shutil.rmtree(store.path / "columns/other")
    assert contents(store.path) == before
    assert list(store.columns) == ["ge2e"]
    assert verify(store) == []


def test_a_replaced_column_is_not_read_from_files_still_open(store: FeatureStore) -> None:
    old = store.column("ge2e")
    assert (old.rows(0) == 1).all()
    add_column(store, "ge2e", 5.0, replace=True)
    assert (store.view(video="ge2e")[0].features["video"] == 5).all()


def test_files_open_at_a_time_are_bounded_by_one_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scfae.store.files._MAX_OPEN", 128)
    made = make_store(tmp_path / "store", num_samples=300, shard_size=1, dims={"video": 1})
    before = len(os.listdir("/proc/self/fd"))
    view = made.view(video="video")
    for i in range(len(view)):
        view.rows(i, "video")
    assert 100 < len(os.listdir("/proc/self/fd")) - before <= 128


def test_appended_samples_come_in_new_shards_and_columns_wait_for_them(
    store: FeatureStore,
) -> None:
    before = contents(store.path / "columns")
    old = store.samples
    assert store.append_samples(rows(3, 8, 7, digit=2)) == ["s8", "s7"]
    assert store.samples.ids.tolist()[:5] == old.ids.tolist()
    assert store.samples.num_shards == 4
    assert contents(store.path / "columns") == before
    opened = FeatureStore.open(store.path)
    assert opened.column("ge2e").missing_shards == [3]
    with pytest.raises(SchemaMismatch, match="not complete: 1 of 4 shards"):
        opened.view(video="ge2e")
    add_column(opened, "ge2e", 1.0)
    assert len(opened.view(video="ge2e")) == 7
    assert verify(store.path) == []
    assert not (store.path / "samples.next.parquet").exists()


def test_two_handles_append_without_losing_or_repeating(store: FeatureStore) -> None:
    other = FeatureStore.open(store.path)
    assert other.append_samples(rows(8)) == ["s8"]
    assert store.append_samples(rows(8, 9)) == ["s9"]
    assert sorted(FeatureStore.open(store.path).samples.ids) == [f"s{i}" for i in (*range(5), 8, 9)]


def test_updated_labels_leave_shards_and_columns_as_they_are(store: FeatureStore) -> None:
    before = contents(store.path / "columns")
    ids = store.samples.ids.tolist()
    store.update_labels([SampleRow("s2", split="test", labels={"fake": 1})])
    assert contents(store.path / "columns") == before
    opened = FeatureStore.open(store.path)
    assert opened.samples.ids.tolist() == ids
    assert opened.samples.label("digit").tolist() == [1] * 5
    assert [opened.samples.split[i] for i in range(5) if ids[i] == "s2"] == ["test"]
    assert len(opened.view(video="ge2e", split="test")) == 1
    with pytest.raises(SchemaMismatch, match="1 ids are not in the store"):
        store.update_labels(rows(99))


def test_a_change_that_changes_nothing_writes_nothing(store: FeatureStore) -> None:
    before = {p: p.stat().st_mtime_ns for p in store.path.iterdir() if p.is_file()}
    assert store.append_samples(rows(1, 2)) == []
    store.update_labels(rows(1, 2, digit=1))
    assert {p: p.stat().st_mtime_ns for p in store.path.iterdir() if p.is_file()} == before


class Killed(BaseException):
    """Stands for SIGKILL between two steps."""


STEPS = ("write_atomic", "write_document", "_finish_renaming")


@pytest.mark.parametrize("step", range(1, 4))
@pytest.mark.parametrize("is_after", [False, True])
def test_a_replacement_of_the_sample_table_killed_at_any_step_is_whole(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, step: int, is_after: bool
) -> None:
    old = store.samples.ids.tolist()
    name = STEPS[step - 1]
    real = getattr(store_module, name)
    calls = 0

    def killing(*given: Any) -> None:
        nonlocal calls
        calls += 1
        if name == "_finish_renaming" and calls == 1:
            real(*given)  # what an earlier writer left
            return
        if is_after:
            real(*given)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(store_module, name, killing)
        with pytest.raises(Killed):
            store.append_samples(rows(10, 11))
    is_committed = (step, is_after) >= (2, True)
    wanted = sorted([*old, "s10", "s11"] if is_committed else old)
    for _ in range(2):
        opened = FeatureStore.open(store.path)
        assert sorted(opened.samples.ids.tolist()) == wanted
        assert opened.samples.ids.tolist()[:5] == old
        assert verify(store.path) == []
    again = FeatureStore.open(store.path)
    again.append_samples(rows(10, 11, 12))
    assert sorted(again.samples.ids.tolist()) == sorted([*old, "s10", "s11", "s12"])
    assert sorted(p.name for p in store.path.iterdir()) == [
        "columns",
        "samples.parquet",
        "store.json",
    ]


def test_a_store_half_way_is_read_without_being_written(store: FeatureStore) -> None:
    store.append_samples(rows(10))
    os.rename(store.path / "samples.parquet", store.path / "samples.next.parquet")
    before = contents(store.path)
    assert len(FeatureStore.open(store.path).samples) == 6
    assert contents(store.path) == before


def test_fingerprint_changes_with_samples_and_columns_alone(store: FeatureStore) -> None:
    seen = [store.fingerprint, FeatureStore.open(store.path).fingerprint]
    add_column(store, "other", 2.0)
    seen.append(store.fingerprint)
    store.append_samples(rows(20))
    seen.append(store.fingerprint)
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3
