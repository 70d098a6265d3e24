"""Two runs are compared on the same resamples of the same samples."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from scfae.cli.main import main
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError, RunStateError
from scfae.train.evaluation import evaluate
from scfae.train.kept import SCORES_FILE
from scfae.train.paired import compare_runs
from scfae.train.runs import RunFolder

from .small_runs import train_small


@pytest.fixture(scope="module")
def weak(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that has hardly begun to learn."""
    run = train_small(
        store.path, tmp_path_factory.mktemp("weak") / "run", epochs=1, lr=1e-4, lr_start=1e-4
    )
    evaluate(run.path, bootstrap=0, probes=False)
    return run


def test_a_run_differs_from_itself_by_nothing(finished: RunFolder) -> None:
    found = compare_runs(finished.path, finished.path, resamples=20)
    assert list(found) == ["video", "audio", "video+audio"]
    for by_metric in found.values():
        for one in by_metric.values():
            assert (one.difference, one.interval, one.p) == (0.0, (0.0, 0.0), 1.0)


def test_a_clear_difference_is_found_and_turns_its_sign(
    finished: RunFolder, weak: RunFolder
) -> None:
    there = compare_runs(weak.path, finished.path, resamples=100)["video+audio"]["accuracy"]
    back = compare_runs(finished.path, weak.path, resamples=100)["video+audio"]["accuracy"]
    document = finished.read("evaluation.json")
    assert there.second == pytest.approx(document["conditions"]["video+audio"]["accuracy"])
    assert there.n == document["n"]
    assert there.difference == pytest.approx(-(back.difference or 0.0))
    assert there.interval is not None
    assert there.interval[0] > 0
    assert there.p == 0.0


def test_pairing_is_narrower_than_two_intervals(finished: RunFolder, tmp_path: Path) -> None:
    # The same run, wrong on three samples more: everything else cancels.
    other = tmp_path / "run"
    shutil.copytree(finished.path, other)
    with np.load(other / SCORES_FILE) as archive:
        arrays = {name: archive[name] for name in archive.files}
    scores, truth = arrays["scores/video+audio"], arrays["targets/video+audio"]
    right = np.flatnonzero(scores.argmax(axis=1) == truth)[:3]
    scores[right] = np.roll(scores[right], 1, axis=1)
    np.savez(other / SCORES_FILE, allow_pickle=False, **arrays)
    one = compare_runs(finished.path, other, resamples=300)["video+audio"]["accuracy"]
    assert one.difference == pytest.approx(-3 / one.n)
    assert one.interval is not None
    share = 3 / one.n
    expected = 1.96 * np.sqrt(share * (1 - share) / one.n)
    assert one.interval[1] - one.interval[0] == pytest.approx(2 * expected, rel=0.3)


def test_runs_that_cannot_be_compared_are_named(
    store: FeatureStore, finished: RunFolder, tmp_path: Path
) -> None:
    other = train_small(store.path, tmp_path / "fake", epochs=1, label="fake")
    with pytest.raises(RunStateError, match="classification of 'fake': they answer different"):
        compare_runs(finished.path, other.path)
    fresh = train_small(store.path, tmp_path / "fresh", epochs=1)
    with pytest.raises(RunStateError, match="is not evaluated yet: scfae evaluate"):
        compare_runs(finished.path, fresh.path)
    some = train_small(store.path, tmp_path / "some", epochs=1, where={"fake": 0})
    evaluate(some.path, bootstrap=0, probes=False)
    with pytest.raises(RunStateError, match="evaluated on other samples"):
        compare_runs(finished.path, some.path)
    with pytest.raises(ConfigError, match="bootstrap must be at least 1"):
        compare_runs(finished.path, finished.path, resamples=0)


def test_the_command_prints_a_document_or_a_table(
    finished: RunFolder, weak: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", str(finished.path), str(weak.path), "--bootstrap", "20"]
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["differences"][str(weak.path)]["audio"]["accuracy"]["n"] > 0
    assert main(words) == 0
    assert "  video+audio  accuracy: " in capsys.readouterr().out
    assert main(["compare", str(finished.path)]) == 2
