"""Missing at random from stored masks, noise, offsets in time, linear models of one modality."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scfae.store import ColumnInfo, FeatureStore, FeatureStream
from scfae.store.errors import ConfigError
from scfae.store.testing import make_store
from scfae.store.writer import ShardSample
from scfae.train.evaluation import evaluate
from scfae.train.loading import load_run
from scfae.train.probes import linear_probes
from scfae.train.report import write_report
from scfae.train.robustness import MASK_FOLDER, _noise, _shifting
from scfae.train.runs import RunFolder
from scfae.train.splits import make_splits

from .small_runs import TASK_SETTINGS, task_store, train_small


@pytest.fixture(scope="module")
def robust(finished: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A copy of the finished run that may be evaluated again."""
    path = tmp_path_factory.mktemp("robust") / "run"
    shutil.copytree(finished.path, path)
    return RunFolder(path)


def test_missing_rates_are_read_from_stored_masks(robust: RunFolder) -> None:
    rates = (0.0, 0.3, 0.5)
    first = evaluate(robust.path, bootstrap=0, probes=False, missing_rates=rates)
    found = first.robustness["missing_rates"]["all"]
    assert list(found) == ["0", "0.3", "0.5"]
    full = first.conditions[-1]
    assert found["0"]["accuracy"] == full.metrics["accuracy"]
    assert {one["n"] for one in found.values()} == {full.n}  # each sample keeps a modality
    tables = sorted((robust.path / MASK_FOLDER).iterdir())
    assert len(tables) == 3
    stamps = [path.stat().st_mtime_ns for path in tables]
    again = evaluate(robust.path, bootstrap=0, probes=False, missing_rates=rates)
    assert again.robustness == first.robustness
    assert [path.stat().st_mtime_ns for path in tables] == stamps
    # What is stored is what is used, whatever a fresh draw would give.
    shutil.copy(tables[2], tables[1])
    forged = evaluate(robust.path, bootstrap=0, probes=False, missing_rates=(0.3,))
    assert forged.robustness["missing_rates"]["all"]["0.3"] == found["0.5"]
    assert "all missing 0.3: accuracy" in first.text()
    page = write_report(robust.path).read_text()
    assert '<th scope="row">all 0.3</th>' in page
    assert "Expected calibration error" in page


def test_noise_is_worse_the_louder_it_is_and_none_changes_nothing(robust: RunFolder) -> None:
    evaluation = evaluate(robust.path, bootstrap=0, probes=False, noise=(0.0, 20.0))
    found = evaluation.robustness["noise"]
    assert list(found) == ["video", "audio", "all"]
    full = evaluation.conditions[-1].metrics["accuracy"]
    assert all(one["0"]["accuracy"] == full for one in found.values())
    assert full is not None
    assert found["all"]["20"]["accuracy"] < 0.7 < full
    again = evaluate(robust.path, bootstrap=0, probes=False, noise=(20.0,))
    assert again.robustness["noise"]["all"]["20"] == found["all"]["20"]


def test_noise_has_the_size_asked_for_and_does_not_depend_on_the_batch(
    store: FeatureStore,
) -> None:
    train = store.view("train", video="video", audio="audio")
    damage = next(d for d in _noise(train, train, [0.5]) if d.what == "video")
    (whole,) = FeatureStream(train, batch_size=len(train), shuffle=False)
    moved = damage.change(whole)
    assert torch.equal(moved.features["audio"], whole.features["audio"])
    rows = whole.packed("video")[0]
    error = moved.packed("video")[0] - rows
    torch.testing.assert_close(error.std(dim=0), 0.5 * rows.std(dim=0), rtol=0.25, atol=0.0)
    outside = torch.arange(whole.features["video"].shape[1]) >= whole.lengths["video"][:, None]
    assert moved.features["video"][outside].abs().sum() == 0
    first = next(iter(FeatureStream(train, batch_size=5, shuffle=False)))
    alone = damage.change(first).features["video"]
    assert torch.equal(alone, moved.features["video"][:5, : alone.shape[1]])


def test_an_offset_moves_rows_and_holds_the_edge(store: FeatureStore) -> None:
    view = store.view("train", video="video", audio="audio")
    batch = next(iter(FeatureStream(view, batch_size=2, shuffle=False)))
    rows = torch.tensor([[1.0, 2, 3, 4], [1, 2, 0, 0]])[:, :, None]
    batch = replace(
        batch,
        features={**batch.features, "video": rows},
        lengths={**batch.lengths, "video": torch.tensor([4, 2])},
    )

    def shifted(count: int) -> list[list[float]]:
        moved = _shifting({"video": count})(batch).features["video"][:, :, 0]
        found: list[list[float]] = moved.tolist()
        return found

    assert shifted(0) == [[1, 2, 3, 4], [1, 2, 0, 0]]
    assert shifted(1) == [[1, 1, 2, 3], [1, 1, 0, 0]]
    assert shifted(-1) == [[2, 3, 4, 4], [2, 2, 0, 0]]
    assert shifted(9) == [[1, 1, 1, 1], [1, 1, 0, 0]]


def test_offsets_need_a_rate_of_rows_and_change_a_method_of_time(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", num_samples=60, labels={"digit": 2}, max_rows=6)
    info = ColumnInfo.create(
        "timed", "audio", encoder="synthetic", dim=7, weights="published", rows_per_second=2.0
    )
    random = np.random.default_rng(0)
    with store.add_column(info) as writer:
        for shard in range(store.samples.num_shards):
            samples = [
                ShardSample(
                    rows=random.normal(size=(6, 7)).astype(np.float32),
                    times=np.stack([np.arange(6) / 2, np.arange(6) / 2 + 0.5], axis=1),
                )
                for _ in store.samples.rows_of(shard)
            ]
            writer.commit(shard, samples)
    columns = {"video": "video", "audio": "timed"}
    run = train_small(store.path, tmp_path / "run", columns=columns, epochs=1)
    found = evaluate(run.path, bootstrap=0, probes=False, offsets_s=(0.0, 1.0))
    assert list(found.robustness["offsets_s"]) == ["audio"]
    none = found.robustness["offsets_s"]["audio"]["0"]
    assert none["accuracy"] == found.conditions[-1].metrics["accuracy"]
    plain = train_small(store.path, tmp_path / "plain", epochs=1)
    with pytest.raises(ConfigError, match="no column of the run says how many rows a second"):
        evaluate(plain.path, bootstrap=0, probes=False, offsets_s=(1.0,))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"missing_rates": (1.0,)}, "missing_rates: must be"), ({"noise": (-1.0,)}, "noise: must be")],
)
def test_numbers_out_of_range_are_named(
    robust: RunFolder, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate(robust.path, bootstrap=0, probes=False, **settings)


@pytest.mark.parametrize(
    "task",
    [
        "multilabel",
        "regression",
        pytest.param("classification", marks=pytest.mark.slow),
        pytest.param("deepfake", marks=pytest.mark.slow),
    ],
)
def test_a_linear_model_of_one_modality_alone_stands_in_the_table(
    tmp_path: Path, task: str
) -> None:
    store = task_store(tmp_path / "store")
    run = train_small(store.path, tmp_path / "run", task=task, epochs=1, **TASK_SETTINGS[task])
    evaluation = evaluate(run.path, bootstrap=0)
    metric = evaluation.task.headline
    by_name = {condition.name: condition for condition in evaluation.conditions}
    for modality in ("video", "audio"):
        probe, condition = evaluation.unimodal[modality], by_name[modality]
        assert probe.n == condition.n
        value, base = probe.metrics[metric], condition.measured.baseline[metric]
        assert value is not None
        assert value > (base or 0.0) + 0.2
        assert f"{modality} alone, linear" in evaluation.text()
    kept = run.read("evaluation.json")["unimodal"]
    assert kept["video"]["n"] == evaluation.unimodal["video"].n


def test_probes_learn_nothing_from_test_labels(tmp_path: Path) -> None:
    store = task_store(tmp_path / "store")
    run = train_small(store.path, tmp_path / "run", epochs=1, label="digit")
    loaded = load_run(run.path)
    splits = make_splits(store, loaded.config.data)
    some = linear_probes(loaded.task, splits, splits.test.with_rows(np.arange(20)))
    rest = linear_probes(loaded.task, splits, splits.test)
    assert some["video"].strength == rest["video"].strength
