"""Restoring: into a new store or beside other columns; damage and hostility are refused first."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfae.store import FeatureStore, SampleRow, ShardSample, verify
from scfae.store.atomic import sha256_file, size_of
from scfae.store.document import read_document, write_document
from scfae.store.errors import (
    CorruptShard,
    FingerprintMismatch,
    SchemaMismatch,
    StoreError,
    StoreNotFound,
    StoreVersionError,
    UnknownColumn,
)
from scfae.store.exchange import EXPORT_FILE, export, is_export, restore

from .small_stores import FORMS, a_store, contents, describe, exported, facts

forms = pytest.mark.parametrize(("form", "joined"), FORMS)


@forms
def test_a_flipped_byte_or_a_missing_file_is_named_and_nothing_is_written(
    tmp_path: Path, form: Any, joined: bool
) -> None:
    _, out = exported(tmp_path, to=form, joined=joined)
    for name, data in contents(out).items():
        if name == "README.md":
            continue
        path = out / name
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        said = listed_as(name)
        with pytest.raises(CorruptShard, match=said):
            restore(out, tmp_path / "back")
        path.unlink()
        with pytest.raises(StoreError, match=said):
            restore(out, tmp_path / "back")
        path.write_bytes(data)
    assert not (tmp_path / "back").exists()
    restore(out, tmp_path / "back")


def test_every_damaged_file_is_named_at_once(tmp_path: Path) -> None:
    _, out = exported(tmp_path)
    (out / "columns" / "ge2e.npz").unlink()
    (out / "fates" / "lite0.jsonl").write_bytes(b"")
    with pytest.raises(CorruptShard, match=r"ge2e.npz is gone; .*lite0.jsonl has 0 bytes"):
        restore(out, tmp_path / "back")


def test_only_the_files_of_chosen_columns_are_needed(tmp_path: Path) -> None:
    store, out = exported(tmp_path)
    (out / "columns" / "lite0.npz").unlink()
    restore(out, tmp_path / "back", ["ge2e"])
    back = FeatureStore.open(tmp_path / "back")
    assert list(back.columns) == ["ge2e"]
    assert facts(back)["columns"]["ge2e"] == facts(store)["columns"]["ge2e"]
    with pytest.raises(UnknownColumn, match="no column 'x'; its columns: ge2e, lite0"):
        restore(out, tmp_path / "back", ["x"])


def test_columns_come_into_a_store_of_the_same_samples(tmp_path: Path) -> None:
    store, out = exported(tmp_path)
    other = FeatureStore.create(tmp_path / "other", store.samples.rows(), shard_size=3, seed=4)
    with other.add_column(describe("mine")) as writer:
        writer.commit(0, [ShardSample(status="failed", reason="x")] * 3)
    restore(out, other.path)
    assert sorted(other.columns) == ["ge2e", "lite0", "mine"]
    assert facts(other)["columns"]["ge2e"] == facts(store)["columns"]["ge2e"]
    again = restore(out, other.path)["columns"]["ge2e"]
    assert (again["shards"], again["kept"]) == (0, 3)


@pytest.mark.parametrize("form", ["npz", "zarr"])
def test_a_restore_cut_off_is_completed_by_another(tmp_path: Path, form: Any) -> None:
    store, out = exported(tmp_path, to=form)

    class Killed(BaseException):
        pass

    def kill(done: int, total: int, text: str) -> None:
        assert total == 5
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        restore(out, tmp_path / "back", progress=kill)
    report = restore(out, tmp_path / "back")["columns"]
    assert [report["ge2e"]["shards"], report["lite0"]["shards"]] == [1, 2]
    assert facts(FeatureStore.open(tmp_path / "back")) == facts(store)


def test_other_samples_other_shards_and_other_columns_are_refused(tmp_path: Path) -> None:
    store, out = exported(tmp_path)
    rows = store.samples.rows()
    for name, samples, shard_size in (("a", rows[:-1], 3), ("b", rows, 2)):
        other = FeatureStore.create(tmp_path / name, samples, shard_size=shard_size, seed=4)
        with pytest.raises(SchemaMismatch, match="other samples than the export"):
            restore(out, other.path)
        assert other.columns == {}
    other = FeatureStore.create(tmp_path / "c", rows, shard_size=3, seed=4)
    with other.add_column(describe("lite0", options={"fps": 1})):
        pass
    with pytest.raises(FingerprintMismatch, match="column 'lite0' is there already"):
        restore(out, other.path)
    assert list(other.columns) == ["lite0"]
    with pytest.raises(StoreError, match="not empty and no feature store"):
        restore(out, out)


@pytest.mark.parametrize("change", ["rows", "fates"])
def test_rows_that_are_there_are_never_replaced(tmp_path: Path, change: str) -> None:
    store, out = exported(tmp_path)
    shutil.copytree(store.path, tmp_path / "other")
    other = FeatureStore.open(tmp_path / "other")
    receipt = other.column("ge2e").receipt(1)
    assert receipt is not None
    rows = [other.column("ge2e").rows(i) for i in other.samples.rows_of(1)]
    with other.add_column(describe()) as writer:
        writer.commit(
            1,
            [
                ShardSample(status="failed", reason="changed")
                if not length
                else ShardSample(rows=rows[i] + (change == "rows"), media_sha256=receipt.media[i])
                for i, length in enumerate(receipt.lengths)
            ],
        )
    before = contents(other.path)
    with pytest.raises(SchemaMismatch, match=r"column 'ge2e', shard 1: .* other rows or fates"):
        restore(out, other.path)
    assert contents(other.path) == before


def test_a_store_in_another_format_with_the_same_rows_is_the_same(tmp_path: Path) -> None:
    _, out = exported(tmp_path)
    other = a_store(tmp_path / "other", form="hdf5")
    before = contents(other.path)
    report = restore(out, other.path)
    assert report["columns"]["ge2e"]["kept"] == 3
    assert contents(other.path) == before


def test_a_folder_without_a_manifest_is_no_export(tmp_path: Path) -> None:
    _, out = exported(tmp_path)
    assert is_export(out)
    (out / EXPORT_FILE).unlink()
    assert not is_export(out)
    with pytest.raises(StoreNotFound, match="no finished export"):
        restore(out, tmp_path / "back")
    with pytest.raises(StoreNotFound, match="no finished export"):
        restore(tmp_path / "nowhere", tmp_path / "back")


def tamper(out: Path, **changes: Any) -> None:
    """Change a manifest and seal it again, as someone hostile would."""
    write_document(out / EXPORT_FILE, read_document(out / EXPORT_FILE) | changes)


def listed_as(name: str) -> str:
    """Return how the manifest lists a file: the folder of a shard is listed as one."""
    head, suffix, _ = name.partition(".zarr/")
    return f"{head}.zarr" if suffix else name


def replace_file(out: Path, name: str, data: bytes) -> None:
    """Replace a file of an export, with its right checksum in the manifest."""
    (out / name).unlink()
    (out / name).write_bytes(data)
    files = read_document(out / EXPORT_FILE)["files"]
    listed = listed_as(name)
    files[listed] = {"bytes": size_of(out / listed), "sha256": sha256_file(out / listed)}
    tamper(out, files=files)


def test_a_newer_export_asks_for_a_newer_scfae(tmp_path: Path) -> None:
    _, out = exported(tmp_path)
    tamper(out, version=2)
    with pytest.raises(StoreVersionError, match="upgrade scfae"):
        restore(out, tmp_path / "back")


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "columns/../../x", "columns\\x", ".ssh", "", "a//b", "a/./b"]
)
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    _, out = exported(tmp_path)
    tamper(
        out, files=read_document(out / EXPORT_FILE)["files"] | {name: {"bytes": 0, "sha256": ""}}
    )
    with pytest.raises(StoreError, match="no plain path inside the export"):
        restore(out, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_columns_cannot_be_named_outside_of_the_store(tmp_path: Path) -> None:
    _, out = exported(tmp_path)
    columns = read_document(out / EXPORT_FILE)["columns"]
    columns[0]["info"]["name"] = "../../escaped"
    tamper(out, columns=columns)
    with pytest.raises(CorruptShard, match="no column name"):
        restore(out, tmp_path / "back")


@pytest.mark.parametrize("what", ["file", "folder"])
def test_links_are_refused(tmp_path: Path, what: str) -> None:
    _, out = exported(tmp_path)
    link = out / "columns" / "ge2e.npz" if what == "file" else out / "columns"
    shutil.move(link, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", link)
    with pytest.raises(StoreError, match="is a link"):
        restore(out, tmp_path / "back")


@pytest.mark.parametrize("body", [b"[]\n", b"{}\n", b"[" * 100_000, b"\xff", b"null", b'{"a": 1}'])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, body: bytes) -> None:
    _, out = exported(tmp_path)
    (out / EXPORT_FILE).write_bytes(body)
    with pytest.raises(CorruptShard, match=EXPORT_FILE):
        restore(out, tmp_path / "back")


@pytest.mark.parametrize(
    "change",
    [
        {"lengths": [10**15, 0, 0]},
        {"lengths": [-1, 1, 0]},
        {"shard": 9},
        {"ids_sha256": "0" * 64},
        {"lengths": []},
        {"reasons": {"7": "x"}},
        {"status": ["fine", "ok", "ok"]},
    ],
)
def test_fates_that_make_no_sense_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    _, out = exported(tmp_path)
    first, *lines = (out / "fates" / "ge2e.jsonl").read_bytes().splitlines(keepends=True)
    fates = json.dumps(json.loads(first) | change).encode() + b"\n"
    replace_file(out, "fates/ge2e.jsonl", fates + b"".join(lines))
    with pytest.raises(CorruptShard, match="ge2e"):
        restore(out, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@forms
def test_files_of_other_contents_with_right_checksums_never_become_rows(
    tmp_path: Path, form: Any, joined: bool
) -> None:
    _, out = exported(tmp_path, to=form, joined=joined)
    other = a_store(tmp_path / "other", dtype="float16")
    export(other, tmp_path / "swap", to=form, joined=joined)
    for name, data in contents(tmp_path / "swap").items():
        if name.startswith(("columns/ge2e", "joined")):
            replace_file(out, name, data)
    with pytest.raises(CorruptShard, match=r"the export .* column 'ge2e'"):
        restore(out, tmp_path / "back")
    if (tmp_path / "back").exists():
        assert verify(tmp_path / "back") == []


@pytest.mark.parametrize(("form", "joined"), FORMS)
def test_values_that_are_not_finite_are_refused(tmp_path: Path, form: Any, joined: bool) -> None:
    store = FeatureStore.create(tmp_path / "store", [SampleRow("a")])
    with store.add_column(describe()) as writer:
        writer.commit(0, [ShardSample(rows=np.full((1, 3), 1.5), times=np.zeros((1, 2)))])
    export(store, tmp_path / "out", to=form, joined=joined)
    one, nan = np.full(3, 1.5, "<f4").tobytes(), np.full(3, np.nan, "<f4").tobytes()
    for name, data in contents(tmp_path / "out").items():
        if one in data:
            replace_file(tmp_path / "out", name, data.replace(one, nan))
            break
    else:
        pytest.fail("no file holds the rows as they are")
    with pytest.raises(CorruptShard, match=r"not finite|not readable|ends inside"):
        restore(tmp_path / "out", tmp_path / "back")


@pytest.mark.parametrize("name", ["columns/ge2e.npz", "columns/ge2e.parquet", "joined.parquet"])
def test_any_damage_with_right_checksums_is_refused_or_harmless(tmp_path: Path, name: str) -> None:
    form: Any = name.rpartition(".")[2]
    store, out = exported(tmp_path, to=form, joined=name.startswith("joined"))
    data = (out / name).read_bytes()
    random = np.random.default_rng(0)
    wanted = facts(store)["columns"]["ge2e"]["receipts"]
    for number in range(15):
        damaged = bytearray(data)
        position = int(random.integers(len(data)))
        damaged[position] ^= 1 << int(random.integers(8))
        replace_file(out, name, bytes(damaged))
        back = tmp_path / f"back-{number}"
        try:
            restore(out, back, ["ge2e"])
        except StoreError:
            continue
        receipts = facts(FeatureStore.open(back))["columns"]["ge2e"]["receipts"]
        # A byte of the rows themselves is beyond what anything but the checksum can find.
        assert [one.lengths for one in receipts] == [one.lengths for one in wanted]
