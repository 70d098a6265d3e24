"""Inputs: manifests in three formats say the same; what cannot be used is named with its line."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scfae.extract.manifest import read_inputs
from scfae.store.errors import ManifestError

ROWS: list[dict[str, Any]] = [
    {"id": "a", "video": "a.mp4", "split": "train", "digit": 3, "score": 0.5, "word": "ja"},
    {"id": "b", "video": "sub/b.mp4", "split": "test", "digit": 4, "score": None, "word": "nej"},
]


def write(folder: Path, suffix: str) -> Path:
    path = folder / f"manifest{suffix}"
    if suffix == ".csv":
        lines = [",".join(ROWS[0])]
        lines += [",".join("" if v is None else str(v) for v in row.values()) for row in ROWS]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    elif suffix == ".jsonl":
        path.write_text("\n\n".join(json.dumps(row) for row in ROWS))
    else:
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_three_formats_say_the_same(tmp_path: Path, suffix: str) -> None:
    a, b = read_inputs(write(tmp_path, suffix))
    assert (a.id, b.id) == ("a", "b")
    assert b.media == {"video": tmp_path / "sub/b.mp4"}
    assert b.paths == {"video": "sub/b.mp4"}
    assert (a.split, b.split, a.group) == ("train", "test", None)
    assert a.labels == {"digit": 3, "score": 0.5, "word": "ja"}
    assert b.labels == {"digit": 4, "score": None, "word": "nej"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,video\na,a.mp4\na,b.mp4\n", ["line 3", "'a'", "line 2"]),
        ("id,video\n,a.mp4\n", ["line 2", "id is empty"]),
        ("id,video\na,a.mp4,more\n", ["line 2", "fields"]),
        ("id,vidoe\na,a.mp4\n", ["'vidoe'", "'video'"]),
        ("id,digit\na,3\n", ["none of the columns video"]),
        ("video\na.mp4\n", ["no column 'id'"]),
        ("id,video,video\na,a,b\n", ["'video' is there twice"]),
        ("id,video\n", ["no rows"]),
        ("", ["no rows"]),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, says: list[str]) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text(text)
    with pytest.raises(ManifestError) as caught:
        read_inputs(path)
    for words in (str(path), *says):
        assert words in str(caught.value)


@pytest.mark.parametrize("name", ["manifest.jsonl", "manifest.parquet"])
def test_damaged_manifests_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"{not json at all")
    with pytest.raises(ManifestError, match=name):
        read_inputs(path)


def test_a_folder_joins_stems_and_skips_what_is_hidden(tmp_path: Path) -> None:
    for name in ("train/a.mp4", "train/a.png", "test/b.WAV", ".cache/c.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    b, a = read_inputs(tmp_path)
    assert (a.id, a.split, set(a.media)) == ("train/a", "train", {"video", "image"})
    assert (b.id, b.split, set(b.media)) == ("test/b", "test", {"audio"})


def test_two_files_of_one_kind_and_stem_are_two_samples(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "a.png"):
        (tmp_path / name).touch()
    assert [item.id for item in read_inputs(tmp_path)] == ["a.mkv", "a.mp4", "a.png"]
