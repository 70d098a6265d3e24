"""`verify` finds any altered byte, and whatever is gone, cut off, swapped or too much."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfae.store import Damage, FeatureStore, verify
from scfae.store.document import read_document, write_document
from scfae.store.errors import StoreLocked, StoreNotFound, StoreVersionError
from scfae.store.lock import FolderLock
from scfae.store.receipt import receipt_file, shard_file
from scfae.store.testing import make_store
from scfae.store.verification import advice, requeue

SHARDS = 3
COLUMNS = ("audio", "video")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "store"
    make_store(folder, num_samples=9, shard_size=3, missing=0.2, dims={"video": 3, "audio": 2})
    return folder


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "store"))


def files(store: Path) -> list[str]:
    return sorted(str(p.relative_to(store)) for p in store.rglob("*") if p.is_file())


def where(file: str) -> tuple[str | None, int | None, str]:
    """Return the column, the shard and the file that damage of `file` must name."""
    parts = Path(file).parts
    if parts[0] != "columns":
        return None, None, file
    shard = int(parts[2][6:11]) if parts[2].startswith("shard-") else None
    return parts[1], shard, file


def found(store: Path) -> list[tuple[str | None, int | None, str]]:
    return [(one.column, one.shard, one.file) for one in verify(store)]


def test_a_whole_store_has_no_damage(whole: Path) -> None:
    assert len(files(whole)) == 2 + len(COLUMNS) * (1 + 2 * SHARDS)
    assert verify(whole) == verify(str(whole)) == verify(FeatureStore.open(whole)) == []


@given(data=st.data())
def test_one_altered_byte_anywhere_is_found_and_named(whole: Path, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(files(whole)), label="file")
    path = whole / file
    intact = path.read_bytes()
    place = data.draw(st.integers(0, len(intact) - 1), label="place")
    altered = bytearray(intact)
    altered[place] ^= data.draw(st.integers(1, 255), label="bits")
    try:
        path.write_bytes(altered)
        assert found(whole) == [where(file)]
    finally:
        path.write_bytes(intact)


@pytest.mark.parametrize(
    "file",
    [
        "store.json",
        "samples.parquet",
        "columns/audio/column.json",
        f"columns/video/{receipt_file(1)}",
        f"columns/video/{shard_file(2)}",
    ],
)
def test_a_sweep_of_altered_bytes_over_each_kind_of_file_is_found(store: Path, file: str) -> None:
    intact = (store / file).read_bytes()
    for place in {*range(0, len(intact), max(1, len(intact) // 60)), len(intact) - 1}:
        altered = bytearray(intact)
        altered[place] ^= 1 << place % 8
        (store / file).write_bytes(altered)
        assert found(store) == [where(file)], place
    (store / file).write_bytes(intact)
    assert verify(store) == []


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_a_truncated_file_is_found_and_named(store: Path, size: int) -> None:
    for file in files(store):
        intact = (store / file).read_bytes()
        (store / file).write_bytes(intact[:size])
        assert found(store) == [where(file)]
        (store / file).write_bytes(intact)


def test_bytes_added_to_a_file_are_found(store: Path) -> None:
    for file in files(store):
        intact = (store / file).read_bytes()
        (store / file).write_bytes(intact + b"\n")
        assert found(store) == [where(file)]
        (store / file).write_bytes(intact)


def test_a_deleted_file_is_found_and_named(store: Path) -> None:
    for file in files(store):
        if file == "store.json" or file.endswith(tuple(map(receipt_file, range(SHARDS)))):
            continue
        intact = (store / file).read_bytes()
        (store / file).unlink()
        assert found(store) == [where(file)]
        (store / file).write_bytes(intact)


def test_without_store_json_there_is_no_store(store: Path) -> None:
    (store / "store.json").unlink()
    with pytest.raises(StoreNotFound, match=r"folder without store\.json"):
        verify(store)


def test_a_shard_without_a_receipt_was_not_committed(store: Path) -> None:
    (store / "columns/audio" / receipt_file(1)).unlink()
    assert verify(store) == []
    opened = FeatureStore.open(store)
    assert opened.column("audio").missing_shards == [1]
    assert opened.status()["not_extracted"] == {"audio": 3, "video": 0}


@pytest.mark.parametrize(
    "file",
    [
        "notes.txt",
        "columns/notes.txt",
        "columns/audio/notes.txt",
        "columns/audio/shard-00001.tar",
        "columns/audio/shard-000001.json",
        "columns/audio/.hidden",
        "columns/other/notes.txt",
    ],
)
def test_a_file_that_nothing_refers_to_is_found(store: Path, file: str) -> None:
    (store / file).parent.mkdir(exist_ok=True)
    (store / file).write_text("{}")
    assert file in [one.file for one in verify(store)]
    assert "nothing refers to this file" in [one.what for one in verify(store)]


def test_what_a_killed_writer_leaves_is_no_damage(store: Path) -> None:
    (store / ".tmp-0123").write_bytes(b"half")
    (store / "samples.next.parquet").write_bytes(b"half")
    (store / ".lock").write_text("")
    (store / "columns/begun").mkdir()
    (store / "columns/audio/.tmp-0123").write_bytes(b"half")
    (store / "columns/audio/.lock").write_text("")
    (store / "columns/audio" / receipt_file(0)).unlink()
    (store / "columns/audio" / shard_file(0)).write_bytes(b"another shard's bytes")
    assert verify(store) == []


def swap(one: Path, other: Path) -> None:
    one_bytes, other_bytes = one.read_bytes(), other.read_bytes()
    one.write_bytes(other_bytes)
    other.write_bytes(one_bytes)


@pytest.mark.parametrize("name", [receipt_file, shard_file])
def test_files_of_two_shards_that_were_swapped_are_found(
    store: Path, name: Callable[[int], str]
) -> None:
    column = store / "columns/video"
    swap(column / name(0), column / name(2))
    assert found(store) == [where(f"columns/video/{name(k)}") for k in (0, 2)]


@pytest.mark.parametrize("name", [receipt_file(1), shard_file(1), "column.json"])
def test_files_of_two_columns_that_were_swapped_are_found(store: Path, name: str) -> None:
    swap(store / "columns/audio" / name, store / "columns/video" / name)
    assert found(store) == [where(f"columns/{column}/{name}") for column in COLUMNS]


def test_a_column_of_another_store_is_found(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    make_store(other, num_samples=12, shard_size=3, dims={"video": 3, "audio": 2}, seed=1)
    shutil.rmtree(store / "columns/audio")
    shutil.copytree(other / "columns/audio", store / "columns/audio")
    expected = [where(f"columns/audio/{receipt_file(k)}") for k in range(4)]
    assert found(store) == expected


def test_a_sealed_description_of_other_rows_is_found(store: Path) -> None:
    path = store / "columns/audio/column.json"
    write_document(path, read_document(path) | {"dim": 5})
    assert found(store) == [where(f"columns/audio/{shard_file(k)}") for k in range(SHARDS)]


def test_a_newer_store_is_an_error_and_not_damage(store: Path) -> None:
    path = store / "store.json"
    write_document(path, read_document(path) | {"format_version": 2})
    with pytest.raises(StoreVersionError, match="format version 2"):
        verify(store)


def test_all_damage_is_found_at_once(store: Path) -> None:
    hurt = ["samples.parquet", "columns/audio/column.json", f"columns/video/{shard_file(0)}"]
    for file in hurt:
        with (store / file).open("r+b") as stream:
            stream.write(b"!")
    assert found(store) == [where(file) for file in hurt]


def test_requeued_shards_are_extracted_again_and_others_are_not(store: Path) -> None:
    (store / "columns/video" / shard_file(1)).write_bytes(b"")
    (store / "columns/audio" / receipt_file(2)).write_bytes(b"")
    damage = verify(store)
    assert requeue(store, damage) == ([("audio", 2), ("video", 1)], [])
    assert verify(store) == []
    opened = FeatureStore.open(store)
    for column, shard in [("audio", 2), ("video", 1)]:
        assert opened.column(column).missing_shards == [shard]


def test_a_shard_that_is_whole_again_by_now_keeps_its_receipt(store: Path) -> None:
    path = store / "columns/video" / shard_file(1)
    intact = path.read_bytes()
    path.write_bytes(b"")
    damage = verify(store)
    path.write_bytes(intact)
    assert requeue(store, damage) == ([], [("video", 1)])
    assert FeatureStore.open(store).column("video").is_complete


def test_nothing_is_withdrawn_from_a_column_that_is_being_written(store: Path) -> None:
    (store / "columns/video" / shard_file(1)).write_bytes(b"")
    damage = verify(store)
    with (
        FolderLock(store / "columns/video", "column 'video'"),
        pytest.raises(StoreLocked, match="column 'video' is being written"),
    ):
        requeue(store, damage)
    assert verify(store) == damage


def test_damage_that_no_receipt_stands_for_gets_a_sentence_each(store: Path) -> None:
    shutil.copy(store / "columns/audio/column.json", store / "columns/audio/notes.txt")
    for file in ("samples.parquet", "columns/video/column.json", "pins/x.json"):
        (store / file).parent.mkdir(exist_ok=True)
        (store / file).write_bytes(b"?")
    damage = verify(store)
    assert requeue(store, damage) == ([], [])
    words = {one.file: advice(store, one) for one in damage}
    assert "move it out of the store" in words["columns/audio/notes.txt"]
    assert "restore it from a backup" in words["samples.parquet"]
    assert "remove it if none needs it" in words["pins/x.json"]
    assert f"`scfae store drop {store} video --yes`" in words["columns/video/column.json"]


def test_a_shard_beyond_the_samples_is_not_withdrawn(store: Path) -> None:
    shutil.copy(store / "columns/audio" / receipt_file(0), store / "columns/audio/shard-00007.json")
    (damage,) = verify(store)
    assert requeue(store, [damage]) == ([], [])
    assert "belongs to a shard that samples.parquet does not have" in advice(store, damage)


def test_requeue_leaves_damage_without_a_shard_alone(store: Path) -> None:
    before = files(store)
    assert requeue(store, [Damage("audio", None, "columns/audio/column.json", "gone")]) == ([], [])
    assert files(store) == before
