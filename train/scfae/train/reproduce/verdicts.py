"""Whether SCFAE is ahead of another row beyond noise.

Both are measured on the same resamples of the test samples, and each resample draws the seeds anew
too: so the interval of the difference holds what another test set and other trainings would
change. With one seed a row, it holds the former alone. Where a table is of encoders, it is what
their probes say of the test samples that is resampled.

Shapes: N samples, R resamples.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..encoder_probes import read_probe_scores
from ..kept import KeptScores, read_scores
from ..metrics import classification_metrics
from ..paired import measure_on
from ..runs import RunFolder
from ..tasks import load_task
from .data import Part
from .results import ResultRow, ResultTable, conditions_of
from .tables import Row

Draws = npt.NDArray[np.float64]
Outcome = Literal["ahead", "behind", "within noise"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """SCFAE beside one row, by the table's headline column.

    Attributes:
        row: The other row.
        metric: Of the column, the first.
        difference: SCFAE minus it, a fraction.
        interval: Its 95 % interval.
        outcome: Where SCFAE is.
        num_seeds: Seeds of the two.
    """

    row: Row
    metric: str
    difference: float
    interval: tuple[float, float]
    outcome: Outcome
    num_seeds: tuple[int, int]

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as plain JSON values."""
        return {
            "row": self.row.label,
            "metric": self.metric,
            "difference": self.difference,
            "ci95": list(self.interval),
            "outcome": self.outcome,
            "seeds": list(self.num_seeds),
        }


def verdicts(result: ResultTable, *, resamples: int = 500) -> tuple[Verdict, ...]:
    """Return SCFAE beside every other measured row of its section.

    Args:
        result: A table's results.
        resamples: Draws behind each interval; 0 gives no verdicts.
    """
    if result.part is None or resamples < 1:
        return ()
    found = []
    drawn: dict[tuple[Path, str], Draws | None] = {}
    for row in result.rows:
        ours = _reference(result.rows, row)
        if ours is None or ours is row or row.state != "measured" or row.row.branches != "both":
            continue
        if ours.runs == row.runs:
            continue
        both = [_by_seed(result, one, resamples, drawn) for one in (ours, row)]
        if any(one is None for one in both):
            continue
        first, second = (one for one in both if one is not None)
        found.append(_verdict(result, row, first, second))
    return tuple(found)


def _reference(rows: Sequence[ResultRow], other: ResultRow) -> ResultRow | None:
    """Return the measured row of SCFAE as it is by default, in the section of another."""
    for one in rows:
        plain = not (one.row.options or one.row.settings) and one.row.branches == "both"
        is_ours = one.row.method == "scfae" and one.row.section == other.row.section
        if plain and is_ours and one.state == "measured":
            return one
    return None


def _by_seed(
    result: ResultTable, row: ResultRow, resamples: int, drawn: dict[tuple[Path, str], Draws | None]
) -> Draws | None:
    """Return the headline of each seed on every resample, `[seeds, R + 1]`, plain value first."""
    assert result.part is not None
    column = result.table.headline_column
    by_condition = []
    for letters, condition in conditions_of(result.part, column):
        runs = row.runs.get(letters, row.runs.get("full", ()))
        for run in runs:
            if (run, condition) not in drawn:
                metric = column.metrics[0]
                drawn[run, condition] = (
                    _of_probe(result.part, run, letters, metric, resamples)
                    if result.table.kind == "degradation"
                    else _of_run(result.part, run, condition, metric, resamples)
                )
        each = [drawn[run, condition] for run in runs]
        if any(one is None for one in each):
            return None
        by_condition.append(np.stack([one for one in each if one is not None]))
    mean: Draws = np.mean(by_condition, axis=0)
    return mean


def _of_run(part: Part, run: Path, condition: str, metric: str, resamples: int) -> Draws | None:
    """Return a run's figure on all samples, then on each resample, `[R + 1]`."""
    folder = RunFolder(run)
    task = load_task(folder.read("task.json"))
    kept = _sorted(read_scores(run))
    trials = {trial.name: trial for trial in task.trials(list(folder.columns))}
    if condition not in trials:
        return None
    trial = trials[condition]
    seen = np.flatnonzero(kept.scored[trial.shown[0]].seen)
    measure = measure_on(task, trial, kept.scored, seen)
    place = np.full(len(kept.ids), -1)
    place[seen] = np.arange(len(seen))
    generator = np.random.default_rng(0)
    values = []
    for number in range(resamples + 1):
        rows = np.arange(len(kept.ids))
        if number:  # the same samples for every run, whatever it has seen of them
            rows = generator.integers(len(rows), size=len(rows))
        rows = place[rows]
        value = measure(rows[rows >= 0]).get(part.metric(metric))
        values.append(np.nan if value is None else value)
    return np.array(values, dtype=np.float64)


def _of_probe(part: Part, run: Path, letter: str, metric: str, resamples: int) -> Draws:
    """Return the figure of a probe of one encoder on all samples, then on each resample."""
    ids, targets, scores = read_probe_scores(run, part.letters[letter])
    order = np.argsort(ids)
    generator = np.random.default_rng(0)
    values = []
    for number in range(resamples + 1):
        rows = order
        if number:
            rows = order[generator.integers(len(order), size=len(order))]
        value = classification_metrics(targets[rows], scores[rows])[part.metric(metric)]
        values.append(np.nan if value is None else value)
    return np.array(values, dtype=np.float64)


def _sorted(kept: KeptScores) -> KeptScores:
    """Return scores in the order of ids, so that runs draw the same samples."""
    order = np.argsort(kept.ids)
    scored = {
        shown: type(one)(one.targets[order], one.scores[order], one.seen[order])
        for shown, one in kept.scored.items()
    }
    return KeptScores(kept.ids[order], scored)


def _verdict(result: ResultTable, row: ResultRow, ours: Draws, other: Draws) -> Verdict:
    generator = np.random.default_rng(1)
    difference = float(ours[:, 0].mean() - other[:, 0].mean())
    drawn = []
    for place in range(1, ours.shape[1]):
        means = [
            one[generator.integers(len(one), size=len(one)), place].mean() for one in (ours, other)
        ]
        drawn.append(means[0] - means[1])
    known = np.array(drawn)[~np.isnan(drawn)]
    low, high = (float(end) for end in np.quantile(known, [0.025, 0.975]))
    outcome: Outcome = "ahead" if low > 0 else "behind" if high < 0 else "within noise"
    return Verdict(
        row.row,
        result.table.headline_column.metrics[0],
        difference,
        (low, high),
        outcome,
        (len(ours), len(other)),
    )


def standing(result: ResultTable, found: Sequence[Verdict]) -> dict[str, str]:
    """Return where SCFAE stands in a table: of how many rows it is ahead, and how far.

    Args:
        result: The table.
        found: Its verdicts, at least one.

    Returns:
        `name` and `title` of the table, `by` which column, how many rows SCFAE is `ahead` of,
        `behind`, and `within` noise of, and the `range` of the differences to them.
    """
    table = result.table
    counts = Counter(one.outcome for one in found)
    ends = sorted(found, key=lambda one: one.difference)
    least, most = (_difference(result, one, one.difference) for one in (ends[0], ends[-1]))
    head = f"Table {table.number}: " if table.number else ""
    is_of_encoders = table.kind == "degradation"
    return {
        "name": table.name,
        "title": head + table.title,
        "by": table.headline + (" of a probe of its encoders" if is_of_encoders else ""),
        "ahead": str(counts["ahead"]),
        "behind": str(counts["behind"]),
        "within": str(counts["within noise"]),
        "range": least if len(ends) == 1 else f"{least} to {most}",
    }


def _difference(result: ResultTable, one: Verdict, value: float) -> str:
    scale, digits = result.table.scale(one.metric), result.table.digits(one.metric)
    return f"{value * scale:+.{digits}f}"


def summary(result: ResultTable, found: Sequence[Verdict]) -> str:
    """Return in a sentence or two where SCFAE is ahead, where not, and by how much."""
    if not found:
        return ""
    by_outcome: Mapping[str, list[str]] = {
        outcome: [_told(result, one) for one in found if one.outcome == outcome]
        for outcome in ("ahead", "within noise", "behind")
    }
    head = result.table.headline
    parts = []
    if by_outcome["ahead"]:
        parts.append(f"ahead of {', '.join(by_outcome['ahead'])}")
    if by_outcome["behind"]:
        parts.append(f"behind {', '.join(by_outcome['behind'])}")
    if by_outcome["within noise"]:
        parts.append(f"not to be told from {', '.join(by_outcome['within noise'])}")
    seeds = {one.num_seeds for one in found}
    few = (
        " With one seed the intervals do not hold what another training would change."
        if any(1 in pair for pair in seeds)
        else ""
    )
    who = "SCFAE is"
    if result.table.kind == "degradation":
        # The figures of the rows are differences to row 0, so that SCFAE's to row 0 is its own.
        who = "what a probe tells from encoders that SCFAE has trained is"
    return f"By {head}, {who} {'; '.join(parts)} (difference, 95 % interval).{few}"


def _told(result: ResultTable, one: Verdict) -> str:
    low, high = (_difference(result, one, end) for end in one.interval)
    return f"{one.row.label} ({_difference(result, one, one.difference)}, {low} to {high})"
