"""Several columns of one modality in one run: as branches, or side by side."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfae.cli.main import main
from scfae.store import Chain, FeatureStore, derive
from scfae.store.errors import ConfigError, SchemaMismatch
from scfae.train.evaluation import evaluate
from scfae.train.loading import load_run
from scfae.train.paired import compare_runs
from scfae.train.report import write_report
from scfae.train.robustness import MASK_FOLDER
from scfae.train.runs import RunFolder

from .small_runs import TASK_SETTINGS, task_store, train_small

BRANCHES = {"video": "video", "video:motion": "motion", "audio": "audio"}
BESIDE = {"video": "video+motion", "audio": "audio"}
CONDITIONS = ["video", "audio", "video+audio"]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A store whose video has a second column, of the same clock."""
    store = task_store(tmp_path_factory.mktemp("two") / "store")
    derive(store, "video", "motion", Chain.create(pca=4))
    derive(store, "video", "turned", Chain.create(project=4))
    return FeatureStore.open(store.path)


@pytest.mark.parametrize("task", TASK_SETTINGS)
@pytest.mark.parametrize("columns", [BRANCHES, BESIDE], ids=["branches", "beside"])
def test_every_task_trains_on_them(
    two: FeatureStore, tmp_path: Path, task: str, columns: dict[str, str]
) -> None:
    settings: dict[str, Any] = {"task": task, **TASK_SETTINGS[task]}
    run = train_small(two.path, tmp_path / "run", columns=columns, epochs=2, **settings)
    found = evaluate(run.path, bootstrap=0)
    names = [one.name for one in found.conditions]
    if task == "retrieval":
        assert names[0] == ("video>video:motion" if columns is BRANCHES else "video>audio")
    else:
        assert names == CONDITIONS
    report = write_report(run.path)
    assert ("video:motion" if columns is BRANCHES else "video+motion") in report.read_text()


@pytest.fixture(scope="module")
def branched(two: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("branched")
    run = train_small(
        two.path, folder / "run", columns=BRANCHES, label="word", masking="bernoulli:0.4"
    )
    evaluate(run.path, bootstrap=0)
    return run


def test_each_branch_is_an_input_and_a_modality_is_shown_whole(branched: RunFolder) -> None:
    loaded = load_run(branched.path)
    assert list(loaded.columns) == list(BRANCHES)
    (one, _, _) = evaluate(branched.path, bootstrap=0, probes=False).conditions
    assert (one.name, one.modalities) == ("video", ("video", "video:motion"))


def test_damage_is_of_modalities(branched: RunFolder) -> None:
    found = evaluate(branched.path, bootstrap=0, probes=False, missing_rates=[0.5], noise=[1.0])
    assert list(found.robustness["noise"]) == ["video", "audio", "all"]
    assert found.robustness["missing_rates"]["all"]["0.5"]["n"] == found.n
    assert list((branched.path / MASK_FOLDER).iterdir())


def test_a_branch_can_be_swapped(branched: RunFolder) -> None:
    found = evaluate(branched.path, bootstrap=0, columns={"video:motion": "turned"})
    assert found.swapped == ("video:motion",)
    with pytest.raises(SchemaMismatch, match=r"video:motion=video has 10 features a row"):
        evaluate(branched.path, bootstrap=0, columns={"video:motion": "video"})
    with pytest.raises(ConfigError, match="the run has no modality 'motion'"):
        evaluate(branched.path, bootstrap=0, columns={"motion": "turned"})


def test_runs_with_and_without_a_branch_are_compared(
    branched: RunFolder, two: FeatureStore, tmp_path: Path
) -> None:
    plain = train_small(two.path, tmp_path / "plain", label="word", masking="bernoulli:0.4")
    evaluate(plain.path, bootstrap=0)
    assert list(compare_runs(plain.path, branched.path, resamples=20)) == CONDITIONS


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"video": "video", "video:a": "audio"}, "this is a column of audio, and video is video"),
        ({"video": "video", "video:a": "video"}, "columns.video:a = video: video is the same"),
        ({"video": "video", "video:a:b": "motion"}, "columns.video:a:b: a modality's name is a"),
        ({"video": "video", "video:": "motion"}, "columns.video:: a modality's name is a plain"),
        ({"video": "video+moton"}, "Did you mean motion"),
    ],
)
def test_wrong_branches_are_named(
    two: FeatureStore, tmp_path: Path, columns: dict[str, str], sentence: str
) -> None:
    with pytest.raises(Exception, match=sentence.replace("+", r"\+")) as caught:
        train_small(two.path, tmp_path / "run", columns=columns, label="word")
    assert isinstance(caught.value, ConfigError) or "moton" in str(caught.value)


def test_a_run_with_branches_is_exported(branched: RunFolder, tmp_path: Path) -> None:
    for name in ("run.pt2", "run.onnx"):
        assert main(["export", str(branched.path), str(tmp_path / name)]) == 0


def test_from_the_command_line(
    two: FeatureStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["--store", str(two.path), "--label", "word", "--run", str(run), "--epochs", "1"]
    columns = ["video=video+turned", "video:motion=motion", "audio=audio"]
    assert main(["train", *words, "--masking", "only:video", "--columns", *columns]) == 0
    assert main(["train", "--resume", str(run)]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["conditions"]) == CONDITIONS
    assert found["columns"] == dict(word.split("=") for word in columns)
    assert np.isfinite(found["conditions"]["video"]["accuracy"])
