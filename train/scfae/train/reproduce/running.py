"""`reproduce`: run what tables need and is not there, read it back, and write it down.

```
OUT/
  runs/            a sweep's folder: each run an ordinary run folder, shared by all tables
  table5.md .tex .csv .json
  report.html      all tables that were asked for
```

The same command again goes on where it was stopped or killed. A run is done once: another table, a
further seed or method runs only what is new; what reads a changed column, or has another setting,
is another run, and the earlier one stays and is named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..loop import Progress
from ..stopping import StopSignals
from ..sweeps.folder import SweepFolder
from ..sweeps.plan import Cell, SweepPlan
from ..sweeps.running import SweepInterrupted, Tell
from ..sweeps.sweep import check_jobs, open_sweep, run_cells
from .costs import CostTable, table_12
from .data import Part
from .figure4 import part_steps, plan_figure, read_figure
from .further import (
    branch_steps,
    do_steps,
    evaluation_steps,
    gradient_steps,
    probe_steps,
)
from .plan import Planner, all_cells, superseded
from .protocols import PROTOCOLS, Protocol, ProtocolName
from .results import ResultTable, read_table_results
from .tables import COSTS, FIGURE, DatasetName, read_table
from .verdicts import Verdict, verdicts

RUNS = "runs"


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What was found.

    Attributes:
        path: The folder.
        protocol: How methods were trained.
        tables: Every table, in the order they were asked for.
        verdicts: SCFAE beside the other rows, by table.
        failed: Why runs failed, by run.
        superseded: Runs on an earlier state of the data, by the run that took their place.
    """

    path: Path
    protocol: Protocol
    tables: tuple[ResultTable | CostTable, ...]
    verdicts: Mapping[str, tuple[Verdict, ...]]
    failed: Mapping[str, str]
    superseded: Mapping[str, Sequence[str]]

    @property
    def results(self) -> tuple[ResultTable, ...]:
        """The tables of figures that runs have."""
        return tuple(one for one in self.tables if isinstance(one, ResultTable))


def reproduce(
    names: Sequence[str],
    parts: Mapping[DatasetName, Part],
    out: str | Path,
    *,
    protocol: ProtocolName = "honest",
    num_seeds: int | None = None,
    jobs: int = 1,
    methods: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    bootstrap: int = 1000,
    tell: Tell | None = None,
    progress: Progress | None = None,
) -> Reproduction:
    """Run what tables of the paper need and is not there; return their figures.

    Args:
        names: Of `TABLES` and `COSTS`, and `FIGURE`.
        parts: The data of each data set that there is; tables of others are as printed.
        out: The folder, made if needed.
        protocol: How methods are trained.
        num_seeds: Seeds 1, 2, …; the protocol's number if not given.
        jobs: Runs at a time.
        methods: Only rows of these methods are run.
        settings: Settings of all runs that win over the protocol's, such as `epochs`.
        bootstrap: Resamples behind the intervals.
        tell: Receives each run that ends, and why it failed, or None.
        progress: Receives (runs done, runs in all, what happens now); after the runs, of
            what tables need beyond them.

    Raises:
        ConfigError: A setting cannot be used, or jobs are fewer than one.
        RunStateError: The folder holds something else, or another process runs it.
        SweepInterrupted: SIGTERM or SIGINT came; checkpoints were written.
    """
    check_jobs(jobs)
    folder, chosen = Path(out), PROTOCOLS[protocol]
    planner = Planner(
        folder / RUNS,
        chosen,
        num_seeds=chosen.num_seeds if num_seeds is None else num_seeds,
        methods=methods,
        overrides=settings,
    )
    planned = {
        name: planner.plan(table, parts.get(table.dataset))
        for name, table in (
            (name, read_table(name)) for name in names if name not in (*COSTS, FIGURE)
        )
    }
    figure = plan_figure(planner, parts) if FIGURE in names else None
    folder.mkdir(parents=True, exist_ok=True)
    cells = all_cells([*planned.values(), *(figure.tables if figure else ())])
    sweep, earlier = None, {}
    if cells:
        record = SweepPlan(
            {}, tuple(cell.setting for cell in cells), tuple(sorted({c.seed for c in cells}))
        )
        sweep = open_sweep(record, folder / RUNS, jobs)
        with sweep.lock(), StopSignals() as stop:
            sweep.ask(record.as_dict())
            earlier = superseded(cells, sweep.runs())
            measured = {cell.name for cell in all_cells(list(planned.values()))}
            for is_measured in (True, False):  # the figure's own runs need no evaluation
                some = [cell for cell in cells if (cell.name in measured) == is_measured]
                if some and stop.signum is not None:  # it came with the last run before
                    raise SweepInterrupted(stop.signum, sweep.path)
                run_cells(
                    sweep,
                    some,
                    jobs=jobs,
                    bootstrap=bootstrap if is_measured else None,
                    stop=stop,
                    tell=tell,
                    progress=progress,
                )
            every = list(planned.values())
            steps = [
                *evaluation_steps(every, bootstrap),
                *branch_steps(every, bootstrap),
                *gradient_steps(every),
                *probe_steps(every, bootstrap),
                *(part_steps(figure) if figure is not None else ()),
            ]
            do_steps(steps, stop, progress)
            if stop.signum is not None:
                raise SweepInterrupted(stop.signum, sweep.path)
    tables: list[ResultTable | CostTable] = []
    for name in names:
        if name in COSTS:
            if progress is not None:
                progress(0, 1, f"measure {name}")
            tables.append(_costs(name, planner.device))
        elif name in planned:
            tables.append(read_table_results(planned[name], sweep))
        elif figure is not None:
            tables.append(read_figure(figure, sweep))
    results = [one for one in tables if isinstance(one, ResultTable)]
    found = {}
    for number, one in enumerate(results):
        if progress is not None:
            progress(number, len(results), f"intervals of {one.table.name}")
        found[one.table.name] = verdicts(one, resamples=bootstrap)
    failed = {} if sweep is None else _failed(sweep, cells)
    return Reproduction(folder, chosen, tuple(tables), found, failed, earlier)


def _costs(name: str, device: str) -> CostTable:
    if name == "table12":
        return table_12()
    from .timing import table_13  # timm takes a while to import

    return table_13(device=device)


def _failed(sweep: SweepFolder, cells: Sequence[Cell]) -> dict[str, str]:
    failures = sweep.failures()
    return {cell.name: failures[cell.name] for cell in cells if cell.name in failures}
