"""MMSA's pickles and GCNet's labels: splits, groups and labels come along."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfae.store.errors import ConfigError, ImportRefused, ManifestError
from scfae.store.importing import open_source
from scfae.store.importing.labels import read_labels

from .kit import fates_by_id, imported, mmsa, rows_by_id, samples


def write(folder: Path, content: Any) -> Path:
    path = folder / "unaligned_50.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


def mosei() -> dict[str, Any]:
    """Return three splits as MMSA keeps MOSEI: ids VIDEO$_$CLIP, padded, lengths, labels."""
    splits = {}
    for number, split in enumerate(("train", "valid", "test")):
        audio = np.random.default_rng(number).normal(size=(3, 4, 5))
        audio[0, 0, 0] = -np.inf if split == "train" else 0
        splits[split] = {
            "raw_text": np.array(["so", "it goes", "on"], dtype=object),
            "id": [f"{split}-a$_$0", f"{split}-a$_$1", f"{split}-b$_$0"],
            "text": np.ones((3, 4, 6), "f4"),
            "audio": audio,
            "vision": np.ones((3, 4, 2), "f4"),
            "audio_lengths": [4, 2, 0],
            "vision_lengths": np.array([4, 9, 1]),
            "annotations": ["Positive", "Negative", "Neutral"],
            "classification_labels": np.array([2.0, 0.0, 1.0]),
            "regression_labels": np.array([1.5, -2.0, 0.0]),
            "emotion_labels": np.ones((3, 6)),
        }
    return splits


def test_splits_groups_and_labels_come_along(tmp_path: Path) -> None:
    store, report = imported(write(tmp_path, mosei()), tmp_path / "store")
    row = next(row for row in store.samples.rows() if row.id == "valid-a$_$1")
    assert (row.split, row.group) == ("val", "valid-a")
    assert row.labels == {
        "annotations": "Negative",
        "classification_labels": 0.0,
        "regression_labels": -2.0,
    }
    assert store.samples.splits == ("test", "train", "val")
    assert sum("emotion_labels is not one value a sample" in one for one in report.notices) == 3
    assert store.column("a").info.encoder == "imported:mmsa"


def test_padding_is_cut_and_infinite_covarep_fails_or_is_zero(tmp_path: Path) -> None:
    content = mosei()
    source = write(tmp_path, content)
    store, report = imported(source, tmp_path / "store")
    assert report.counts == {"ok": 5, "partial": 0, "missing": 3, "failed": 1}
    assert "-inf at row 0, feature 0" in str(fates_by_id(store)["train-a$_$0"][1])
    want = content["test"]["audio"][1, :2].astype("f4")
    assert (rows_by_id(store)["test-a$_$1"] == want).all()
    store, report = imported(source, tmp_path / "zero", nonfinite="zero")
    assert report.counts == {"ok": 5, "partial": 1, "missing": 3, "failed": 0}


def test_the_modality_or_the_key_chooses_what_is_read(tmp_path: Path) -> None:
    source = write(tmp_path, mosei())
    imported(source, tmp_path / "store", column="covarep")
    imported(source, tmp_path / "store", column="facet", modality="video")
    store, report = imported(source, tmp_path / "store", column="bert", modality="text")
    assert {name: info.dim for name, info in store.columns.items()} == {
        "bert": 6,
        "covarep": 5,
        "facet": 2,
    }
    assert fates_by_id(store, "facet")["test-a$_$1"] == (
        "failed",
        "its length is given as 9, but it has 4 rows",
    )
    assert sum("no text_lengths are given, so all 4 rows" in one for one in report.notices) == 3
    with pytest.raises(ConfigError, match="train has no 'smell'; it has annotations, audio"):
        open_source(source, modality="audio", key="smell")
    with pytest.raises(ImportRefused, match="raw_text: is not an array of numbers"):
        open_source(source, modality="text", key="raw_text")


def test_ids_in_parts_are_joined(tmp_path: Path) -> None:
    content = mmsa(samples(2))
    content["train"]["id"] = np.array([[b"vid", b"0.5", b"2"], [b"vid", b"2", b"3"]])
    with open_source(write(tmp_path, content), modality="audio") as source:
        assert list(source.ids) == ["vid_0.5_2", "vid_2_3"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"id": ["a"]}, "where there are 1 ids"),
        ({"id": ["a", "a"]}, "'a' is there twice"),
        ({"id": ["a", "../b"]}, "leads out of its folder"),
        ({"id": ["a", {}]}, "an id is dict"),
        ({"id": "ab"}, "is a str, not a list"),
        ({"audio": np.ones(2)}, r"has the shape \[2\]"),
        ({"audio": np.ones((2, 3), complex)}, "not real numbers"),
        ({"audio_lengths": [1]}, "is not a number for each of 2 ids"),
        ({"audio_lengths": [1, float("nan")]}, "not whole"),
        ({"audio_lengths": [1, 1.5]}, "not whole"),
        ({"audio_lengths": 3}, "not a list"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    content = mmsa(samples(2))
    content["train"] |= change
    with pytest.raises(ImportRefused, match=what):
        open_source(write(tmp_path, content), modality="audio")


@pytest.mark.parametrize("content", [[1, 2], {}, {"train": {"audio": 1}}, {"a": np.ones(2)}])
def test_other_pickles_are_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(ManifestError, match=r"unaligned_50\.pkl: "):
        open_source(write(tmp_path, content), modality="audio")


def gcnet(**change: Any) -> list[Any]:
    """Return a label list as GCNet's: ids, labels, speakers, sentences, then the splits."""
    parts = {
        "ids": {"v1": ["v1_0", "v1_1"], "v2": ["v2_0"]},
        "labels": {"v1": [0.5, -1.0], "v2": np.array([3.0])},
        "speakers": {"v1": ["", ""], "v2": [""]},
        "sentences": {"v1": ["a", "b"], "v2": ["c"]},
        "train": {"v1"},
        "val": [],
        "test": {"v2"},
    }
    return list((parts | change).values())


def test_gcnet_labels_give_split_and_dialogue(tmp_path: Path) -> None:
    features = tmp_path / "wav2vec-large-c-UTT"
    features.mkdir()
    for name in ("v1_0", "v1_1", "v2_0"):
        np.save(features / f"{name}.npy", np.ones(512, "f4"))
    labels = write(tmp_path, gcnet())
    store, _ = imported(features, tmp_path / "store", labels=labels)
    by_id = {row.id: row for row in store.samples.rows()}
    assert {name: (row.split, row.group) for name, row in by_id.items()} == {
        "v1_0": ("train", "v1"),
        "v1_1": ("train", "v1"),
        "v2_0": ("test", "v2"),
    }
    assert by_id["v1_1"].labels == {"label": -1.0}
    assert store.column("a").info.dim == 512


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ([1, 2], "is not a label pickle of GCNet's"),
        (gcnet(ids=["v1"]), "does not give ids and labels by video"),
        (gcnet(labels={"v1": [1], "v2": [1]}), "'v1' has 1 labels for 2 utterances"),
        (gcnet(ids={"v1": ["x", "x"]}), "'x' is there twice"),
        (gcnet(labels={"v1": [[], {}], "v2": [1]}), "is no number or text"),
    ],
)
def test_other_label_pickles_are_refused(tmp_path: Path, content: Any, what: str) -> None:
    with pytest.raises(ManifestError, match=what):
        read_labels(write(tmp_path, content))
