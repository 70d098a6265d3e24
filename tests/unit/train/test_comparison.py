"""Runs side by side: what each reached, and what differs in how it was made."""

from pathlib import Path
from typing import Any

import pytest

from scfae.store import FeatureStore
from scfae.store.errors import RunStateError
from scfae.train.comparison import comparison
from scfae.train.evaluation import EVALUATION_FILE, evaluate
from scfae.train.runs import RunFolder

from .small_runs import train_small


def evaluated(run: RunFolder) -> tuple[RunFolder, dict[str, Any]]:
    return run, run.read(EVALUATION_FILE)


@pytest.fixture(scope="module")
def video_only(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = train_small(
        store.path,
        tmp_path_factory.mktemp("other") / "finished",  # the same name as the other run's folder
        columns={"video": "video"},
        label="fake",
        epochs=1,
        options={"shared_ratio": 0.25},
    )
    evaluate(run.path, bootstrap=0)
    return run


def test_conditions_that_a_run_has_not_are_dashes(
    finished: RunFolder, video_only: RunFolder
) -> None:
    page = comparison([evaluated(finished), evaluated(video_only)])
    assert [row["name"] for row in page["rows"]] == ["video", "audio", "video+audio"]
    (accuracy, *_) = page["tables"]
    rows = {row["name"]: row["figures"] for row in accuracy["rows"]}
    assert rows["audio"][1] == {"text": "\N{EN DASH}", "interval": ""}
    assert rows["video"][1]["interval"] == ""  # no bootstrap was asked for
    mine = finished.read(EVALUATION_FILE)
    assert rows["audio"][0]["text"] == f"{mine['conditions']['audio']['accuracy']:.3f}"
    assert rows["always the majority"][0]["text"] == f"{mine['majority']['accuracy']:.3f}"
    assert [table["metric"] for table in page["tables"]] == [
        "accuracy",
        "balanced accuracy",
        "ROC-AUC",
    ]


def test_runs_of_one_name_are_told_apart_by_path(
    finished: RunFolder, video_only: RunFolder
) -> None:
    page = comparison([evaluated(finished), evaluated(video_only)])
    assert page["runs"] == [str(finished.path), str(video_only.path)]


def test_differences_and_warnings_are_named(finished: RunFolder, video_only: RunFolder) -> None:
    page = comparison([evaluated(finished), evaluated(video_only)])
    differences = {row["name"]: row["values"] for row in page["differences"]}
    assert set(differences) == {"columns", "label", "epochs", "options"}
    assert differences["columns"] == ["video=video, audio=audio", "video=video"]
    assert differences["options"] == ["none", "shared_ratio=0.25"]
    assert "The runs answer different questions (digit, fake)." in page["notes"]
    assert any("noise" in note for note in page["notes"])
    assert any("different numbers of samples" in note for note in page["notes"])


def test_a_run_beside_itself_differs_in_nothing(finished: RunFolder) -> None:
    page = comparison([evaluated(finished), evaluated(finished)])
    assert page["differences"] == []


def test_a_run_that_is_not_evaluated_is_named(
    finished: RunFolder, store: FeatureStore, tmp_path: Path
) -> None:
    run = train_small(store.path, tmp_path / "run", epochs=1)
    with pytest.raises(RunStateError, match=r"is not evaluated yet: scfae evaluate .*run"):
        comparison([evaluated(finished), (run, None)])
