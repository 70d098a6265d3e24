"""A search proposes by what validation said; a kill changes nothing of what it proposes."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from scfae.store import FeatureStore
from scfae.store.errors import ConfigError, RunStateError
from scfae.train.runs import RunFolder
from scfae.train.sweeps import search as searching
from scfae.train.sweeps.arguments import parse_sweep_args
from scfae.train.sweeps.plan import search_plan
from scfae.train.sweeps.results import SweepResult
from scfae.train.sweeps.space import dimension
from scfae.train.sweeps.sweep import read_sweep, resume_sweep, sweep

from ..small_runs import assert_same_run
from .test_sweep import Heard, base_of

SPACE: dict[str, Any] = {
    "lr": {"log": [1e-5, 1e-1]},
    "epochs": {"int": [1, 2]},
    "columns": [{"video": "video"}, {"audio": "audio"}],
}
TRIALS = 4


def run_search(store: FeatureStore, folder: Path, **how: Any) -> SweepResult:
    given: dict[str, Any] = {"search": SPACE, "trials": TRIALS, "bootstrap": None}
    base = base_of(store)
    del base["epochs"], base["lr"]
    return sweep(base, folder, **(given | how))


def values(result: SweepResult) -> list[tuple[dict[str, Any], float | None]]:
    return [(dict(one.setting), one.validation.mean) for one in result.settings]


@pytest.fixture(scope="module")
def searched(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search; not to be changed."""
    folder = tmp_path_factory.mktemp("searches") / "search"
    run_search(store, folder)
    return folder


def test_trials_are_settings_of_the_space(searched: Path) -> None:
    result = read_sweep(searched)
    assert len(result.settings) == TRIALS
    for one in result.settings:
        assert 1e-5 <= one.setting["lr"] <= 1e-1
        assert one.setting["epochs"] in (1, 2)
        assert one.setting["columns"] in SPACE["columns"]
        assert one.is_whole
    assert len({one.setting["lr"] for one in result.settings}) == TRIALS
    best = max(result.settings, key=lambda one: one.validation.mean or 0)
    assert result.best is not None
    assert result.best.validation == best.validation


def test_optuna_reads_the_same_trials(searched: Path) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    backend = JournalFileBackend(str(searched / searching.JOURNAL_FILE))
    study = optuna.load_study(study_name=searching.STUDY, storage=JournalStorage(backend))
    result = read_sweep(searched)
    assert study.direction.name == "MAXIMIZE"
    assert [trial.value for trial in study.trials] == [value for _, value in values(result)]
    assert [trial.params["lr"] for trial in study.trials] == [
        one.setting["lr"] for one in result.settings
    ]


@pytest.mark.parametrize("lines", range(1, 17, 3))
def test_a_kill_changes_nothing_of_what_is_tried(
    store: FeatureStore, searched: Path, tmp_path: Path, lines: int
) -> None:
    # As a kill leaves it: so much of the journal, its last line cut, and the runs as they were.
    folder = tmp_path / "search"
    shutil.copytree(searched, folder)
    journal = folder / searching.JOURNAL_FILE
    content = journal.read_bytes().splitlines(keepends=True)
    assert len(content) > 16
    journal.write_bytes(b"".join(content[:lines]) + content[lines][:-5])
    assert values(run_search(store, folder)) == values(read_sweep(searched))


def test_a_stopped_search_goes_on_to_the_same_runs(
    store: FeatureStore, searched: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "search"

    class Cut(Exception):
        pass

    def tell(cell: Any, failure: str | None) -> None:
        if cell.name == read_sweep(searched).runs[1].name:
            raise Cut

    with pytest.raises(Cut):
        run_search(store, folder, tell=tell)
    assert len(read_sweep(folder).settings) == 2
    result = resume_sweep(folder, bootstrap=None)
    assert values(result) == values(read_sweep(searched))
    for mine, theirs in zip(result.runs, read_sweep(searched).runs, strict=True):
        assert_same_run(RunFolder(mine.path), RunFolder(theirs.path))


def test_more_trials_are_added_to_those_there(
    store: FeatureStore, searched: Path, tmp_path: Path
) -> None:
    folder, heard = tmp_path / "search", Heard()
    shutil.copytree(searched, folder)
    result = run_search(store, folder, trials=TRIALS + 2, tell=heard)
    assert values(result)[:TRIALS] == values(read_sweep(searched))
    assert len(result.settings) == TRIALS + 2
    assert heard == [run.name for run in result.runs[TRIALS:]]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"search": {"lr": {"log": [1e-5, 1]}}}, "search, space: "),
        ({"seeds": (1, 2)}, r"seeds: \(1,\) there, \(1, 2\) now"),
        ({"search": None, "grid": {"lr": [1.0]}}, "search, space: .* there, None now"),
    ],
)
def test_a_search_keeps_its_space_and_seeds(
    store: FeatureStore, searched: Path, changed: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=f"is a sweep of another config(.|\n)*{sentence}"):
        run_search(store, searched, **changed)


def test_a_failing_trial_is_a_row_and_is_not_tried_again(
    store: FeatureStore, tmp_path: Path
) -> None:
    folder, heard = tmp_path / "search", Heard()
    space = {"lr": {"log": [1e25, 1e30]}}
    result = run_search(store, folder, search=space, trials=2, tell=heard)
    assert [run.state for run in result.runs] == ["failed", "failed"]
    assert result.best is None
    resume_sweep(folder, bootstrap=None, tell=heard)
    assert len(heard) == 2


def test_without_optuna_the_extra_is_named(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the extra: pip install 'scfae\[optuna\]'"):
        run_search(store, tmp_path / "search")
    assert not (tmp_path / "search").exists()
    assert importlib.util.find_spec("optuna") is not None


@pytest.mark.parametrize(
    ("key", "given", "sentence"),
    [
        ("lr", "log:0:1", "a logarithm needs LOW above 0"),
        ("lr", "log:1:1", "LOW must be below HIGH"),
        ("lr", "log:1", "two numbers, LOW and HIGH"),
        ("lr", "log:a:b", "two numbers, LOW and HIGH"),
        ("lr", "normal:0:1", r"uniform\|log\|int\|log-int:LOW:HIGH or a list"),
        ("epochs", "int:1:2.5", "whole ones for int"),
        ("epochs", {"int": [1, 2], "log": [1, 2]}, "or a list of choices is due"),
        ("fusion", [], "at least one choice"),
        ("task", ["binary"], "task says what is measured"),
    ],
)
def test_what_no_range_is_is_said(key: str, given: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        dimension(key, given)


def test_both_ends_of_a_range_are_checked_first(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[epochs=0\]"):
        run_search(store, tmp_path / "search", search={"epochs": {"int": [0, 3]}})
    with pytest.raises(ConfigError, match="no such model"):
        run_search(store, tmp_path / "search", search={"fusion": ["scfae", "concat", "scfea"]})
    with pytest.raises(ConfigError, match="trials must be at least 1"):
        run_search(store, tmp_path / "search", trials=0)
    assert not (tmp_path / "search").exists()


def test_a_damaged_journal_is_named(store: FeatureStore, searched: Path, tmp_path: Path) -> None:
    folder = tmp_path / "search"
    shutil.copytree(searched, folder)
    (folder / searching.JOURNAL_FILE).write_text("not json\nnot json\n")
    with pytest.raises(RunStateError, match=r"optuna\.journal is damaged"):
        run_search(store, folder)


def test_a_search_is_typed_in_words_or_in_yaml(tmp_path: Path) -> None:
    words = ["--store", "s", "--columns", "v=a", "--label", "d", "--run", "r"]
    typed = parse_sweep_args(
        [*words, "--trials", "7", "--search", "optim.lr=log:1e-4:1e-2", "fusion=scfae,concat"]
    )
    path = tmp_path / "experiment.yaml"
    path.write_text(
        "{store: s, columns: {v: a}, label: d, run: r, sweep: {trials: 7, search: "
        "{lr: {log: [1e-4, 1e-2]}, fusion: [scfae, concat]}}}"
    )
    written = parse_sweep_args([str(path)])
    assert typed.plan is not None
    assert written.plan is not None
    assert typed.plan.search == written.plan.search
    assert typed.plan.search is not None
    assert typed.plan.search.trials == 7
    assert json.dumps(typed.plan.as_dict())
    assert search_plan({}, {"lr": "uniform:0:1"}, (1,), 1).search is not None
