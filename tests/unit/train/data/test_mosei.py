"""CMU-MOSEI in its three layouts: sentiment, dialogue and order come along, nothing vanishes."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfae.cli.main import main
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError, ImportRefused, ManifestError, SchemaMismatch
from scfae.train.data import Shares, prepare_mosei

from .layouts import write_csd, write_gcnet, write_mmsa, write_sdk


def by_id(store: Path) -> dict[str, Any]:
    return {row.id: row for row in FeatureStore.open(store).samples.rows()}


def test_mmsa_becomes_three_columns_with_sentiment_and_order(tmp_path: Path) -> None:
    content = write_mmsa(tmp_path / "aligned_50.pkl")
    report = prepare_mosei(tmp_path / "aligned_50.pkl", tmp_path / "mosei", nonfinite="zero")
    rows = by_id(tmp_path / "mosei")
    row = rows["valid1$_$10"]
    assert (row.split, row.group, row.labels["order"]) == ("val", "valid1", 10)
    assert row.labels["sentiment"] == content["valid"]["regression_labels"][5]
    assert isinstance(row.labels["sentiment"], float)
    assert report.columns["mmsa-audio"]["partial"] == 1
    assert {name: one["dim"] for name, one in report.columns.items()} == {
        "mmsa-text": 7,
        "mmsa-audio": 5,
        "mmsa-vision": 3,
    }
    positive = [v > 0 for v in content["test"]["regression_labels"] if v]
    assert report.majorities()["sentiment"]["accuracy"] == pytest.approx(np.mean(positive))
    assert any("all 50 rows are taken, padding included" in one for one in report.warnings)
    view = FeatureStore.open(tmp_path / "mosei").view(
        split="train", labels=["sentiment"], text="mmsa-text", audio="mmsa-audio"
    )
    names = view.ids.tolist()
    found = view[names.index("train0$_$2")]
    expected = content["train"]["text"][1]
    np.testing.assert_array_equal(found.features["text"], expected)
    assert found.labels["sentiment"] == content["train"]["regression_labels"][1]


def test_the_same_again_does_nothing_and_another_set_is_refused(tmp_path: Path) -> None:
    write_mmsa(tmp_path / "a.pkl")
    prepare_mosei(tmp_path / "a.pkl", tmp_path / "mosei")
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "mosei").rglob("*.json")}
    prepare_mosei(tmp_path / "a.pkl", tmp_path / "mosei")
    assert files == {p: p.stat().st_mtime_ns for p in (tmp_path / "mosei").rglob("*.json")}
    write_mmsa(tmp_path / "b.pkl", dialogues=1)
    with pytest.raises(SchemaMismatch, match="is there with other samples than the data set has"):
        prepare_mosei(tmp_path / "b.pkl", tmp_path / "mosei")


def test_gcnet_gives_dialogues_in_order_and_counts_what_has_no_features(tmp_path: Path) -> None:
    root = tmp_path / "features"
    labels = write_gcnet(root)
    for folder in ("wav2vec-large-c-UTT", "deberta-large-4-UTT", "manet_UTT"):
        (root / folder / "v1_1.npy").unlink()
    (root / "manet_UTT" / "v2_3.npy").unlink()
    np.save(root / "manet_UTT" / "stray.npy", np.ones(1024, "f4"))
    report = prepare_mosei(root, tmp_path / "mosei", labels=labels)
    rows = by_id(tmp_path / "mosei")
    assert {name: (row.split, row.group, row.labels["order"]) for name, row in rows.items()} == {
        "v0_0": ("train", "v0", 0),
        "v0_1": ("train", "v0", 1),
        "v1_0": ("val", "v1", 0),
        "v1_2": ("val", "v1", 2),
        "v2_0": ("test", "v2", 0),
        "v2_1": ("test", "v2", 1),
        "v2_2": ("test", "v2", 2),
        "v2_3": ("test", "v2", 3),
        "stray": (None, None, None),
    }
    assert report.reasons() == {"it has no features": ["v1_1"]}
    assert report.found == 10
    assert any("1 utterances have features and no label" in one for one in report.warnings)
    assert report.columns["manet_UTT"]["missing"] == 1
    assert report.columns["wav2vec-large-c-UTT"]["missing"] == 1
    assert report.columns["wav2vec-large-c-UTT"]["dim"] == 512


def test_sequences_are_cut_to_the_labelled_segments(tmp_path: Path) -> None:
    folds = write_sdk(tmp_path / "csd")
    report = prepare_mosei(tmp_path / "csd", tmp_path / "mosei", folds=folds)
    store = FeatureStore.open(tmp_path / "mosei")
    rows = by_id(tmp_path / "mosei")
    assert len(rows) == 10
    one = rows["vid1[1]"]
    assert (one.split, one.group, one.labels["order"]) == ("train", "vid1", 1)
    assert one.labels["sentiment"] == 1.5
    assert one.labels["happy"] == 0
    view = store.view(
        split="train",
        labels=["sentiment"],
        audio="CMU_MOSEI_COVAREP",
        text="CMU_MOSEI_TimestampedWordVectors",
    )
    found = view[view.ids.tolist().index("vid1[1]")]
    # Half seconds from 2 to 5, and the words that overlap it: the second one and the third.
    np.testing.assert_array_equal(found.features["audio"], np.arange(30).reshape(10, 3)[4:])
    assert found.times["audio"][0].tolist() == [2.0, 2.5]
    assert found.times["text"].tolist() == [[1.5, 2.5], [4.0, 5.0]]
    assert report.reasons() == {
        "it has no labels": ["CMU_MOSEI_COVAREP.csd: unlabelled"],
        "it is no column; name it with --columns": ["CMU_MOSEI_Extra.csd"],
    }
    assert report.columns["CMU_MOSEI_TimestampedWordVectors"]["missing"] == 2
    assert any("1 videos are in no fold, e.g. vid4" in one for one in report.warnings)


def test_without_folds_videos_are_dealt_by_seed_and_that_is_recorded(tmp_path: Path) -> None:
    write_sdk(tmp_path / "csd")
    shares = Shares(test=0.2, val=0.25, seed=7)
    report = prepare_mosei(tmp_path / "csd", tmp_path / "mosei", shares=shares)
    assert {name: one["groups"] for name, one in report.splits().items()} == {
        "train": 3,
        "val": 1,
        "test": 1,
    }
    record = json.loads((tmp_path / "mosei.data.json").read_text())
    assert record["split"] == {
        "by": "video",
        "seed": 7,
        "test_share_of_groups": 0.2,
        "val_share_of_other_groups": 0.25,
    }


def test_sequences_that_are_cut_already_are_taken_as_they_are(tmp_path: Path) -> None:
    root = tmp_path / "csd"
    root.mkdir()
    span = [[0.0, 1.0]]
    label = np.array([[2.0] + [0.0] * 6])
    write_csd(root / "Labels.csd", "All Labels", {f"a[{k}]": (label, span) for k in range(3)})
    rows = {f"a[{k}]": (np.full((2, 3), k), [[0, 1], [1, 2]]) for k in range(3)}
    write_csd(root / "COVAREP.csd", "COVAREP", rows)
    report = prepare_mosei(root, tmp_path / "mosei", shares=Shares(test=0.0, val=0.0))
    assert report.splits() == {"train": {"samples": 3, "groups": 1}}
    store = FeatureStore.open(tmp_path / "mosei")
    place = store.samples.ids.tolist().index("a[2]")
    assert store.column("COVAREP").rows(place).tolist() == [[2, 2, 2], [2, 2, 2]]


def test_odd_files_and_wrong_flags_are_named(tmp_path: Path) -> None:
    out = tmp_path / "mosei"
    labels = write_gcnet(tmp_path / "utt")
    folds = write_sdk(tmp_path / "csd")
    with pytest.raises(ManifestError, match="there is no such file or folder"):
        prepare_mosei(tmp_path / "nowhere", out)
    with pytest.raises(ConfigError, match=r"--labels: .* give their label pickle"):
        prepare_mosei(tmp_path / "utt", out)
    with pytest.raises(ConfigError, match="--folds: does not go with utterance folders"):
        prepare_mosei(tmp_path / "utt", out, labels=labels, folds=folds)
    with pytest.raises(ConfigError, match="has none of the folders wav2vec-large-c-UTT"):
        prepare_mosei(tmp_path, out, labels=labels)
    with pytest.raises(ConfigError, match="--columns: there is no folder"):
        prepare_mosei(tmp_path / "utt", out, labels=labels, columns={"audio": "smell"})
    folds.write_text("standard_train_fold = []\n")
    with pytest.raises(ManifestError, match="has no list standard_valid_fold"):
        prepare_mosei(tmp_path / "csd", out, folds=folds)
    folds.write_text("standard_train_fold = [")
    with pytest.raises(ManifestError, match="cannot be read as a file of folds"):
        prepare_mosei(tmp_path / "csd", out, folds=folds)
    (tmp_path / "csd" / "CMU_MOSEI_Labels.csd").unlink()
    with pytest.raises(ManifestError, match=r"0 of its \.csd files have 'label' in their name"):
        prepare_mosei(tmp_path / "csd", out)
    np.save(tmp_path / "utt" / "manet_UTT" / "v0_0.npy", np.ones(3, "f4"))
    with pytest.raises(ImportRefused, match=r"rows of 1024 features where .* has 3"):
        prepare_mosei(tmp_path / "utt", out, labels=labels)
    content = write_mmsa(tmp_path / "x.pkl")
    content["test"]["regression_labels"] = ["good"] * 6
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ManifestError, match="has no number in regression_labels"):
        prepare_mosei(tmp_path / "x.pkl", out)
    assert not out.exists()


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mmsa(tmp_path / "aligned_50.pkl")
    command = ["data", "mosei", str(tmp_path / "aligned_50.pkl"), str(tmp_path / "mosei")]
    assert main([*command, "--nonfinite", "zero", "--json"]) == 0
    output = capsys.readouterr()
    document = json.loads(output.out)
    assert document["splits"]["test"] == {"samples": 6, "groups": 2}
    assert "sentiment: always positive scores accuracy" in output.err
