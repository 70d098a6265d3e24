"""What a sweep is to run: which runs, by which names, and what is refused before anything is."""

from pathlib import Path
from typing import Any

import pytest

from scfae.store.errors import ConfigError
from scfae.train.sweeps.arguments import axis_values, parse_sweep_args
from scfae.train.sweeps.plan import LONGEST_NAME, SweepPlan, cell_name, grid_of, normal_key

BASE: dict[str, Any] = {"store": "s", "columns": {"video": "v", "audio": "a"}, "label": "digit"}


def names(plan: SweepPlan) -> list[str]:
    return [cell.name for cell in plan.cells(Path("sweep"))]


def test_every_setting_meets_every_seed() -> None:
    plan = SweepPlan(BASE, grid_of({"lr": [1e-2, 1e-3], "optim.epochs": [2]}), (3, 1))
    assert names(plan) == [
        "lr=0.01,epochs=2,seed=3",
        "lr=0.01,epochs=2,seed=1",
        "lr=0.001,epochs=2,seed=3",
        "lr=0.001,epochs=2,seed=1",
    ]
    cell = plan.cells(Path("sweep"))[3]
    assert (cell.config.optim.lr, cell.config.optim.epochs, cell.config.loop.seed) == (1e-3, 2, 1)
    assert cell.config.loop.run == "sweep/lr=0.001,epochs=2,seed=1"


def test_a_plan_survives_being_written_down() -> None:
    plan = SweepPlan(BASE, ({"lr": 0.1}, {"options": {"expansion": 2}}), (1, 2))
    assert SweepPlan.from_dict(plan.as_dict()) == plan


def test_values_that_spell_one_setting_are_one_run() -> None:
    plan = SweepPlan(BASE, grid_of({"lr": ["1e-3", 0.001, "0.001"]}))
    assert names(plan) == ["lr=0.001,seed=1"]


def test_entries_of_mappings_vary() -> None:
    grid = grid_of({"data.columns.video": ["v", "w"], "options.expansion": [2]})
    first, second = SweepPlan(BASE, grid).cells(Path("sweep"))
    assert second.config.data.columns == {"video": "w", "audio": "a"}
    assert second.config.model.options == {"expansion": 2}
    assert first.name == "columns.video=v,options.expansion=2,seed=1"


def test_a_recipe_is_each_methods_own() -> None:
    plan = SweepPlan(BASE | {"recipe": "authors"}, grid_of({"fusion": ["misa", "mmin"]}))
    lrs = {cell.setting["fusion"]: cell.config.optim for cell in plan.cells(Path("sweep"))}
    assert lrs["misa"] != lrs["mmin"]


def test_names_are_safe_short_and_distinct() -> None:
    slash, dash = (cell_name({"store": value}, 1) for value in ("a/b", "a-b"))
    assert "/" not in slash
    assert slash != dash
    long = [cell_name({"label": "x" * 300 + end}, 1) for end in "ab"]
    assert long[0] != long[1]
    assert all(len(name) <= LONGEST_NAME for name in long)


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        ({"lrr": [1]}, r"lrr: no such setting\. Did you mean lr"),
        ({"model.lr": [1]}, "model.lr: lr is a setting of optim, not of model"),
        ({"run": ["x"]}, "run: the sweep's folder holds its runs"),
        ({"loop.seed": [1]}, "seed: give seeds by --seeds"),
        ({"lr": []}, "grid: lr = .*a list of values is due"),
        ({"lr": "abc"}, "grid: lr = 'abc': a list of values is due"),
        ({"lr": [-1]}, r"\[lr=-1\] the config cannot be used:\n  lr = -1"),
        ({"lr": [1], "optim.lr": [2]}, "lr: given twice"),
    ],
)
def test_what_cannot_be_run_is_said_first(grid: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        SweepPlan(BASE, grid_of(grid)).cells(Path("sweep"))


@pytest.mark.parametrize("seeds", [(), (-1,), (True,), (2**32,)])
def test_seeds_are_whole_numbers(seeds: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="seeds: "):
        SweepPlan(BASE, seeds=seeds).cells(Path("sweep"))


def test_a_grid_is_typed_as_words_or_as_json() -> None:
    assert axis_values("masking", "none,bernoulli:0.3") == ["none", "bernoulli:0.3"]
    assert axis_values("masking", ["none", "only:a,b"]) == ["none", "only:a,b"]
    assert axis_values("options.expansion", "2,4") == [2, 4]
    assert axis_values("lr", 0.001) == ["0.001"]
    assert normal_key("optim.lr") == normal_key("lr") == "lr"


def test_the_file_may_say_what_varies_and_flags_win(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    text = "store: s\ncolumns: {v: a}\nlabel: d\nrun: sweeps/a\nseed: 5\n"
    path.write_text(f"{text}sweep: {{seeds: [1, 2], grid: {{lr: [1e-3, 3e-4]}}}}\n")
    request = parse_sweep_args([str(path)])
    assert request.folder == Path("sweeps/a")
    assert request.plan is not None
    assert names(request.plan)[:2] == ["lr=0.001,seed=1", "lr=0.001,seed=2"]
    request = parse_sweep_args([str(path), "--seeds", "7", "--grid", "epochs=1,2"])
    assert request.plan is not None
    assert names(request.plan) == ["epochs=1,seed=7", "epochs=2,seed=7"]
    path.write_text(text)
    request = parse_sweep_args([str(path)])
    assert request.plan is not None
    assert names(request.plan) == ["seed=5"]


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ("sweep: 3", "sweep: a mapping of seeds, grid, settings, search"),
        ("sweep: {sed: [1]}", "sweep.sed: no such setting. Did you mean seeds"),
        (
            "sweep: {grid: {lr: [1]}, settings: [{lr: 2}]}",
            "a sweep has one of .*, not grid and settings",
        ),
        ("sweep: {settings: {lr: 2}}", "a list of mappings of settings is due"),
        ("sweep: {seeds: [one]}", "seeds: 'one' is no whole number"),
        ("sweep: {seeds: 3}", "sweep.seeds = 3: a list of whole numbers is due"),
        ("sweep: {trials: 3}", "trials: only a search has trials"),
        ("sweep: {grid: [1]}", "sweep.grid: a mapping of settings is due"),
    ],
)
def test_what_is_odd_in_the_file_is_named(tmp_path: Path, section: str, sentence: str) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(f"store: s\ncolumns: {{v: a}}\nlabel: d\nrun: r\n{section}\n")
    with pytest.raises(ConfigError, match=sentence):
        parse_sweep_args([str(path)])


def test_going_on_takes_nothing_else() -> None:
    with pytest.raises(ConfigError, match=r"--resume s goes on with the sweep's own .*--grid"):
        parse_sweep_args(["--resume", "s", "--grid", "lr=1"])
    with pytest.raises(ConfigError, match="run: missing"):
        parse_sweep_args(["--lr", "1"])
