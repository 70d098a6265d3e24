"""Whether two runs differ beyond chance: a paired bootstrap over the samples of both.

Both runs are measured on the same resamples of the test samples (of the queries, for retrieval), so
what makes a sample hard for both cancels out, as it does not between two separate intervals. Scores
are those that `scfae evaluate` kept. Samples are drawn one by one: where they come in groups
(several clips of one speaker), the intervals are too narrow.

Shapes: N samples.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scfae.store.errors import ConfigError, RunStateError

from .kept import KeptScores, read_scores
from .metrics import Metrics
from .runs import RunFolder
from .tasks import Retrieval, Scored, Task, Trial, load_task

Rows = npt.NDArray[np.int64]
Measure = Callable[[Rows], Metrics]


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of two runs under one condition, on the samples that both have scored.

    Attributes:
        first: The first run's value; None where undefined.
        second: The second run's.
        difference: Second minus first.
        interval: Its 95 % interval.
        p: Two-sided: twice the share of resamples on the other side of 0.
        n: Samples (queries) that both have scored.
    """

    first: float | None
    second: float | None
    difference: float | None
    interval: tuple[float, float] | None
    p: float | None
    n: int

    def as_dict(self) -> dict[str, Any]:
        """Return the difference as plain JSON values."""
        return asdict(self)


def compare_runs(
    first: str | Path, second: str | Path, *, resamples: int = 1000, seed: int = 0
) -> dict[str, dict[str, Difference]]:
    """Return the differences of two evaluated runs by condition and metric.

    Args:
        first: A run folder.
        second: Another, of the same task and label on the same test samples.
        resamples: Draws behind intervals and p.
        seed: Of the draws.

    Raises:
        RunNotFound, RunStateError: If a run is not there or not evaluated, or the two do not
            answer the same question of the same samples.
        ConfigError: If there are no resamples.
    """
    if resamples < 1:
        raise ConfigError(f"bootstrap must be at least 1, not {resamples}.")
    runs = [RunFolder(first), RunFolder(second)]
    tasks = [load_task(run.read("task.json")) for run in runs]
    if (tasks[0].name, tasks[0].label) != (tasks[1].name, tasks[1].label):
        raise RunStateError(
            f"{runs[0].path} is {tasks[0].name} of '{tasks[0].label}', {runs[1].path} is "
            f"{tasks[1].name} of '{tasks[1].label}': they answer different questions."
        )
    kept = [read_scores(run.path) for run in runs]
    kept[1] = _aligned(kept[0], kept[1], runs)
    # By name: the two may show a modality by other branches.
    trials = [
        {trial.name: trial for trial in task.trials(list(run.columns))}
        for task, run in zip(tasks, runs, strict=True)
    ]
    found = {}
    for name in trials[0]:
        both = [one[name] for one in trials if name in one]
        if len(both) == 2 and all(
            shown in one.scored
            for one, trial in zip(kept, both, strict=True)
            for shown in trial.shown
        ):
            found[name] = _differences(tasks, both, kept, runs, resamples, seed)
    if not found:
        raise RunStateError(f"{runs[0].path} and {runs[1].path} have no modality in common.")
    return found


def _differences(
    tasks: list[Task],
    trials: list[Trial],
    kept: list[KeptScores],
    runs: list[RunFolder],
    resamples: int,
    seed: int,
) -> dict[str, Difference]:
    asked = [one.scored[trial.shown[0]] for one, trial in zip(kept, trials, strict=True)]
    both = np.flatnonzero(asked[0].seen & asked[1].seen)
    truth = [one.targets[both] for one in asked]
    if not np.array_equal(truth[0], truth[1], equal_nan=truth[0].dtype.kind == "f"):
        raise RunStateError(
            f"{runs[0].path} and {runs[1].path} were evaluated against other labels: evaluate "
            "both again."
        )
    measures = [
        measure_on(task, trial, one.scored, both)
        for task, trial, one in zip(tasks, trials, kept, strict=True)
    ]
    names = [n for n in tasks[0].shown_metrics if n in tasks[1].shown_metrics]
    if not len(both):
        return {name: Difference(None, None, None, None, None, 0) for name in names}
    values = [measure(np.arange(len(both))) for measure in measures]
    generator = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(resamples):
        rows = generator.integers(len(both), size=len(both))
        a, b = (measure(rows) for measure in measures)
        for name in names:
            mine, theirs = a[name], b[name]
            if mine is not None and theirs is not None:
                draws[name].append(theirs - mine)
    return {
        name: _difference(values[0][name], values[1][name], np.array(draws[name]), len(both))
        for name in names
    }


def _difference(
    mine: float | None, theirs: float | None, drawn: npt.NDArray[np.float64], n: int
) -> Difference:
    if mine is None or theirs is None or not len(drawn):
        return Difference(mine, theirs, None, None, None, n)
    low, high = np.quantile(drawn, [0.025, 0.975])
    p = min(1.0, 2 * min(float((drawn <= 0).mean()), float((drawn >= 0).mean())))
    return Difference(mine, theirs, theirs - mine, (float(low), float(high)), p, n)


def measure_on(
    task: Task, trial: Trial, scored: Mapping[tuple[str, ...], Scored], both: Rows
) -> Measure:
    """Return what measures a run on some of `both`, the places of samples that it has scored."""
    one = scored[trial.shown[0]]
    if not isinstance(task, Retrieval):
        targets, scores = one.targets[both], one.scores[both]
        return lambda rows: task.metrics(targets[rows], scores[rows])
    place = np.cumsum(one.seen) - 1  # of a sample among the queries
    figures = {name: x[place[both]] for name, x in task.query_figures(trial, scored).items()}
    return lambda rows: {name: float(x[rows].mean()) for name, x in figures.items()}


def _aligned(mine: KeptScores, theirs: KeptScores, runs: list[RunFolder]) -> KeptScores:
    """Return the second run's scores in the order of the first's samples."""
    order = {name: i for i, name in enumerate(theirs.ids.tolist())}
    if set(order) != set(mine.ids.tolist()):
        raise RunStateError(
            f"{runs[0].path} and {runs[1].path} were evaluated on other samples: a paired "
            "comparison needs the same test split."
        )
    places = np.array([order[name] for name in mine.ids.tolist()], dtype=np.int64)
    return KeptScores(
        mine.ids,
        {
            shown: Scored(one.targets[places], one.scores[places], one.seen[places])
            for shown, one in theirs.scored.items()
        },
    )
