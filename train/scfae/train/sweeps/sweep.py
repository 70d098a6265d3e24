"""`sweep`: run every setting with every seed, go on with what was stopped, tell what came out."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scfae.store.errors import ConfigError, RunStateError

from ..loop import Progress
from ..report import write_comparison
from ..runs import write_json
from ..stopping import StopSignals
from .children import run_side_by_side
from .folder import SweepFolder
from .plan import Cell, SweepPlan, grid_of, search_plan
from .results import SweepResult, read_results
from .running import SweepInterrupted, Tell, run_in_turn
from .search import Searching, check_extra
from .space import TRIALS

RESULTS_FILE = "results.json"
COMPARISON_FILE = "comparison.html"
BOOTSTRAP = 1000


def sweep(
    base: Mapping[str, Any],
    folder: str | Path,
    *,
    seeds: Sequence[int] = (1,),
    grid: Mapping[str, Sequence[Any]] | None = None,
    settings: Sequence[Mapping[str, Any]] | None = None,
    search: Mapping[str, Any] | None = None,
    trials: int = TRIALS,
    jobs: int = 1,
    bootstrap: int | None = BOOTSTRAP,
    tell: Tell | None = None,
    progress: Progress | None = None,
) -> SweepResult:
    """Train and evaluate every setting with every seed; what is done already is not done again.

    Args:
        base: Settings that all runs share, as `load_config` takes them, without `run`.
        folder: Of the sweep; its runs are folders in it.
        seeds: Each setting is trained once with each.
        grid: Values of settings, combined in every way: `{"lr": [1e-3, 3e-4]}`.
        settings: Or the settings themselves: `[{"fusion": "misa"}, {"fusion": "mmin"}]`.
        search: Or ranges and choices that Optuna proposes settings from, by what was best on
            validation: `{"lr": {"log": [1e-4, 1e-2]}, "fusion": ["scfae", "concat"]}`.
        trials: Settings that a search tries.
        jobs: Runs at a time; more than one are processes of their own.
        bootstrap: Resamples behind the intervals of evaluations; None leaves evaluations out.
        tell: Receives each cell that ends, and why it failed, or None.
        progress: Receives (runs done, runs in all, what happens now).

    Returns:
        Every run and every setting over its seeds; a run that failed is a row of it.

    Raises:
        ConfigError: A setting cannot be used, or what all runs share differs from the sweep's.
        RunStateError: The folder is no sweep's, or another process runs the sweep.
        SweepInterrupted: SIGTERM or SIGINT came; checkpoints were written.
    """
    if sum(one is not None for one in (grid, settings, search)) > 1:
        raise ConfigError("a sweep has a grid, a list of settings or a search: one of them.")
    if search is not None:
        plan = search_plan(dict(base), search, tuple(seeds), trials)
    else:
        plan = SweepPlan(dict(base), _asked(grid, settings), tuple(seeds))
    return run_plan(plan, folder, jobs=jobs, bootstrap=bootstrap, tell=tell, progress=progress)


def _asked(
    grid: Mapping[str, Sequence[Any]] | None, settings: Sequence[Mapping[str, Any]] | None
) -> tuple[Mapping[str, Any], ...]:
    return tuple(settings) if settings is not None else grid_of(grid or {})


def run_plan(
    plan: SweepPlan,
    folder: str | Path,
    *,
    jobs: int = 1,
    bootstrap: int | None = BOOTSTRAP,
    tell: Tell | None = None,
    progress: Progress | None = None,
) -> SweepResult:
    """Run a plan; see `sweep`."""
    if plan.search is not None:
        check_extra()
    plan.probe().cells(Path(folder))  # whatever is wrong is said before there is a folder
    found = open_sweep(plan, folder, jobs)
    with found.lock(), StopSignals() as stop:
        found.check_same(plan)

        def run(cells: Sequence[Cell], progress: Progress | None = progress) -> None:
            run_cells(
                found,
                cells,
                jobs=jobs,
                bootstrap=bootstrap,
                stop=stop,
                tell=tell,
                progress=progress,
            )

        if plan.search is None:
            cells = found.placed(plan.cells(found.path))
            found.ask(plan.as_dict())
            run(cells)
        else:
            searching = Searching(found, plan, jobs)
            while searching.propose():
                cells = searching.cells_under_way()
                ended = len(searching.cells()) - len(cells)
                run(cells, _among(progress, ended, plan.search.trials * len(plan.seeds)))
                searching.tell()
                if stop.signum is not None:
                    raise SweepInterrupted(stop.signum, found.path)
            cells = searching.cells()
        return conclude(found, cells)


def _among(progress: Progress | None, ended: int, count: int) -> Progress | None:
    """Return the progress of some runs as that of `count`, of which others have ended."""
    if progress is None:
        return None
    return lambda done, total, text: progress(ended + done, count, text)


def resume_sweep(
    folder: str | Path,
    *,
    jobs: int = 1,
    bootstrap: int | None = BOOTSTRAP,
    tell: Tell | None = None,
    progress: Progress | None = None,
) -> SweepResult:
    """Go on with what was asked last of a sweep; see `sweep`.

    Raises:
        RunNotFound: There is no sweep.
    """
    plan = SweepFolder(folder).plan()
    return run_plan(plan, folder, jobs=jobs, bootstrap=bootstrap, tell=tell, progress=progress)


def open_sweep(plan: SweepPlan, folder: str | Path, jobs: int) -> SweepFolder:
    """Return the sweep's folder, made if it is not there.

    Raises:
        ConfigError: Fewer jobs than one, or this is one of several processes of torchrun.
        RunStateError: The folder is no sweep's.
    """
    check_jobs(jobs)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "a sweep is one process that starts others by --jobs: leave torchrun out."
        )
    if SweepFolder.exists(folder):
        return SweepFolder(folder)
    return SweepFolder.create(folder, plan.as_dict())


def check_jobs(jobs: int) -> None:
    """Check how many runs there may be at a time.

    Raises:
        ConfigError: Fewer than one.
    """
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1, not {jobs}.")


def run_cells(
    sweep: SweepFolder,
    cells: Sequence[Cell],
    *,
    jobs: int,
    bootstrap: int | None,
    stop: StopSignals,
    tell: Tell | None,
    progress: Progress | None,
) -> None:
    """Run what is not done of the cells, in this process or, several at a time, in others.

    Raises:
        SweepInterrupted: A signal came.
    """
    heard = (lambda cell, failure: None) if tell is None else tell
    if jobs == 1:
        run_in_turn(sweep, cells, bootstrap=bootstrap, stop=stop, tell=heard, progress=progress)
    else:
        run_side_by_side(
            sweep, cells, jobs=jobs, bootstrap=bootstrap, stop=stop, tell=heard, progress=progress
        )


def conclude(sweep: SweepFolder, cells: Sequence[Cell]) -> SweepResult:
    """Read what was found back from the folder, and keep it there with the page that compares."""
    result = read_results(sweep, cells)
    write_json(sweep.path / RESULTS_FILE, result.as_dict())
    evaluated = [run.path for run in result.runs if run.evaluation is not None]
    if len(evaluated) > 1:
        write_comparison(evaluated, sweep.path / COMPARISON_FILE)
    return result


def read_sweep(folder: str | Path) -> SweepResult:
    """Return what a sweep has found so far; it may be running.

    Raises:
        RunNotFound, RunStateError: There is no sweep, or it is damaged.
    """
    found = SweepFolder(folder)
    try:
        cells = found.plan().cells(found.path)
    except ConfigError as error:
        raise RunStateError(
            f"{found.path} was asked for what cannot be used now: {error}"
        ) from None
    return read_results(found, found.placed(cells))
