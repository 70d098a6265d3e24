"""A comparison of runs as it is answered."""

from pydantic import JsonValue

from scfae.store.config import Frozen

from .series import Curves
from .states import State


class Measured(Frozen):
    """One figure of a run.

    Attributes:
        value: None where it is undefined.
        interval: 95 %; None where there is none.
    """

    value: float | None
    interval: tuple[float, float] | None = None


class ComparedRun(Frozen):
    """One run of a comparison.

    Attributes:
        id: Of the job; with `/` and the run's folder for a run of a sweep.
        job: Of the job.
        name: What people call it, told from the others'.
        state: Of the job.
        seed: Of the run.
        best: What selected the epoch: metric, value, epoch; empty if unknown.
        conditions: Every figure by the modalities present; empty if it was not evaluated.
        baseline: What who sees no features scores.
        n: Test samples; None if it was not evaluated.
    """

    id: str
    job: str
    name: str
    state: State
    seed: int
    best: dict[str, JsonValue]
    conditions: dict[str, dict[str, Measured]]
    baseline: dict[str, float | None]
    n: int | None


class Differing(Frozen):
    """A setting that is not the same in all runs.

    Attributes:
        name: Flat, such as `lr` or `columns.video`.
        values: Of each run; None where the run has no such setting.
    """

    name: str
    values: tuple[JsonValue, ...]


class OverSeedsView(Frozen):
    """A figure over seeds.

    Attributes:
        mean: None where no run has a value.
        sd: Of the sample; None for fewer than two values.
        n: Seeds that have a value.
    """

    mean: float | None
    sd: float | None
    n: int


class SeedGroup(Frozen):
    """Runs that differ in nothing but the seed.

    Attributes:
        runs: Their ids.
        name: For a row of a table.
        seeds: That were evaluated, each once.
        conditions: Every figure by the modalities present.
    """

    runs: tuple[str, ...]
    name: str
    seeds: tuple[int, ...]
    conditions: dict[str, dict[str, OverSeedsView]]


class Comparison(Frozen):
    """Runs side by side.

    Attributes:
        runs: In the order asked for; a sweep's runs in place of it.
        differing: Settings that differ.
        equal: Those that do not.
        metric: The figure to show first; None if no run was evaluated.
        metrics: All figures that there are.
        conditions: All sets of modalities, small ones first, as the runs have them.
        groups: Of two runs or more.
        keys: Curves that there are.
        curves: Of each run, those that were asked for.
        notes: What a person should know.
    """

    runs: tuple[ComparedRun, ...]
    differing: tuple[Differing, ...]
    equal: dict[str, JsonValue]
    metric: str | None
    metrics: tuple[str, ...]
    conditions: tuple[str, ...]
    groups: tuple[SeedGroup, ...]
    keys: tuple[str, ...]
    curves: dict[str, Curves]
    notes: tuple[str, ...]


class PairedFigure(Frozen):
    """One figure of two runs on the same samples; see `scfae compare`.

    Attributes:
        first: The first run's value.
        second: The second's.
        difference: Second minus first.
        interval: Its 95 % interval.
        p: Two-sided.
        n: Samples that both have scored.
    """

    first: float | None
    second: float | None
    difference: float | None
    interval: tuple[float, float] | None
    p: float | None
    n: int


class Paired(Frozen):
    """Whether two runs differ beyond chance.

    Attributes:
        first: Id of the one.
        second: Of the other.
        resamples: Draws behind intervals and p.
        conditions: Every figure by the modalities present.
    """

    first: str
    second: str
    resamples: int
    conditions: dict[str, dict[str, PairedFigure]]
