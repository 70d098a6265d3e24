"""What tables need of runs beyond training and evaluation, as steps to do one after another.

Evaluations made anew where more or fewer resamples are asked for, branches masked (Table 14),
gradients of trained models (Table 8), encoders probed and compared (Table 6), parts laid in the
plane (Figure 4). Each step writes into a run's folder, and what is there, of the epoch that the run
has selected, is no step: a stop loses the one at most that is done at the time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scfae.extract.device import choose_device

from ..branch_masking import BRANCHES_FILE, mask_branches
from ..encoder_probes import (
    PROBES_FILE,
    degradation,
    is_compared,
    is_probed,
    probe_encoders,
)
from ..evaluation import EVALUATION_FILE
from ..gradients import GRADIENTS_FILE, analyse_gradients
from ..loop import Progress
from ..runs import RunFolder
from ..stopping import StopSignals
from ..sweeps.folder import is_done
from ..sweeps.plan import Cell
from ..sweeps.running import measure_cell
from .degradation import ALONE
from .plan import PlannedRow, PlannedTable, all_cells
from .tables import FULL, Row


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do in a run's folder.

    Attributes:
        text: What, for a person.
        do: Does it.
    """

    text: str
    do: Callable[[], object]


def do_steps(steps: Sequence[Step], stop: StopSignals, progress: Progress | None) -> None:
    """Do steps in order, until a signal comes.

    Args:
        steps: Which.
        stop: A signal ends this after the step that it came in.
        progress: Receives (steps done, steps in all, what happens now).
    """
    for number, step in enumerate(steps):
        if stop.signum is not None:
            return
        if progress is not None:
            progress(number, len(steps), step.text)
        step.do()


def evaluation_steps(planned: Sequence[PlannedTable], bootstrap: int) -> Iterator[Step]:
    """Return the evaluations whose intervals are of another number of resamples."""
    for cell, run in _done(all_cells(planned)):
        if not _is_of(run, EVALUATION_FILE, bootstrap):
            make = partial(measure_cell, cell, bootstrap)
            yield Step(f"evaluate {cell.name}", make)


def branch_steps(planned: Sequence[PlannedTable], bootstrap: int) -> Iterator[Step]:
    """Return the runs to evaluate with one branch alone, where a row asks for that."""
    rows = [row for table in planned for row in table.rows if row.row.branches != "both"]
    cells = {cell.name: cell for row in rows for some in row.cells.values() for cell in some}
    for cell, run in _done(list(cells.values())):
        if not _is_of(run, BRANCHES_FILE, bootstrap):
            make = partial(mask_branches, run.path, device=_device(cell), bootstrap=bootstrap)
            yield Step(f"mask branches of {cell.name}", make)


def gradient_steps(planned: Sequence[PlannedTable]) -> Iterator[Step]:
    """Return the runs whose gradients are to be taken, where a table has a column of them."""
    tables = [one for one in planned if any(column.is_of_gradients for column in one.table.columns)]
    for cell, run in _done(all_cells(tables)):
        if not _is_of(run, GRADIENTS_FILE):
            make = partial(analyse_gradients, run.path, device=_device(cell))
            yield Step(f"gradients of {cell.name}", make)


def probe_steps(planned: Sequence[PlannedTable], bootstrap: int) -> Iterator[Step]:
    """Return the probes of encoders of runs that are done, then what compares them with alone."""
    tables = [one for one in planned if one.table.kind == "degradation"]
    for cell, run in _done(all_cells(tables)):
        if not is_probed(run.path):
            make = partial(probe_encoders, run.path, device=_device(cell), bootstrap=bootstrap)
            yield Step(f"probe encoders of {cell.name}", make)
    for table in tables:
        for row in table.rows:
            if row.row.method != ALONE and row.cells:
                compare = partial(_compare, table, row, bootstrap)
                yield Step(f"compare encoders of {row.row.name}", compare)


def _compare(table: PlannedTable, row: PlannedRow, bootstrap: int) -> None:
    for cell in row.cells_for(FULL):
        run = Path(cell.config.loop.run)
        alone = _alone(table, row.row, cell.seed)
        if not alone or not all((path / PROBES_FILE).is_file() for path in (run, *alone.values())):
            continue
        if not is_compared(run, alone):
            degradation(run, alone, bootstrap=bootstrap)


def _alone(table: PlannedTable, row: Row, seed: int) -> Mapping[str, Path]:
    """Return by modality the run of a seed that trained its encoder alone, in a row's section."""
    assert table.part is not None
    found: dict[str, Path] = {}
    for other in table.rows:
        if other.row.method != ALONE or other.row.section != row.section:
            continue
        for letter, cells in other.cells.items():
            for cell in cells:
                if cell.seed == seed:
                    found[table.part.letters[letter]] = Path(cell.config.loop.run)
    return found


def _done(cells: Sequence[Cell]) -> Iterator[tuple[Cell, RunFolder]]:
    return ((cell, RunFolder(cell.config.loop.run)) for cell in cells if is_done(cell))


def _device(cell: Cell) -> str:
    return choose_device(cell.config.loop.device)


def _is_of(run: RunFolder, name: str, bootstrap: int | None = None) -> bool:
    """Return whether a document is there, of the selected epoch and of so many resamples."""
    if not (run.path / name).is_file():
        return False
    document = run.read(name)
    if bootstrap is not None and document.get("bootstrap") != bootstrap:
        return False
    best = run.state().get("best")
    return best is None or document.get("epoch") == best["epoch"]
