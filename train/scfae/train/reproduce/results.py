"""What a table's runs have found, read back from their folders.

A figure is the mean over seeds with their deviation. Its interval is of the bootstrap over test
samples, its ends averaged over seeds (and over the conditions of an average): that is no narrower
than the interval of the mean itself. A figure of gradients is of training and has no test samples:
its interval is that of the mean over seeds, by Student's t.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..branch_masking import BRANCHES_FILE
from ..evaluation import EVALUATION_FILE
from ..gradient_probe import ALL
from ..gradients import GRADIENTS_FILE
from ..runs import RunFolder
from ..seeds import OverSeeds, interval_of_mean
from ..sweeps.folder import SweepFolder
from ..sweeps.plan import Cell
from .data import Part
from .degradation import degradation_measurement
from .plan import PlannedRow, PlannedTable
from .tables import FULL, GRADIENT_METRICS, Column, Row, Table

State = Literal["published", "waiting", "failed", "measured"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure of ours.

    Attributes:
        metric: The table's name of it.
        seeds: Mean, deviation and number of seeds, as a fraction.
        interval: 95 % interval over test samples, of gradients over seeds; None where there is
            none.
    """

    metric: str
    seeds: OverSeeds
    interval: tuple[float, float] | None

    def as_dict(self) -> dict[str, Any]:
        """Return the figure as plain JSON values."""
        interval = None if self.interval is None else list(self.interval)
        return {"metric": self.metric, **self.seeds.as_dict(), "ci95": interval}


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A row with what was found.

    Attributes:
        row: Which.
        state: `published`: not run; `waiting`: not all of its runs are finished; `failed`: one
            has failed; `measured`.
        note: Why it is not measured.
        figures: By column head, one for each of its metrics; empty where nothing was measured.
        runs: Its run folders, by the condition that they are for.
        num_samples: Test samples behind the last column.
    """

    row: Row
    state: State
    note: str
    figures: Mapping[str, tuple[Measurement, ...]]
    runs: Mapping[str, tuple[Path, ...]]
    num_samples: int | None = None

    @property
    def num_seeds(self) -> int:
        """Seeds behind its figures."""
        return max((one.seeds.n for some in self.figures.values() for one in some), default=0)


@dataclass(frozen=True, slots=True)
class ResultTable:
    """A table with what was found.

    Attributes:
        table: Which.
        part: The data; None where nothing was run.
        rows: In order.
        baseline: By column head, what who sees no features scores.
    """

    table: Table
    part: Part | None
    rows: tuple[ResultRow, ...]
    baseline: Mapping[str, tuple[float | None, ...]]


def read_table_results(planned: PlannedTable, sweep: SweepFolder | None) -> ResultTable:
    """Return what a table's runs have found so far.

    Args:
        planned: The table and its runs.
        sweep: The folder of the runs, for failures; None where nothing was run.
    """
    failures = {} if sweep is None else sweep.failures()
    rows = tuple(_row(planned, row, failures) for row in planned.rows)
    measured = next((one for one in planned.rows if one.cells), None)
    return ResultTable(planned.table, planned.part, rows, _baseline(planned, measured))


def _row(planned: PlannedTable, row: PlannedRow, failures: Mapping[str, str]) -> ResultRow:
    runs = {
        key: tuple(Path(cell.config.loop.run) for cell in cells) for key, cells in row.cells.items()
    }
    if not row.cells:
        return ResultRow(row.row, "published", row.why_not, {}, runs)
    cells = [cell for some in row.cells.values() for cell in some]
    failed = [cell for cell in cells if cell.name in failures]
    if failed:
        return ResultRow(row.row, "failed", failures[failed[0].name], {}, runs)
    waiting = sum(_evaluated(cell) is None for cell in cells)
    if waiting:
        return ResultRow(row.row, "waiting", f"{waiting} of {len(cells)} runs to do", {}, runs)
    assert planned.part is not None
    measure = degradation_measurement if planned.table.kind == "degradation" else _measurement
    figures = {
        column.head: tuple(measure(planned.part, row, column, metric) for metric in column.metrics)
        for column in planned.table.columns
    }
    last = _evaluated(cells[-1])
    assert last is not None
    return ResultRow(row.row, "measured", "", figures, runs, last["n"])


def _evaluated(cell: Cell) -> Mapping[str, Any] | None:
    path = Path(cell.config.loop.run)
    if not (path / EVALUATION_FILE).is_file():
        return None
    return RunFolder(path).read(EVALUATION_FILE)


def conditions_of(part: Part, column: Column) -> list[tuple[str, str]]:
    """Return (letters, name) of each condition of a column; no letters where there is but one."""
    if column.is_of_gradients:
        return []
    if not column.conditions:
        return [("", part.condition(None))]
    return [(letters, part.condition(letters)) for letters in column.conditions]


def _measurement(part: Part, row: PlannedRow, column: Column, metric: str) -> Measurement:
    if column.is_of_gradients:
        each = [value for value in _gradients(row, metric) if value is not None]
        return Measurement(metric, OverSeeds.of(each), interval_of_mean(each))
    by_seed: dict[int, list[Mapping[str, Any]]] = {}
    for letters, condition in conditions_of(part, column):
        for cell in row.cells_for(letters):
            found = _conditions(cell, row.row).get(condition)
            if found is not None:
                by_seed.setdefault(cell.seed, []).append(found)
    name = part.metric(metric)
    values = [_mean([one.get(name) for one in some]) for some in by_seed.values()]
    every = [one.get(f"{name}_ci95") for some in by_seed.values() for one in some]
    return Measurement(metric, OverSeeds.of(values), mean_ends(every))


def mean_ends(every: Sequence[Sequence[float] | None]) -> tuple[float, float] | None:
    """Return the mean of the ends of intervals; None if one is missing."""
    known = [ends for ends in every if ends is not None]
    if not known or len(known) < len(every):
        return None
    low, high = (statistics.fmean(ends[place] for ends in known) for place in range(2))
    return low, high


def _gradients(row: PlannedRow, metric: str) -> list[float | None]:
    """Return a figure of gradients of each seed, of all modalities together."""
    found: list[float | None] = []
    for cell in row.cells_for(FULL):
        run = RunFolder(cell.config.loop.run)
        if (run.path / GRADIENTS_FILE).is_file():
            found.append(run.read(GRADIENTS_FILE)["modalities"][ALL][GRADIENT_METRICS[metric]])
    return found


def _conditions(cell: Cell, row: Row) -> Mapping[str, Any]:
    """Return a run's figures by condition, with only one branch where the row says so."""
    run = RunFolder(cell.config.loop.run)
    if row.branches == "both":
        conditions: Mapping[str, Any] = run.read(EVALUATION_FILE)["conditions"]
        return conditions
    if not (run.path / BRANCHES_FILE).is_file():
        return {}
    masked: Mapping[str, Any] = run.read(BRANCHES_FILE)[row.branches]
    return masked


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _baseline(
    planned: PlannedTable, measured: PlannedRow | None
) -> dict[str, tuple[float | None, ...]]:
    """Return what who sees no features scores, as the first evaluated run has it."""
    if measured is None or planned.part is None:
        return {}
    part = planned.part
    found = {}
    for column in planned.table.columns:
        values = []
        for metric in column.metrics:
            each = []
            for letters, condition in conditions_of(part, column):
                evaluation = _evaluated(measured.cells_for(letters)[0])
                by_condition = {} if evaluation is None else evaluation["majority_of_conditions"]
                each.append(by_condition.get(condition, {}).get(part.metric(metric)))
            values.append(_mean(each))
        found[column.head] = tuple(values)
    return found
