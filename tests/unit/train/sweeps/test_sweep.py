"""A sweep's folder is the truth: what is there is not run again, and its figures are read back."""

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from scfae.store import FeatureStore
from scfae.store.errors import ConfigError, RunNotFound, RunStateError
from scfae.train.comparison import comparison
from scfae.train.evaluation import EVALUATION_FILE
from scfae.train.loop import train
from scfae.train.runs import RunFolder
from scfae.train.seeds import over_seeds
from scfae.train.sweeps.children import visible_gpus
from scfae.train.sweeps.folder import SweepFolder, named_runs
from scfae.train.sweeps.plan import Cell
from scfae.train.sweeps.running import SweepInterrupted
from scfae.train.sweeps.sweep import read_sweep, resume_sweep, sweep

from ..small_runs import BOOTSTRAP, assert_same_run, make_config, signalling_at


def base_of(store: FeatureStore, **settings: Any) -> dict[str, Any]:
    """Return the settings of `small_runs.make_config`, for short runs."""
    flat = make_config(store.path, Path("run"), epochs=2, **settings).flat()
    return {name: value for name, value in flat.items() if name not in ("run", "seed")}


class Heard(list[str]):
    """The names of the runs that a sweep has made or tried."""

    def __call__(self, cell: Cell, failure: str | None) -> None:
        self.append(cell.name)


@pytest.fixture(scope="module")
def swept(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of two rates and two seeds; not to be changed."""
    folder = tmp_path_factory.mktemp("sweeps") / "rates"
    sweep(base_of(store), folder, seeds=(1, 2), grid={"lr": [1e-2, 1e-5]}, bootstrap=BOOTSTRAP)
    return folder


def test_a_cell_is_the_run_that_train_makes(
    store: FeatureStore, swept: Path, tmp_path: Path
) -> None:
    alone = train(make_config(store.path, tmp_path / "run", epochs=2, lr=1e-2, seed=2))
    assert_same_run(RunFolder(swept / "lr=0.01,seed=2"), alone)


def test_figures_are_means_over_seeds(swept: Path) -> None:
    result = read_sweep(swept)
    first, second = result.settings
    runs = [RunFolder(swept / f"lr=0.01,seed={seed}") for seed in (1, 2)]
    values = [run.state()["best"]["value"] for run in runs]
    assert first.validation.mean == pytest.approx(statistics.fmean(values))
    assert first.validation.sd == pytest.approx(statistics.stdev(values))
    tests = [run.read(EVALUATION_FILE)["conditions"]["audio"]["accuracy"] for run in runs]
    assert first.test["audio"]["accuracy"].mean == pytest.approx(statistics.fmean(tests))
    assert first.is_whole
    assert second.is_whole
    assert result.best is not None
    assert result.best.setting == {"lr": 0.01}
    assert json.loads((swept / "results.json").read_text()) == result.as_dict()
    text = result.text()
    assert "* lr=0.01" in text
    assert "2/2" in text
    page = (swept / "comparison.html").read_text()
    assert "mean ± standard deviation over seeds" in page


def test_a_sweep_stands_for_its_runs(swept: Path, tmp_path: Path) -> None:
    runs = named_runs([swept, tmp_path])
    assert len(runs) == 5
    assert runs[-1] == tmp_path
    groups = over_seeds(runs[:4])
    assert [len(group["runs"]) for group in groups] == [2, 2]
    tables = comparison([(run, run.read(EVALUATION_FILE)) for run in map(RunFolder, runs[:4])])
    accuracy, *_ = tables["seeds"]
    assert [row["name"] for row in accuracy["rows"]] == ["lr=0.01", "lr=1e-05"]
    mean = read_sweep(swept).settings[0].test["audio"]["accuracy"]
    assert accuracy["rows"][0]["figures"][1]["text"] == mean.text()
    alone = comparison([(run, run.read(EVALUATION_FILE)) for run in map(RunFolder, runs[:3:2])])
    assert alone["seeds"] is None
    page = (swept / "comparison.html").read_text()
    assert "over 2 seeds; always the majority: " in page


def test_test_figures_choose_nothing(swept: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(swept, copy)
    for path in copy.glob("lr=1e-05*/evaluation.json"):  # the worse one's, as if it were perfect
        record = json.loads(path.read_text())
        for condition in record["conditions"].values():
            condition["accuracy"] = 1.0
        path.write_text(json.dumps(record))
    best = read_sweep(copy).best
    assert best is not None
    assert best.setting == {"lr": 0.01}


def test_only_what_is_new_is_run(store: FeatureStore, tmp_path: Path) -> None:
    folder, heard = tmp_path / "sweep", Heard()
    how: dict[str, Any] = {"bootstrap": None, "tell": heard}
    sweep(base_of(store), folder, seeds=(1,), grid={"lr": [1e-2]}, **how)
    sweep(base_of(store), folder, seeds=(1, 2), grid={"lr": [1e-2]}, **how)
    assert heard == ["lr=0.01,seed=1", "lr=0.01,seed=2"]
    # Another axis whose first value is what the runs had: they are found by their settings.
    grid: dict[str, list[Any]] = {"lr": [1e-2], "masking": ["none", "bernoulli:0.3"]}
    result = sweep(base_of(store), folder, seeds=(1,), grid=grid, **how)
    assert heard[2:] == ["lr=0.01,masking=bernoulli:0.3,seed=1"]
    assert [run.name for run in result.runs] == ["lr=0.01,seed=1", heard[2]]
    assert result.not_counted == ("lr=0.01,seed=2",)
    assert "not counted: lr=0.01,seed=2" in result.text()
    # What was left unevaluated is evaluated, and not trained again.
    before = (folder / "lr=0.01,seed=1" / "events.jsonl").read_bytes()
    result = resume_sweep(folder, bootstrap=0)
    assert (folder / "lr=0.01,seed=1" / "events.jsonl").read_bytes() == before
    assert all(run.evaluation is not None for run in result.runs)


def test_what_all_runs_share_stays_as_it_was(store: FeatureStore, swept: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a sweep of another config(.|\n)*batch_size: 25"):
        sweep(base_of(store, batch_size=20), swept, seeds=(9,), grid={"lr": [1e-2]})
    assert not (swept / "lr=0.01,seed=9").exists()
    assert SweepFolder(swept).plan().seeds == (1, 2)


def test_a_failing_run_is_a_row(store: FeatureStore, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    settings: list[dict[str, Any]] = [{"label": "nothing"}, {"lr": 1e30}, {"lr": 1e-2}]
    result = sweep(base_of(store), folder, settings=settings, bootstrap=0)
    states = {run.name: (run.state, run.failure) for run in result.runs}
    assert [state for state, _ in states.values()] == ["failed", "failed", "finished"]
    assert "nothing" in str(states["label=nothing,seed=1"][1])
    assert "step" in str(states["lr=1e+30,seed=1"][1])
    assert "failed: label=nothing,seed=1: " in result.text()
    heard = Heard()
    resume_sweep(folder, bootstrap=0, tell=heard)
    assert heard == ["label=nothing,seed=1", "lr=1e+30,seed=1"]  # tried again, and only they


def test_a_signal_stops_at_a_checkpoint(store: FeatureStore, swept: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    how: dict[str, Any] = {"seeds": (1, 2), "grid": {"lr": [1e-2]}, "bootstrap": BOOTSTRAP}
    signal = signalling_at(6)
    count = 0

    def progress(done: int, total: int, text: str) -> None:
        nonlocal count
        count += text.endswith("/8")
        if count == 6:
            signal(6, total, text)

    with pytest.raises(SweepInterrupted, match=f"scfae sweep --resume {folder}") as stopped:
        sweep(base_of(store), folder, progress=progress, **how)
    assert stopped.value.signum == 15
    states = [run.state for run in read_sweep(folder).runs]
    assert states == ["interrupted", "waiting"]
    resume_sweep(folder, bootstrap=BOOTSTRAP)
    for seed in (1, 2):
        name = f"lr=0.01,seed={seed}"
        assert_same_run(RunFolder(folder / name), RunFolder(swept / name))


def test_several_at_a_time_are_the_same_runs(
    store: FeatureStore, swept: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    settings: list[dict[str, Any]] = [{"lr": 1e-2}, {"label": "nothing"}]
    result = sweep(
        base_of(store), folder, seeds=(1, 2), settings=settings, jobs=2, bootstrap=BOOTSTRAP
    )
    assert [run.state for run in result.runs] == ["finished", "finished", "failed", "failed"]
    assert "nothing" in str(result.runs[-1].failure)
    for seed in (1, 2):
        name = f"lr=0.01,seed={seed}"
        assert_same_run(RunFolder(folder / name), RunFolder(swept / name))


def test_folders_of_something_else_are_refused(
    store: FeatureStore, finished: RunFolder, tmp_path: Path
) -> None:
    with pytest.raises(RunStateError, match="is a run, and a sweep is a folder of runs"):
        sweep(base_of(store), finished.path)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunStateError, match=r"not empty and not a sweep \(it holds thesis.tex\)"):
        sweep(base_of(store), tmp_path)
    with pytest.raises(RunStateError, match="is a file; a sweep is a folder"):
        sweep(base_of(store), tmp_path / "thesis.tex")
    with pytest.raises(RunNotFound, match="there is no sweep at"):
        read_sweep(tmp_path)
    with pytest.raises(ConfigError, match="jobs must be at least 1"):
        sweep(base_of(store), tmp_path / "new", jobs=0)


def test_one_process_runs_a_sweep_at_a_time(store: FeatureStore, swept: Path) -> None:
    with (
        SweepFolder(swept).lock(),
        pytest.raises(RunStateError, match=r"is being run by process \d+"),
    ):
        resume_sweep(swept)


@pytest.mark.parametrize(
    "text", ["", "format: 1", "[", "format: 99\nbase: {}\nsettings: []\nseeds: []"]
)
def test_a_damaged_plan_is_named(swept: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(RunStateError, match=r"sweep\.yaml"):
        SweepFolder(tmp_path).plan()


def test_gpus_are_named_as_a_childs_environment_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1f, 3")
    assert visible_gpus() == ("GPU-1f", "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == ()
