"""Class folders become a manifest with a label, split by group."""

from pathlib import Path

import pytest

from scfae.extract import extract, read_inputs
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError, ManifestError
from scfae.train.data import Shares, prepare_folder

from .layouts import write_picture


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two classes, five speakers, two files of each."""
    for number in range(20):
        name = f"{'cat' if number % 2 else 'dog'}/speaker{number // 4}_{number}.png"
        write_picture(tmp_path / "tree" / name, level=10 * number)
    return tmp_path / "tree"


def test_folders_are_classes_and_groups_stay_together(tree: Path, tmp_path: Path) -> None:
    report = prepare_folder(
        tree,
        tmp_path / "m.csv",
        label="animal",
        group=r"speaker(\d+)",
        shares=Shares(test=0.2, val=0.25),
    )
    items = read_inputs(tmp_path / "m.csv")
    assert {item.labels["animal"] for item in items} == {"cat", "dog"}
    assert {name: one["groups"] for name, one in report.splits().items()} == {
        "train": 3,
        "val": 1,
        "test": 1,
    }
    assert report.warnings == ()
    assert report.split["by"] == r"group speaker(\d+), stratified by animal"


def test_folders_named_after_splits_are_kept(tree: Path, tmp_path: Path) -> None:
    root = tmp_path / "split"
    for split in ("train", "test"):
        for number in range(4):
            write_picture(root / split / f"class{number % 2}" / f"{split}{number}.png")
    report = prepare_folder(root, tmp_path / "m.csv", shares=Shares(val=0.25))
    assert {name: one["samples"] for name, one in report.splits().items()} == {
        "train": 3,
        "val": 1,
        "test": 4,
    }
    assert {row.labels["class"] for row in report.rows} == {"class0", "class1"}
    assert any("no group is known" in one for one in report.warnings)


def test_what_is_left_is_named_and_counted(tree: Path, tmp_path: Path) -> None:
    write_picture(tree / "alone.png")
    write_picture(tree / "cat" / "nobody.png")
    (tree / "cat" / "readme.txt").write_text("x")
    (tree / ".hidden.txt").write_text("x")
    report = prepare_folder(tree, tmp_path / "m.csv", group=r"speaker(\d+)")
    assert report.reasons() == {
        "it lies in no class folder": ["alone.png"],
        r"its path has no group speaker(\d+)": ["cat/nobody.png"],
        "it is no media by its name": ["cat/readme.txt"],
    }
    assert report.found == 23


def test_wrong_use_is_named(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has 0 brackets"):
        prepare_folder(tree, tmp_path / "m.csv", group="speaker")
    with pytest.raises(ConfigError, match="is no pattern"):
        prepare_folder(tree, tmp_path / "m.csv", group="(")
    with pytest.raises(ConfigError, match=r"--test: a share is at least 0 and below 1, not 1\.5"):
        Shares(test=1.5)
    with pytest.raises(ManifestError, match="there is no such folder"):
        prepare_folder(tmp_path / "nowhere", tmp_path / "m.csv")
    with pytest.raises(ManifestError, match="1 groups cannot be dealt to 3 splits"):
        prepare_folder(tree, tmp_path / "m.csv", group="(speaker)")
    with pytest.raises(ConfigError, match=r"--group: no path of .* has 'actor\(\.\)'"):
        prepare_folder(tree, tmp_path / "m.csv", group="actor(.)")
    write_picture(tmp_path / "flat" / "a.png")
    with pytest.raises(ManifestError, match="no media lie in folders of their class"):
        prepare_folder(tmp_path / "flat", tmp_path / "m.csv")


def test_from_the_tree_to_a_view_with_labels(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for number in range(4):
        write_picture(tree / ("cat", "dog")[number % 2] / f"{number}.png")
    prepare_folder(tree, tmp_path / "m.csv", shares=Shares(test=0.25, val=0.0))
    extract(tmp_path / "m.csv", tmp_path / "store", ["efficientnet-lite0"], workers=1)
    view = FeatureStore.open(tmp_path / "store").view(
        split="train", labels=["class"], image="efficientnet-lite0"
    )
    assert view[0].features["image"].shape == (1, 1280)
    assert view.label("class").classes == ("cat", "dog")
