"""Tables of labels: typed, unique, and bounded."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scfae.store.errors import ImportRefused, ManifestError
from scfae.store.importing.labels import read_labels


def test_labels_are_integers_floats_or_text(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("id,split,n,x,name,odd\na,train,1,0.5,yes,1_2\nb,,,nan,,3\n")
    rows = read_labels(path)
    assert rows["a"].labels == {"n": 1, "x": 0.5, "name": "yes", "odd": "1_2"}
    assert rows["b"].labels == {"n": None, "x": None, "name": None, "odd": "3"}
    assert (rows["a"].split, rows["b"].split) == ("train", None)


def test_every_form_gives_the_same(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,group,n\na,g,1\nb,,2\n")
    (tmp_path / "x.jsonl").write_text('{"id": "a", "group": "g", "n": 1}\n\n{"id": "b", "n": 2}\n')
    table = pa.table({"id": ["a", "b"], "group": ["g", None], "n": [1, 2]})
    pq.write_table(table, tmp_path / "x.parquet")
    one, two, three = (read_labels(tmp_path / f"x.{form}") for form in ("csv", "jsonl", "parquet"))
    assert one == two == three


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("x.csv", "", "has no rows"),
        ("x.csv", "id;a\nx;1\n", "separated by ';'; use commas"),
        ("x.csv", "id,a,a\nx,1,2\n", "'a' is there twice"),
        ("x.csv", "id,a\n,1\n", "line 2: the id is empty"),
        ("x.csv", 'id,a\nx,"1\n', "cannot be read"),
        ("x.jsonl", "{", "line 1: not JSON"),
        ("x.jsonl", "[" * 100_000, "line 1: not JSON"),
        ("x.jsonl", "[1]", "line 1: must be a JSON object"),
        ("x.jsonl", '{"id": "a", "x": {}}', "a dict where there should be text"),
        ("x.parquet", "text", "cannot be read"),
        ("x.txt", "id\na\n", r"takes \.csv, \.jsonl or \.parquet"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, name: str, text: str, what: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ManifestError, match=what):
        read_labels(tmp_path / name)


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"id,a\ncaf\xe9,1\n")
    with pytest.raises(ManifestError, match="cannot be read"):
        read_labels(tmp_path / "x.csv")


@pytest.mark.parametrize("name", ["../x", "a\tb"])
def test_ids_are_checked_as_those_of_features(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.csv").write_text(f"id,a\n{name},1\n")
    with pytest.raises(ImportRefused, match="the id"):
        read_labels(tmp_path / "x.csv")


def test_a_table_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    table = pa.table({"id": [str(i) for i in range(100)], "x": ["y" * 100_000] * 100})
    pq.write_table(table, tmp_path / "x.parquet", compression="zstd", use_dictionary=False)
    assert (tmp_path / "x.parquet").stat().st_size < 1 << 20
    with pytest.raises(ImportRefused, match="--max-bytes"):
        read_labels(tmp_path / "x.parquet", max_bytes=1 << 20)
