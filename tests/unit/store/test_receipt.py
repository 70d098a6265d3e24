"""A receipt agrees with itself, with its place and with its checksum, or names what does not."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from scfae.store import Receipt
from scfae.store.document import read_document, write_document
from scfae.store.errors import CorruptShard
from scfae.store.receipt import read_receipt, receipt_file, shard_file, write_receipt


def make(**changes: Any) -> Receipt:
    fields: dict[str, Any] = {
        "column": "ge2e",
        "shard": 17,
        "fingerprint": "f" * 64,
        "file": shard_file(17),
        "bytes": 1000,
        "sha256": "a" * 64,
        "rows": 5,
        "lengths": [2, 0, 3],
        "status": ["ok", "missing", "partial"],
        "reasons": {"1": "no audio", "2": "cut off at 3 s"},
        "media": ["m" * 64, None, "n" * 64],
        "ids_sha256": "i" * 64,
    }
    return Receipt(**(fields | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ge2e").mkdir()
    return tmp_path / "ge2e"


def test_a_receipt_comes_back_as_it_was_written(folder: Path) -> None:
    write_receipt(folder, make())
    assert [path.name for path in folder.iterdir()] == ["shard-00017.json"]
    assert read_receipt(folder, 17) == make()


def test_without_a_receipt_the_shard_is_not_there(folder: Path) -> None:
    assert read_receipt(folder, 17) is None


def test_names_sort_like_numbers_and_go_beyond_five_digits() -> None:
    assert shard_file(17) == "shard-00017.zarr.zip"
    assert receipt_file(17) == "shard-00017.json"
    assert receipt_file(123456) == "shard-123456.json"


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": 6},
        {"lengths": [2, 3]},
        {"status": ["ok", "missing"]},
        {"status": ["ok", "missing", "lost"]},
        {"media": [None]},
        {"bytes": -1},
        {"shard": -1},
        {"colour": "red"},
    ],
    ids=str,
)
def test_a_receipt_that_contradicts_itself_cannot_be_made(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make(**changes)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"rows": 6}, "is damaged"),
        ({"colour": "red"}, "is damaged"),
        ({"shard": 16}, "is the receipt of shard 16 of column 'ge2e'"),
        ({"column": "other"}, "is the receipt of shard 17 of column 'other'"),
        ({"file": shard_file(16)}, "is the receipt of shard 17"),
    ],
    ids=str,
)
def test_a_sealed_receipt_that_does_not_belong_here_is_refused_and_named(
    folder: Path, changes: dict[str, Any], what: str
) -> None:
    path = folder / receipt_file(17)
    write_receipt(folder, make())
    write_document(path, read_document(path) | changes)
    with pytest.raises(CorruptShard, match=f"^column 'ge2e', shard 17: {path} {what}"):
        read_receipt(folder, 17)


@pytest.mark.parametrize("size", [0, 10, -1])
def test_a_damaged_receipt_names_column_shard_and_file(folder: Path, size: int) -> None:
    path = folder / receipt_file(17)
    write_receipt(folder, make())
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CorruptShard, match=f"^column 'ge2e', shard 17: {path} is damaged"):
        read_receipt(folder, 17)
