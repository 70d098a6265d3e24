"""Run the cells of a sweep one after the other in this process, or hand them to children.

A failing run is a row of the result, not the end of the sweep. A signal stops at the next step of
training, with a checkpoint, or after the evaluation that is being made.
"""

import logging
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from signal import SIGTERM, Signals

from scfae.store.errors import ScfaeError

from ..evaluation import EVALUATION_FILE, evaluate
from ..loop import Progress, train
from ..report import write_report
from ..runs import Interrupted, RunFolder
from ..stopping import StopSignals
from .folder import SweepFolder, is_done
from .plan import Cell

logger = logging.getLogger("scfae.train")

MOST_WAITING_S = 60.0
"""How long a run that another process holds is waited for: a killed sweep's children stop soon."""
LOGS = "logs"

Tell = Callable[[Cell, str | None], None]
"""Receives a cell when its run has ended, and why it failed, or None."""


class SweepInterrupted(Exception):
    """A sweep was stopped by a signal, its runs at a checkpoint; the text says how to go on.

    Attributes:
        signum: The signal, e.g. 15 for SIGTERM.
    """

    def __init__(self, signum: int, sweep: Path) -> None:
        self.signum = signum
        super().__init__(
            f"stopped by {Signals(signum).name}, with a checkpoint of what was being trained; "
            f"go on with: scfae sweep --resume {sweep}"
        )


def run_cell(cell: Cell, bootstrap: int | None, progress: Progress | None = None) -> None:
    """Train a cell's run and evaluate it, or do what is left of that.

    Args:
        cell: The run.
        bootstrap: Resamples behind the intervals of its evaluation; None evaluates nothing.
        progress: Receives (steps done, steps in all, text).

    Raises:
        ScfaeError: As `train` and `evaluate` do.
        Interrupted: A signal came while it was trained.
    """
    run = train(cell.config, progress=progress)
    if bootstrap is not None and not (run.path / EVALUATION_FILE).is_file():
        measure_cell(cell, bootstrap)


def measure_cell(cell: Cell, bootstrap: int) -> None:
    """Evaluate a cell's trained run, and write its report of that."""
    run = cell.config.loop.run
    evaluate(run, device=cell.config.loop.device, bootstrap=bootstrap)
    write_report(run)


def run_in_turn(
    sweep: SweepFolder,
    cells: Sequence[Cell],
    *,
    bootstrap: int | None,
    stop: StopSignals,
    tell: Tell,
    progress: Progress | None,
) -> None:
    """Run what is not done of the cells, one after the other.

    Raises:
        SweepInterrupted: A signal came.
    """
    left = [cell for cell in cells if not is_done(cell, evaluated=bootstrap is not None)]
    before = len(cells) - len(left)
    for number, cell in enumerate(left):
        within = _within(progress, before + number, len(cells), cell.name)
        wait_until_free(cell)
        failure = None
        try:
            run_cell(cell, bootstrap, within)
        except Interrupted as error:
            raise SweepInterrupted(error.signum, sweep.path) from None
        except Exception as error:
            failure = sentence(error)
            if not isinstance(error, ScfaeError):
                note_traceback(sweep, cell)
        sweep.note_failure(cell.name, failure)
        tell(cell, failure)
        if stop.signum is not None and number < len(left) - 1:
            raise SweepInterrupted(stop.signum or SIGTERM, sweep.path)


def sentence(error: BaseException) -> str:
    """Return why a run failed, as a person reads it in a row."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ScfaeError) else f"{type(error).__name__}: {text}"


def note_traceback(sweep: SweepFolder, cell: Cell) -> None:
    """Keep where an error that nobody foresaw came from."""
    (sweep.path / LOGS).mkdir(exist_ok=True)
    with open(sweep.path / LOGS / f"{cell.name}.log", "a", encoding="utf-8") as log:
        log.write(traceback.format_exc())


def wait_until_free(cell: Cell) -> None:
    """Wait for a process that still trains the run, such as a killed sweep's child, to stop."""
    until_s = time.monotonic() + MOST_WAITING_S
    path = cell.config.loop.run
    while RunFolder.exists(path) and RunFolder(path).is_locked():
        if time.monotonic() > until_s:
            return  # `train` says who holds it
        time.sleep(0.1)


def _within(progress: Progress | None, done: int, count: int, name: str) -> Progress | None:
    """Return the progress of a run as that of a sweep: runs done of all, and where this one is."""
    if progress is None:
        return None
    progress(done, count, name)
    return lambda step, steps, text: progress(done, count, f"{name}: {text}, step {step}/{steps}")
