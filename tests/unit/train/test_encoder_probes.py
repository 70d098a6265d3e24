"""Encoders probed alone: a case whose figures are known beforehand, and their difference."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from scfae.cli.main import main
from scfae.store import FeatureStore
from scfae.store.errors import RunStateError
from scfae.train import encoder_probes
from scfae.train.encoder_probes import (
    DEGRADATION_FILE,
    PROBES_FILE,
    degradation,
    probe_encoders,
    read_degradation,
)
from scfae.train.loop import train
from scfae.train.runs import RunFolder

from .small_runs import TASK_SETTINGS, make_config, task_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return task_store(tmp_path_factory.mktemp("probes") / "store")


@pytest.fixture(scope="module")
def run(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with adapters, which begin as the identity and are left so: nothing learns."""
    config = make_config(
        store.path,
        tmp_path_factory.mktemp("run") / "run",
        task="deepfake",
        **TASK_SETTINGS["deepfake"],
        adapters=True,
        fusion="concat",
        epochs=1,
        lr=1e-12,
        lr_start=1e-12,
        standardise=False,
    )
    return train(config).path


def test_a_probe_is_of_the_modality_and_its_own_label(store: FeatureStore, run: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    found = probe_encoders(run, bootstrap=20)
    assert set(found) == {"video", "audio"}
    assert RunFolder(run).read(PROBES_FILE)["modalities"]["video"] == found["video"].as_dict()
    # By hand: an adapter that is the identity gives the stored rows, so the probe is of these.
    for modality, probe in found.items():
        x, y = {}, {}
        for split in ("train", "val", "test"):
            view = store.view(modality=modality, split=split, labels=[f"fake_{modality}"])
            rows = [view[i] for i in range(len(view))]
            kept = [one for one in rows if len(one.features["modality"])]
            x[split] = np.stack([one.features["modality"].mean(axis=0) for one in kept])
            y[split] = np.array([one.labels[f"fake_{modality}"] for one in kept])
        scale = x["train"].std(axis=0)
        x = {k: (v - x["train"].mean(axis=0)) / scale for k, v in x.items()}
        by_strength = {}
        for strength in (0.001, 0.01, 1.0):
            model = LogisticRegression(C=strength, max_iter=200).fit(x["train"], y["train"])
            by_strength[strength] = (
                roc_auc_score(y["val"], model.decision_function(x["val"])),
                roc_auc_score(y["test"], model.decision_function(x["test"])),
            )
        best = max(by_strength, key=lambda one: by_strength[one][0])
        assert probe.strength == best
        assert probe.metrics["roc_auc"] == pytest.approx(by_strength[best][1])
        assert probe.n == len(y["test"])
        low, high = probe.intervals["roc_auc"] or (1.0, 0.0)
        assert low <= (probe.metrics["roc_auc"] or 0.0) <= high


def keep(folder: Path, scores: dict[str, list[float]], targets: list[int]) -> Path:
    """Keep probes of four test samples by hand."""
    folder.mkdir()
    (folder / "config.yaml").write_text("")
    arrays: dict[str, npt.NDArray[Any]] = {}
    for modality, ones in scores.items():
        shares = np.array(ones)
        arrays[f"ids/{modality}"] = np.array([f"s{i}" for i in range(len(ones))])
        arrays[f"targets/{modality}"] = np.array(targets[: len(ones)])
        arrays[f"scores/{modality}"] = np.stack([1 - shares, shares], axis=1)
    np.savez(folder / encoder_probes.PROBE_SCORES_FILE, allow_pickle=False, **arrays)
    return folder


def test_damage_is_the_difference_by_hand(tmp_path: Path) -> None:
    targets = [0, 0, 1, 1, 1]
    # Joint: one of four right pairs is lost and one answer; alone: all are right.
    joint = keep(tmp_path / "joint", {"video": [0.1, 0.6, 0.4, 0.9]}, targets)
    alone = keep(tmp_path / "alone", {"video": [0.2, 0.3, 0.7, 0.8, 0.1]}, targets)
    found = degradation(joint, {"video": alone}, bootstrap=200)["video"]
    assert (found["accuracy"].joint, found["accuracy"].alone) == (0.5, 1.0)
    assert found["accuracy"].delta == -0.5
    assert (found["roc_auc"].joint, found["roc_auc"].delta) == (0.75, -0.25)
    low, high = found["roc_auc"].interval or (1.0, 1.0)
    assert low <= -0.25 <= high <= 0.0
    assert (joint / DEGRADATION_FILE).is_file()
    kept = read_degradation(joint)["video"]["accuracy"]
    assert kept == {"joint": 0.5, "alone": 1.0, "delta": -0.5, "ci95": list(kept["ci95"])}


def test_what_cannot_be_probed_is_said(store: FeatureStore, tmp_path: Path) -> None:
    plain = train(make_config(store.path, tmp_path / "plain", epochs=1))
    with pytest.raises(RunStateError, match="trains neither encoders nor adapters"):
        probe_encoders(plain.path)
    joint = keep(tmp_path / "joint", {"video": [0.1, 0.9]}, [0, 1])
    with pytest.raises(RunStateError, match="is not probed yet"):
        degradation(joint, {"video": plain.path})
    with pytest.raises(RunStateError, match="has trained no encoder of audio"):
        degradation(joint, {"audio": joint})


def test_the_command_tells_probes_and_changes(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["probe", str(run), "--alone", f"video={run}", "--bootstrap", "5"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert re.search(
        r"audio +accuracy +0\.\d{3} \[0\.\d{3}, [01]\.\d{3}\] +of \d+ test samples", said
    )
    assert re.search(r"roc_auc +\+0\.000 \[\+0\.000, \+0\.000\] +joint minus alone", said)
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["video"]["change"]["accuracy"]["delta"] == 0.0
    assert found["audio"]["change"] == {}
