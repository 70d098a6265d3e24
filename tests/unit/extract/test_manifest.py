"""Inputs: manifests in three formats say the same; what cannot be used is named with its line."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scfae.extract import media_kind, read_inputs
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
        ("id,video\na\n", ["line 2", "fields", "which has 2"]),
        ('id,video\n"a,a.mp4\n', ["cannot be read"]),
        ("id,video,Split\na,a.mp4,train\n", ["'Split'", "'split'"]),
        ("id,audios\na,a.wav\n", ["'audios'", "'audio'"]),
        ("ID,video\na,a.mp4\n", ["'ID'", "'id'"]),
        ("id,video,word\n ,a.mp4,x\n", ["line 2", "id is empty"]),
        ("id;video\na;a.mp4\n", ["separated by ';'", "use commas"]),
        ("id\tvideo\na\ta.mp4\n", ["separated by tabs", "use commas"]),
        ("id,video\na,a.mp4\nb\0c,b.mp4\n", ["line 3", "NUL"]),
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


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, suffix)
    if suffix != ".parquet":
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    assert [item.id for item in read_inputs(path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (["1", "02", "-3"], [1, 2, -3]),
        (["1", "2.5", ""], [1.0, 2.5, None]),
        (["1", "two", ""], ["1", "two", None]),
        (["", "", ""], [None, None, None]),
        (["1e3", "2", "3"], [1000.0, 2.0, 3.0]),
        (["true", "false", ""], ["true", "false", None]),
        (["1_000", "2", "3"], ["1_000", "2", "3"]),
        (["nan", "1", "2"], [None, 1.0, 2.0]),
    ],
)
def test_labels_have_one_type_a_column(
    tmp_path: Path, values: list[str], wanted: list[Any]
) -> None:
    path = tmp_path / "m.csv"
    lines = [f"{i},{i}.mp4,{value}" for i, value in enumerate(values)]
    path.write_text("id,video,label\n" + "\n".join(lines))
    labels = [item.labels["label"] for item in read_inputs(path)]
    assert labels == wanted
    assert [type(label) for label in labels] == [type(value) for value in wanted]


def test_json_and_parquet_keep_their_types(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": 1, "video": "a.mp4", "fake": True, "score": 1.0, "name": "x"},
        {"id": 2, "video": None, "fake": False, "score": 0.25, "name": None},
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet")
    for name in ("m.jsonl", "m.parquet"):
        first, second = read_inputs(tmp_path / name)
        assert (first.id, second.id) == ("1", "2")
        assert first.labels == {"fake": 1, "score": 1.0, "name": "x"}
        assert second.labels == {"fake": 0, "score": 0.25, "name": None}
        assert second.media == {}  # accounted for as missing, not dropped


def test_a_label_that_only_some_rows_have_is_none_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"id": "a", "audio": "a.wav"}\n{"id": "b", "image": "b.png", "digit": 3}\n')
    a, b = read_inputs(path)
    assert (a.labels, b.labels) == ({"digit": None}, {"digit": 3})
    assert (set(a.media), set(b.media)) == ({"audio"}, {"image"})


def test_paths_are_relative_to_the_manifest_or_absolute(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    path = tmp_path / "lists" / "m.csv"
    path.write_text(f"id,video,audio\na,../clips/a.mp4,{tmp_path}/far/a.wav\n")
    (item,) = read_inputs(path)
    assert item.media["video"] == tmp_path / "lists" / "../clips/a.mp4"
    assert item.media["audio"] == tmp_path / "far/a.wav"
    assert item.paths == {"video": "../clips/a.mp4", "audio": f"{tmp_path}/far/a.wav"}


def test_fields_may_hold_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text('id,video,text\n"a,b","x ""y"".mp4","one\ntwo, three"\nc,c.mp4,"",\n')
    with pytest.raises(ManifestError, match="line 4"):
        read_inputs(path)  # as an editor counts lines
    path.write_text('id,video,text\n"a,b","x ""y"".mp4","one\ntwo, three"\n')
    (item,) = read_inputs(path)
    assert item.id == "a,b"
    assert item.paths == {"video": 'x "y".mp4', "text": "one\ntwo, three"}


def test_groups_and_splits_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("id,video,split,group\na,a.mp4, val ,speaker 7\nb,b.mp4,,\n")
    a, b = read_inputs(path)
    assert (a.split, a.group) == ("val", "speaker 7")
    assert (b.split, b.group) == (None, None)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("m.jsonl", b'{"id": "a", "video": "a.mp4"}\n[1]\n', "line 2: must be a JSON object"),
        ("m.jsonl", b'{"id": "a", "video": "a.mp4"}\n{"id": \n', "line 2: not JSON"),
        ("m.jsonl", b"", "has no rows"),
        (
            "m.csv",
            b"id,video\na,\xff\xfe.mp4\n",
            "is not UTF-8 text (invalid start byte at byte 11)",
        ),
        ("m.csv", "id,video\na,a.mp4\n".encode("utf-16"), "save it as UTF-8"),
        ("m.parquet", b"", "cannot be read"),
        ("m.txt", b"id,video\n", "a manifest ends in .csv, .jsonl, .parquet"),
    ],
)
def test_a_manifest_of_no_use_is_refused_in_a_sentence(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ManifestError) as caught:
        read_inputs(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_there_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such file or folder; give a folder of media"):
        read_inputs(tmp_path / "nowhere")
    with pytest.raises(ManifestError, match=r"no media in this folder; files that count: .*\.mp4"):
        read_inputs(tmp_path)


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("train", "train"),
        ("Valid", "val"),
        ("val", "val"),
        ("TEST", "test"),
        ("other", None),
        ("other/train", None),
    ],
)
def test_first_level_folders_give_the_split(tmp_path: Path, folder: str, split: str | None) -> None:
    (tmp_path / folder / "deep").mkdir(parents=True)
    (tmp_path / folder / "deep" / "a.wav").touch()
    (item,) = read_inputs(tmp_path)
    assert (item.id, item.split) == (f"{folder}/deep/a", split)
    assert item.media == {"audio": tmp_path / folder / "deep" / "a.wav"}


def test_names_with_dots_are_not_cut_short(tmp_path: Path) -> None:
    for name in ("a.1.mp4", "a.2.mp4", "a.1.png"):
        (tmp_path / name).touch()
    assert [item.id for item in read_inputs(tmp_path)] == ["a.1", "a.2"]


def test_folders_named_like_media_are_samples_that_will_fail(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").mkdir()
    (tmp_path / "x.mp4" / "a.wav").touch()
    assert [item.id for item in read_inputs(tmp_path)] == ["x", "x.mp4/a"]


def test_ids_of_a_folder_never_repeat(tmp_path: Path) -> None:
    # `a.mp4` and `a.mkv` are two samples, whose ids keep the suffix: beside a sample of that stem.
    for name in ("a.mp4", "a.mkv", "a.mp4.wav"):
        (tmp_path / name).touch()
    with pytest.raises(ManifestError, match=r"id 'a\.mp4' \(a\.mp4, a\.mp4\.wav\); rename one"):
        read_inputs(tmp_path)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.MP4", "video"), ("b.oga", "audio"), ("c.JPeG", "image"), ("d.txt", None), ("mp4", None)],
)
def test_kinds_follow_from_extensions(name: str, kind: str | None) -> None:
    assert media_kind(name) == kind
