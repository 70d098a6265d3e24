"""Figure 4: which runs its panels need, and what was found in them.

A: cosines of task and auxiliary gradients through training, on FakeAVCeleb. B: the norm of the
task's gradient through training, on CMU-MOSEI. C: shared and specific parts in the plane, of the
runs of A. All are ordinary runs that sample their gradients, beside those of the tables.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from scfae.extract.device import choose_device
from scfae.store import FeatureStore, FeatureStream
from scfae.store.errors import PartsMissing

from ..analysis.analysis import analyse
from ..analysis.basis import outdated
from ..analysis.drawing import known_cosines
from ..analysis.exports import write_analysis
from ..analysis.reading import KeptProjection, read_analysis, read_projection
from ..config import RunConfig
from ..gradient_log import read_lines
from ..runs import RunFolder
from ..seeds import OverSeeds
from ..splits import make_splits
from ..sweeps.folder import SweepFolder, is_done
from ..sweeps.plan import Cell
from .costs import CostTable
from .data import Part
from .figure4_numbers import HEADS, HEADS_NOTE, Shared, conclusion, row_of
from .further import Step
from .plan import PlannedRow, PlannedTable, Planner, all_cells
from .tables import FULL, DatasetName, Table, read_published

LEAST_SAMPLES: Final = 24
"""Steps of a run that are sampled, at least, where it has so many; of longer runs one in 50."""
PACES: Final = (50, 20, 10, 4, 2, 1)
SHOWN: Final = 150
DASH: Final = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class PlannedFigure:
    """The runs of the two sets.

    Attributes:
        cosines: Of panels A and C.
        norms: Of panel B.
    """

    cosines: PlannedTable
    norms: PlannedTable

    @property
    def tables(self) -> tuple[PlannedTable, PlannedTable]:
        """Both."""
        return self.cosines, self.norms


@dataclass(frozen=True, slots=True)
class Method:
    """What a method's runs on one set have.

    Attributes:
        name: As the figure calls it.
        lines: Of each seed, the sampled steps.
        note: Why there are none; empty if there are.
    """

    name: str
    lines: tuple[Sequence[dict[str, Any]], ...]
    note: str = ""

    @property
    def cosines(self) -> list[float]:
        """Every cosine that there is, of all seeds."""
        return [value for lines in self.lines for value in known_cosines(lines)]


@dataclass(frozen=True, slots=True)
class FigureTable(CostTable):
    """Figure 4, with its figures as a table.

    Attributes:
        cosines: Panel A.
        norms: Panel B.
        parts: Panel C: the parts of each method, or why there are none.
        data: What the two sets are called here.
    """

    cosines: tuple[Method, ...]
    norms: tuple[Method, ...]
    parts: Mapping[str, KeptProjection | str]
    data: tuple[str, str]

    @property
    def caption(self) -> str:
        """Its number, its title, on what data ours is."""
        return f"Figure {self.number}: {self.title}. Ours on {'; '.join(dict.fromkeys(self.data))}"

    @property
    def conclusion(self) -> str:
        """Where SCFAE's gradients differ from another method's beyond noise."""
        return conclusion({row.name: row.values for row in self.rows})


def plan_figure(planner: Planner, parts: Mapping[DatasetName, Part]) -> PlannedFigure:
    """Return the runs of the figure, each sampling its gradients about as often.

    Raises:
        ConfigError: A setting cannot be used.
        StoreError, TaskError: The data cannot be.
    """
    panels = [Table.model_validate(one) for one in read_published("fig4")["panels"]]
    first, second = (_planned(planner, panel, parts.get(panel.dataset)) for panel in panels)
    return PlannedFigure(first, second)


def _planned(planner: Planner, panel: Table, part: Part | None) -> PlannedTable:
    plain = planner.plan(panel, part)
    rows = []
    for row in plain.rows:
        sampling = row.row
        if row.cells:
            config = row.cells[FULL][0].config
            sampling = sampling.model_copy(
                update={"settings": {"gradients_every": _pace(config), **row.row.settings}}
            )
        rows.append(sampling)
    return planner.plan(panel.model_copy(update={"rows": tuple(rows)}), part)


def _pace(config: RunConfig) -> int:
    """Return how many steps lie between two samples."""
    view = make_splits(FeatureStore.open(config.data.store), config.data).train
    stream = FeatureStream(
        view,
        batch_size=config.optim.batch_size,
        seed=config.loop.seed,
        group_batches=config.loop.group_batches,
    )
    steps = config.optim.epochs * len(stream)
    return next((pace for pace in PACES if steps // pace >= LEAST_SAMPLES), 1)


def part_steps(planned: PlannedFigure) -> Iterator[Step]:
    """Return the runs of panel C whose parts are to be laid in the plane."""
    for cell in all_cells([planned.cosines]):
        if not is_done(cell, evaluated=False):
            continue
        run = RunFolder(cell.config.loop.run)
        kept = read_analysis(run.path)
        is_there = kept is not None and "parts" in {*kept.get("splits", ()), *kept["left_out"]}
        if kept is None or not is_there or outdated(run, kept) is not None:
            yield Step(f"parts of {cell.name}", partial(_analyse_parts, cell))


def _analyse_parts(cell: Cell) -> None:
    run, device = cell.config.loop.run, choose_device(cell.config.loop.device)
    try:
        found = analyse(run, aspects=["parts"], most_shown=SHOWN, club_seeds=1, device=device)
    except PartsMissing as error:
        found = analyse(run, aspects=[], device=device)
        found.left_out["parts"] = str(error)
    write_analysis(found)


def read_figure(planned: PlannedFigure, sweep: SweepFolder | None) -> FigureTable:
    """Return what the figure's runs have found so far.

    Args:
        planned: The runs.
        sweep: Their folder, for failures; None where nothing was run.
    """
    failures = {} if sweep is None else sweep.failures()
    cosines, norms = (
        tuple(_method(row, failures) for row in table.rows) for table in planned.tables
    )
    parts = {row.row.name: _parts(row) for row in planned.cosines.rows}
    sharing = {row.row.name: _shared(row) for row in planned.cosines.rows}
    by_name = {one.name: one for one in cosines}
    rows = []
    for one in norms:
        above = by_name.get(one.name, Method(one.name, ()))
        shared = sharing.get(one.name, ())
        rows.append(row_of(one.name, above.lines, one.lines, shared, one.note or above.note))
    document = read_published("fig4")
    data = tuple(
        "printed data only" if one.part is None else f"{one.part.dataset}: {one.part.title}"
        for one in planned.tables
    )
    part = next((one.part for one in planned.tables if one.part is not None), None)
    notes = [part.note] if part is not None and part.note else []
    counts = sorted({len(one.lines) for one in (*cosines, *norms) if one.lines})
    seeds = " or ".join(map(str, counts)) or "no"
    notes.append(
        f"Over {seeds} {'seed' if counts == [1] else 'seeds'}, mean ± standard deviation; in "
        "brackets the 95 % interval of the mean over seeds, by Student's t and cut to what the "
        "figure can be (none of one seed): the steps of one training depend on each other, so that "
        "they are no samples to resample."
    )
    notes.append(HEADS_NOTE)
    return FigureTable(
        "fig4",
        document["number"],
        document["title"],
        HEADS,
        tuple(rows),
        (*notes, *document["footnotes"]),
        cosines,
        norms,
        parts,
        (data[0], data[1]),
    )


def _method(row: PlannedRow, failures: Mapping[str, str]) -> Method:
    if not row.cells:
        return Method(row.row.name, (), row.why_not)
    cells = row.cells[FULL]
    failed = [cell for cell in cells if cell.name in failures]
    if failed:
        return Method(row.row.name, (), f"failed: {failures[failed[0].name]}")
    done = [cell for cell in cells if is_done(cell, evaluated=False)]
    if len(done) < len(cells):
        return Method(row.row.name, (), f"{len(cells) - len(done)} of {len(cells)} runs to do")
    lines = tuple(read_lines(cell.config.loop.run) for cell in cells)
    if not all(lines):
        return Method(row.row.name, (), "no gradients were sampled in training")
    return Method(row.row.name, lines)


def _parts(row: PlannedRow) -> KeptProjection | str:
    """Return the parts of the first seed's run in the plane, or why there are none."""
    document = _document(_first(row)) if row.cells else None
    if document is None:
        return row.why_not or "not analysed yet"
    kept = read_projection(_first(row).config.loop.run)
    if kept is not None:
        return kept
    if "parts" not in document["left_out"]:
        return "there are too few samples to show"
    return f"{row.row.name.lower()} has no shared and specific parts"


def _first(row: PlannedRow) -> Cell:
    return row.cells[FULL][0]


def _document(cell: Cell) -> dict[str, Any] | None:
    """Return what an analysis kept of a run, None if the run or its analysis is not done."""
    if not is_done(cell, evaluated=False):
        return None
    return read_analysis(Path(cell.config.loop.run))


def _shared(row: PlannedRow) -> list[Shared]:
    """Return of each seed CKA of the modalities' shared parts, and of each one's two: means."""
    found: list[Shared] = []
    for document in map(_document, row.cells.get(FULL, ())):
        pairs = [] if document is None else document["sharing"]
        both = [one["cka"] for one in pairs if one["first"].endswith(", shared")]
        own = [
            one["cka"]
            for one in pairs
            if one["first"].endswith(", specific") and one["second"].endswith(", shared")
        ]
        found.append((OverSeeds.of(both).mean, OverSeeds.of(own).mean))
    return found
