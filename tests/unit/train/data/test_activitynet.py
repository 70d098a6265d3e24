"""The APIVR family's ActivityNet features: bags and images in pairs, both settings."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from scfae.cli.main import main
from scfae.store import FeatureStore
from scfae.store.errors import ImportRefused, ManifestError
from scfae.train.data import Shares, prepare_activitynet

from .layouts import write_apivr

SMALL = (40, 4, 130)


def load(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        values: np.ndarray = pickle.load(file)
    return values


def test_bags_and_images_are_paired_by_number(tmp_path: Path) -> None:
    write_apivr(tmp_path / "apivr")
    report = prepare_activitynet(tmp_path / "apivr", tmp_path / "store", shares=Shares(val=0.2))
    assert {name: one["samples"] for name, one in report.splits().items()} == {
        "train": 5,
        "val": 1,
        "test": 3,
    }
    assert report.columns["apivr-video"]["dim"] == 4096
    assert report.columns["apivr-image"]["dim"] == 128
    view = FeatureStore.open(tmp_path / "store").view(
        split="test", labels=["class", "pair"], video="apivr-video", image="apivr-image"
    )
    sample = view[view.ids.tolist().index("test-000002")]
    np.testing.assert_array_equal(
        sample.features["video"], load(tmp_path / "apivr" / "test_v.pkl")[2]
    )
    np.testing.assert_array_equal(
        sample.features["image"][0], load(tmp_path / "apivr" / "test_i.pkl")[2]
    )
    assert sample.features["video"].shape == (64, 4096)
    assert sample.labels == {"class": 3, "pair": 8}
    assert len(report.warnings) == 1  # that the image's video is unknown
    assert report.found == 9


def test_the_128_setting_adds_the_video_in_128_features(tmp_path: Path) -> None:
    write_apivr(tmp_path / "apivr", videos=SMALL)
    report = prepare_activitynet(tmp_path / "apivr", tmp_path / "store", setting="128-128")
    store = FeatureStore.open(tmp_path / "store")
    assert store.columns["apivr-video-128"].dim == 128
    assert store.columns["apivr-video-128"].encoder == "derived:pca=128,fit_split=train"
    assert report.columns["apivr-video-128"]["dim"] == 128
    assert any("v has 130 features a row where the published files" in w for w in report.warnings)
    command = ["data", "activitynet", str(tmp_path / "apivr"), str(tmp_path / "other")]
    assert main([*command, "--setting", "128-128", "--reduce", "project"]) == 0
    columns = FeatureStore.open(tmp_path / "other").columns
    assert columns["apivr-video-128"].encoder == "derived:project=128,seed=0"


def test_a_video_that_is_in_train_and_in_test_is_told(tmp_path: Path) -> None:
    root = tmp_path / "apivr"
    write_apivr(root, videos=(6, 2, 8))
    videos = load(root / "test_v.pkl")
    videos[1] = load(root / "train_v.pkl")[0]
    (root / "test_v.pkl").write_bytes(pickle.dumps(videos))
    (root / "test_label.pkl").write_bytes(pickle.dumps([[1.0], [2.0], [9.0]]))
    report = prepare_activitynet(root, tmp_path / "store", shares=Shares(val=0.0))
    assert any(
        "the very same video is in train and in 1 pairs of test" in w for w in report.warnings
    )
    assert any("1 classes of test are not in train, e.g. 9" in w for w in report.warnings)


def test_odd_files_are_named(tmp_path: Path) -> None:
    root = tmp_path / "apivr"
    write_apivr(root, videos=(6, 2, 8))
    (root / "test_i.pkl").write_bytes(pickle.dumps(np.ones((2, 128), "f4")))
    with pytest.raises(ImportRefused, match=r"test_label\.pkl: has 3 labels for 2 images"):
        prepare_activitynet(root, tmp_path / "store")
    (root / "test_i.pkl").write_bytes(pickle.dumps(np.ones((3, 1, 1, 2), "f4")))
    with pytest.raises(ImportRefused, match=r"test_i\.pkl: has the shape \[3, 1, 1, 2\]"):
        prepare_activitynet(root, tmp_path / "store")
    (root / "test_i.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ImportRefused, match="holds no array of numbers"):
        prepare_activitynet(root, tmp_path / "store")
    (root / "test_i.pkl").write_bytes(pickle.dumps(Path("x")))
    with pytest.raises(ImportRefused, match="is not a pickle of numpy arrays"):
        prepare_activitynet(root, tmp_path / "store")
    (root / "test_i.pkl").unlink()
    with pytest.raises(ManifestError, match=r"test_i\.pkl: there is no such file; the layout is"):
        prepare_activitynet(root, tmp_path / "store")
    assert not (tmp_path / "store").exists()
