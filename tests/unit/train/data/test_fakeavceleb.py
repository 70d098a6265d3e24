"""FakeAVCeleb's layout: labels of each modality, splits by identity, nothing vanishes."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from scfae.cli.main import main
from scfae.extract import extract, read_inputs
from scfae.store import FeatureStore
from scfae.store.errors import ManifestError, ScfaeError
from scfae.train.data import DataReport, Shares, prepare_fakeavceleb

from .layouts import write_fakeavceleb, write_mvf_list, write_table

Lines = list[list[str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "FakeAVCeleb_v1.2"


@pytest.fixture
def lines(root: Path, clip: Path) -> Lines:
    return write_fakeavceleb(root, clip)


def prepared(root: Path, **settings: Any) -> DataReport:
    return prepare_fakeavceleb(root, root.parent / "manifest.csv", **settings)


def test_each_class_has_the_labels_of_the_whole_and_of_each_modality(
    root: Path, lines: Lines
) -> None:
    prepared(root)
    items = read_inputs(root.parent / "manifest.csv")
    assert len(items) == len(lines) == 48
    found = {
        (i.labels["class"], i.labels["fake"], i.labels["fake_video"], i.labels["fake_audio"])
        for i in items
    }
    assert found == {("RvRa", 0, 0, 0), ("RvFa", 1, 0, 1), ("FvRa", 1, 1, 0), ("FvFa", 1, 1, 1)}
    (one,) = [i for i in items if i.id == "FakeVideo-RealAudio/African/women/id00000/00000_id00001"]
    assert (one.group, one.labels["method"], one.labels["target1"]) == (
        "id00000",
        "faceswap",
        "id00001",
    )
    assert all(Path(str(item.media["video"])).is_file() for item in items)


def test_no_identity_is_on_two_sides_and_the_seed_decides(root: Path, lines: Lines) -> None:
    report = prepared(root, shares=Shares(test=0.25, val=0.2, seed=3))
    homes: dict[str, set[str | None]] = {}
    for row in report.rows:
        homes.setdefault(str(row.group), set()).add(row.split)
    assert all(len(splits) == 1 for splits in homes.values())
    assert {name: one["groups"] for name, one in report.splits().items()} == {
        "train": 7,
        "val": 2,
        "test": 3,
    }
    again = prepared(root, shares=Shares(test=0.25, val=0.2, seed=3))
    other = prepared(root, shares=Shares(test=0.25, val=0.2, seed=4))
    assert again.rows == report.rows != other.rows
    assert report.split["seed"] == 3


def test_races_and_genders_are_in_test_as_they_are_in_all(root: Path, clip: Path) -> None:
    write_fakeavceleb(root, clip, identities=20)
    report = prepared(root, shares=Shares(test=0.2, val=0.0))
    strata = Counter(
        (row.labels["race"], row.labels["gender"])
        for row in report.rows
        if row.split == "test" and row.labels["class"] == "RvRa"
    )
    assert sorted(strata.values()) == [1, 1, 1, 1]  # 4 of 20 identities, 5 in each stratum


def test_what_is_odd_is_named_and_the_counts_add_up(root: Path, lines: Lines, clip: Path) -> None:
    gone, empty = lines[0], lines[5]
    (root / gone[9].partition("/")[2] / gone[8]).unlink()
    (root / empty[9].partition("/")[2] / empty[8]).write_bytes(b"")
    twice = [*lines[3]]
    twice[3] = "faceswap-wav2lip"
    strange = [*lines[8]]
    strange[4] = "Z"
    lines[8] = strange
    lines[9][0] = "id99999"
    write_table(root, [*lines, twice])
    (root / "RealVideo-RealAudio" / "notes.mp4").write_bytes(b"x")
    report = prepared(root)
    assert {why: len(names) for why, names in report.reasons().items()} == {
        "there is no such file": 1,
        "the file is empty": 1,
        "it is listed twice": 1,
        "its type and category are not one of the four classes": 1,
        "it lies in the folder of another source": 1,
        "it is not in meta_data.csv": 1,
    }
    # 49 lines of the table and one file beside them.
    assert report.found == len(report.rows) + len(report.skipped) == 50
    assert any(gone[8] in one.what for one in report.skipped)
    kept = {row.id: row for row in report.rows}
    assert kept["FakeVideo-FakeAudio/African/women/id00000/00000_id00001"].labels["method"] == (
        "wav2lip"
    )
    record = json.loads((root.parent / "manifest.data.json").read_text())
    assert record["samples"] + record["skipped"]["count"] == record["found"] == 50


def test_public_lists_of_frames_give_the_split(root: Path, lines: Lines, tmp_path: Path) -> None:
    train = write_mvf_list(tmp_path / "train_frame.txt", lines[:32], "dev")
    test = write_mvf_list(tmp_path / "val_frame.txt", lines[36:], "test")
    report = prepared(root, lists={"train": train, "test": test}, shares=Shares(val=0.25))
    counts = {name: one["samples"] for name, one in report.splits().items()}
    assert counts == {"train": 24, "val": 8, "test": 12}
    assert report.reasons()["it is in none of the lists"] == [
        f"{line[9].partition('/')[2]}/{line[8]}" for line in lines[32:36]
    ]
    (root / "meta_data.csv").unlink()
    write_table(root, lines[:36])
    report = prepared(root, lists={"train": train, "test": test})
    assert any("12 lines of" in one for one in report.warnings)


def test_faces_that_cross_the_splits_are_counted_or_left_out(root: Path, lines: Lines) -> None:
    report = prepared(root)
    crossing = [one for one in report.warnings if "who is a source of another split" in one]
    assert len(crossing) == 1
    number = int(crossing[0].split()[0])
    split = {row.group: row.split for row in report.rows}
    want = [
        r for r in report.rows if r.labels["target1"] and split[str(r.labels["target1"])] != r.split
    ]
    assert number == len(want) > 0
    dropped = prepared(root, drop_crossing=True)
    assert len(dropped.rows) == 48 - number
    assert dropped.found == 48


def test_the_constant_answer_is_told(root: Path, lines: Lines) -> None:
    report = prepared(root)
    majority = report.majorities()
    assert majority["fake"]["always"] == 1
    assert majority["fake"]["accuracy"] == pytest.approx(0.75)
    assert majority["fake_video"]["accuracy"] == pytest.approx(0.5)
    assert any("12 of 48 clips are real" in one for one in report.warnings)


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda root: (root / "meta_data.csv").unlink(), r"meta_data\.csv: there is no such file"),
        (
            lambda root: (root / "meta_data.csv").write_text("id,path\n1,x\n"),
            "is not FakeAVCeleb v1.2's: it has id, path",
        ),
        (
            lambda root: write_table(root, [["id1", "-", "-"]]),
            "line 2: has 3 fields where the header has 10",
        ),
    ],
)
def test_another_table_is_refused(root: Path, lines: Lines, spoil: Any, what: str) -> None:
    spoil(root)
    with pytest.raises(ManifestError, match=what):
        prepared(root)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("somewhere/else.jpg 0\n", "line 1: is not …/CLASS/RACE"),
        ("x/RealVideo-RealAudio/a/b/id1/1_0001.jpg 1\n", "label '1' for a clip of RealVideo"),
        ("x/RealVideo-RealAudio/a/b/id1/1_0001.jpg 0\n", "name none of the videos here"),
    ],
)
def test_another_list_is_refused(
    root: Path, lines: Lines, tmp_path: Path, text: str, what: str
) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(ManifestError, match=what):
        prepared(root, lists={"train": tmp_path / "list.txt"})


def test_from_the_tree_to_a_view_with_labels(
    root: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_fakeavceleb(root, clip, identities=2)
    manifest, store = root.parent / "favc.csv", root.parent / "features"
    status = main(["data", "fakeavceleb", str(root), str(manifest), "--val", "0", "--json"])
    assert status == 0
    document = json.loads(capsys.readouterr().out)
    assert document["samples"] == 8
    report = extract(manifest, store, ["efficientnet-lite0:fps=1", "ge2e"], workers=1)
    assert not report.failures
    seen, heard = sorted(FeatureStore.open(store).columns)
    labels = ["fake", "fake_video", "fake_audio", "method"]
    view = FeatureStore.open(store).view(split="test", labels=labels, video=seen, audio=heard)
    assert len(view) == document["splits"]["test"]["samples"] == 4
    first = view[0]
    assert first.features["video"].shape[1] == 1280
    assert len(first.features["audio"]) > 0
    assert {view[i].labels["method"] for i in range(4)} == {"real", "rtvc", "faceswap", "wav2lip"}


def test_more_skipped_than_allowed_ends_with_status_3(
    root: Path, lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / lines[0][9].partition("/")[2] / lines[0][8]).unlink()
    command = ["data", "fakeavceleb", str(root), str(root.parent / "m.csv")]
    assert main(command) == 3
    assert "skipped 1, there is no such file: FakeAVCeleb/RealVideo" in capsys.readouterr().err
    assert main([*command, "--max-failures", "1"]) == 0
    assert main([*command, "--lists", "dev=x.txt"]) == 2
    assert main(["data", "fakeavcelep", str(root)]) == 2
    assert "Did you mean 'fakeavceleb'?" in capsys.readouterr().err


def test_a_manifest_that_cannot_be_written_is_said_first(tmp_path: Path) -> None:
    with pytest.raises(ScfaeError, match=r"must end in \.csv"):
        prepare_fakeavceleb(tmp_path, tmp_path / "manifest.txt")
    with pytest.raises(ScfaeError, match="there is no folder"):
        prepare_fakeavceleb(tmp_path, tmp_path / "no" / "manifest.csv")
