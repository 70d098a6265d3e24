"""An export is whole or not finished; another run completes it, and nothing else is touched."""

import os
from pathlib import Path
from typing import Any

import pytest

from scfae.store import FeatureStore, SampleRow, ShardSample
from scfae.store.errors import (
    ConfigError,
    CorruptShard,
    StoreError,
    StoreLocked,
    UnknownColumn,
)
from scfae.store.exchange import EXPORT_FILE, export, is_export, restore
from scfae.store.exchange.manifest import read_manifest
from scfae.store.lock import FolderLock

from .small_stores import FORMS, a_store, contents, describe, exported, facts

forms = pytest.mark.parametrize(("form", "joined"), FORMS)


class Killed(BaseException):
    """Stands for a kill between two files."""


def kill_at(number: int) -> Any:
    def progress(done: int, total: int, text: str) -> None:
        if done == number:
            raise Killed

    return progress


@forms
def test_the_same_store_gives_the_same_bytes(tmp_path: Path, form: Any, joined: bool) -> None:
    store = a_store(tmp_path / "store")
    for name in ("one", "two"):
        export(store, tmp_path / name, to=form, joined=joined)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@forms
def test_an_export_cut_off_anywhere_is_completed_by_another_run(
    tmp_path: Path, form: Any, joined: bool
) -> None:
    store = a_store(tmp_path / "store")
    whole = export(store, tmp_path / "whole", to=form, joined=joined)
    for number in range(0, whole["files"] + 1, 2):
        out = tmp_path / f"out-{number}"
        with pytest.raises(Killed):
            export(store, out, to=form, joined=joined, progress=kill_at(number))
        assert not is_export(out)
        report = export(store, out, to=form, joined=joined)
        assert report["written"] == whole["files"] - number
        assert contents(out) == contents(tmp_path / "whole")


def test_a_finished_export_is_checked_and_left_alone(tmp_path: Path) -> None:
    store, out = exported(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert export(store, out, to="npz")["written"] == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    (out / "columns" / "ge2e.npz").write_bytes(b"")
    with pytest.raises(CorruptShard, match=r"ge2e.npz has 0 bytes"):
        export(store, out, to="npz")


def test_a_file_torn_by_a_kill_is_written_again(tmp_path: Path) -> None:
    store = a_store(tmp_path / "store")
    with pytest.raises(Killed):
        export(store, tmp_path / "out", to="npz", progress=kill_at(2))
    file = tmp_path / "out" / "columns" / "ge2e.npz"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    journal = tmp_path / "out" / "scfae-export.partial.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])
    assert export(store, tmp_path / "out", to="npz")["written"] == 5
    restore(tmp_path / "out", tmp_path / "back")
    assert facts(FeatureStore.open(tmp_path / "back")) == facts(store)


def test_a_folder_that_a_kill_left_all_but_empty_is_taken(tmp_path: Path) -> None:
    store = a_store(tmp_path / "store")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").write_bytes(b"")
    (tmp_path / "out" / ".tmp-0123").write_bytes(b"half")
    export(store, tmp_path / "out", to="npz")
    assert not [name for name in contents(tmp_path / "out") if name.startswith(".")]


def test_a_folder_of_other_things_is_refused_and_untouched(tmp_path: Path) -> None:
    store = a_store(tmp_path / "store")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(StoreError, match="not empty and no export"):
        export(store, tmp_path / "out", to="npz")
    assert contents(tmp_path / "out") == {"thesis.tex": b"mine"}
    with pytest.raises(StoreError, match="is a file"):
        export(store, tmp_path / "out" / "thesis.tex", to="npz")
    with pytest.raises(ConfigError, match="inside the store"):
        export(store, store.path / "out", to="npz")


@pytest.mark.parametrize("is_finished", [True, False])
def test_an_export_of_something_else_is_refused(tmp_path: Path, is_finished: bool) -> None:
    store = a_store(tmp_path / "store")
    if is_finished:
        export(store, tmp_path / "out", to="npz")
    else:
        with pytest.raises(Killed):
            export(store, tmp_path / "out", to="npz", progress=kill_at(1))
    before = contents(tmp_path / "out")
    others: list[dict[str, Any]] = [
        {"to": "hdf5"},
        {"to": "npz", "split": "train"},
        {"to": "npz", "columns": ["ge2e"]},
    ]
    for options in others:
        with pytest.raises(StoreError, match=r"another export|something else"):
            export(store, tmp_path / "out", **options)
    store.append_samples([SampleRow("new")])
    with pytest.raises(StoreError, match="another state of the store"):
        export(store, tmp_path / "out", to="npz")
    assert contents(tmp_path / "out") == before


def test_two_exports_into_one_folder_do_not_mix(tmp_path: Path) -> None:
    store, out = exported(tmp_path)
    with FolderLock(out, "export"), pytest.raises(StoreLocked, match="locked by process"):
        export(store, out, to="npz")


@forms
def test_a_damaged_shard_is_not_exported(tmp_path: Path, form: Any, joined: bool) -> None:
    store = a_store(tmp_path / "store")
    path = store.path / "columns" / "ge2e" / "shard-00001.zarr.zip"
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptShard, match="column 'ge2e', shard 1"):
        export(store, tmp_path / "out", to=form, joined=joined)
    assert not is_export(tmp_path / "out")


def test_a_shard_written_while_it_is_exported_is_refused(tmp_path: Path) -> None:
    store = a_store(tmp_path / "store")

    def write(done: int, total: int, text: str) -> None:
        if done == 0:
            with store.add_column(describe()) as writer:
                writer.commit(1, [ShardSample(status="failed", reason="new")] * 3)

    with pytest.raises(CorruptShard, match=r"'ge2e', shard 1: .* replaced since it was first"):
        export(store, tmp_path / "out", to="npz", progress=write)


def test_columns_and_splits_that_are_not_there_are_named(tmp_path: Path) -> None:
    store = a_store(tmp_path / "store")
    with pytest.raises(UnknownColumn, match=r"no column 'ge2'.*ge2e"):
        export(store, tmp_path / "out", to="npz", columns=["ge2"])
    with pytest.raises(UnknownColumn, match="no split 'dev'; its splits are: test, train"):
        export(store, tmp_path / "out", to="npz", split="dev")
    with pytest.raises(ConfigError, match="'ge2e' is named twice"):
        export(store, tmp_path / "out", to="npz", columns=["ge2e", "ge2e"])
    with pytest.raises(ConfigError, match="only webdataset and parquet join"):
        export(store, tmp_path / "out", to="hdf5", joined=True)
    with pytest.raises(ConfigError, match="no form 'csv'"):
        export(store, tmp_path / "out", to="csv")  # type: ignore[arg-type]
    empty = FeatureStore.create(tmp_path / "empty", [SampleRow("a")])
    with pytest.raises(ConfigError, match="has none to export"):
        export(empty, tmp_path / "out", to="npz")
    assert not os.path.exists(tmp_path / "out")


def test_the_manifest_says_where_every_column_comes_from(tmp_path: Path) -> None:
    store, out = exported(tmp_path, columns=["lite0"])
    manifest = read_manifest(out)
    assert [column.info for column in manifest.columns] == [store.columns["lite0"]]
    named = {*manifest.files, EXPORT_FILE}
    assert named == set(contents(out))


def test_two_columns_of_one_modality_are_called_by_their_names(tmp_path: Path) -> None:
    store = a_store(tmp_path / "store")
    with store.add_column(describe("ge2e-again")) as writer:
        writer.commit(0, [ShardSample(status="failed", reason="x")] * 3)
    report = export(store, tmp_path / "out", to="parquet", joined=True)
    keys = {name: column["key"] for name, column in report["columns"].items()}
    assert keys == {"ge2e": "ge2e", "ge2e-again": "ge2e-again", "lite0": "video"}
