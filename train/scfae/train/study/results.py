"""What the study has found, read back from its runs, and what of it is more than chance.

A figure is one number a draw. Two methods are compared on the same draws: the mean of their
differences, its interval by Student's t over draws, and p after Holm over all comparisons of the
question, so that the more methods SCFAE is compared with, the more it takes to be ahead of one.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from scfae.fusion import build_fusion, count_parameters
from scfae.store import FeatureStore

from ..kept import read_scores
from ..runs import RunFolder
from ..seeds import OverSeeds, interval_of_mean, p_of_mean
from ..tasks import load_task
from .questions import SCFAE, Condition, Entrant, Question
from .running import Answered, Measured
from .stores import LABEL

LEVEL = 0.05
METRIC = "accuracy"
Outcome = Literal["ahead", "behind", "within noise"]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class MethodRow:
    """A method's figures for a question.

    Attributes:
        entrant: The method.
        setting: What validation chose of the space.
        parameters: Of its model.
        training_loss: What of the task's loss was left after the last epoch, mean over draws.
        validation: The figure that chose, on each fresh draw.
        figures: One number a draw, by condition.
        failure: Why there are none.
    """

    entrant: Entrant
    setting: Mapping[str, Any]
    parameters: int | None
    training_loss: float | None
    validation: Mapping[int, float]
    figures: Mapping[str, Mapping[int, float]]
    failure: str | None

    def over_draws(self, condition: str) -> OverSeeds:
        """Return mean and deviation over draws."""
        return OverSeeds.of(self.figures.get(condition, {}).values())

    def interval(self, condition: str) -> Interval | None:
        """Return the 95 % interval of the mean over draws."""
        return interval_of_mean(list(self.figures.get(condition, {}).values()))


@dataclass(frozen=True, slots=True)
class Difference:
    """SCFAE, or a variant of it, beside another method.

    Attributes:
        first: Its name.
        second: The other's.
        condition: Where.
        mean: Of the differences over draws, first minus second; a fraction.
        interval: 95 %, by Student's t.
        p: Two-sided.
        holm: The same after Holm over the comparisons of its family.
        num_draws: Draws that both have.
    """

    first: str
    second: str
    condition: str
    mean: float
    interval: Interval | None
    p: float | None
    holm: float | None
    num_draws: int

    def turned(self) -> "Difference":
        """Return the same the other way round: second minus first."""
        interval = None if self.interval is None else (-self.interval[1], -self.interval[0])
        return replace(
            self, first=self.second, second=self.first, mean=-self.mean, interval=interval
        )

    @property
    def outcome(self) -> Outcome:
        """Where the first is, beyond chance."""
        if self.holm is None or self.holm >= LEVEL:
            return "within noise"
        return "ahead" if self.mean > 0 else "behind"


@dataclass(frozen=True, slots=True)
class Answer:
    """A question with all that was found.

    Attributes:
        question: Which.
        rows: Of every method.
        strongest: The other method that is best on the fresh draws' validation; None if SCFAE
            has nothing to be compared with.
        others: SCFAE beside every other method, by the first condition.
        elsewhere: SCFAE beside the strongest, by the other conditions; not adjusted.
        variants: SCFAE's variants beside it, by the first condition.
        majority: What who sees no features scores, by condition.
        single: The best linear model of one view, its name and accuracy with all there.
    """

    question: Question
    rows: tuple[MethodRow, ...]
    strongest: str | None
    others: tuple[Difference, ...]
    elsewhere: tuple[Difference, ...]
    variants: tuple[Difference, ...]
    majority: Mapping[str, float]
    single: tuple[str, float] | None

    def row(self, name: str) -> MethodRow:
        """Return a method's row."""
        return next(row for row in self.rows if row.entrant.name == name)


def read_answer(answered: Answered) -> Answer:
    """Return what a question's runs have found."""
    question = answered.question
    rows = tuple(_row(question, one) for one in answered.methods)
    by_name = {row.entrant.name: row for row in rows if row.figures}
    ours = by_name.get(SCFAE)
    others = [row for row in by_name.values() if row.entrant.role == "other"]
    variants = [row for row in by_name.values() if row.entrant.role == "variant"]
    lead, *more = (one.name for one in question.conditions)
    strongest = max(others, key=lambda row: statistics.fmean(row.validation.values()), default=None)
    found: dict[str, tuple[Difference, ...]] = {"others": (), "elsewhere": (), "variants": ()}
    if ours is not None:
        found["others"] = _family([difference(ours, row, lead) for row in others])
        found["variants"] = _family([difference(row, ours, lead) for row in variants])
        if strongest is not None:
            found["elsewhere"] = tuple(difference(ours, strongest, name) for name in more)
    majority, single = _baselines(question, answered.methods)
    return Answer(
        question,
        rows,
        None if strongest is None else strongest.entrant.name,
        **found,
        majority=majority,
        single=single,
    )


def difference(first: MethodRow, second: MethodRow, condition: str) -> Difference:
    """Return one method beside another on the draws that both have, p not adjusted yet."""
    mine, theirs = first.figures[condition], second.figures[condition]
    draws = sorted(set(mine) & set(theirs))
    values = [mine[draw] - theirs[draw] for draw in draws]
    return Difference(
        first.entrant.name,
        second.entrant.name,
        condition,
        statistics.fmean(values),
        interval_of_mean(values),
        p_of_mean(values),
        None,
        len(draws),
    )


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Return p values after Holm's step-down; what is None stays so, and counts as a comparison."""
    known = sorted((p, place) for place, p in enumerate(values) if p is not None)
    found: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(values) - rank)))
        found[place] = largest
    return found


def _family(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    adjusted = holm([one.p for one in differences])
    return tuple(replace(one, holm=after) for one, after in zip(differences, adjusted, strict=True))


def _row(question: Question, one: Measured) -> MethodRow:
    validation: dict[int, float] = {}
    figures: dict[str, dict[int, float]] = {}
    left: list[float] = []
    for draw, path in one.runs.items():
        run = RunFolder(path)
        validation[draw] = float(run.state()["best"]["value"])
        left += [event["train"]["task"] for event in run.events() if event["type"] == "epoch"][-1:]
        for condition in question.conditions:
            figures.setdefault(condition.name, {})[draw] = _figure(condition, run)
    setting = {
        k: v for k, v in (one.setting or {}).items() if k in ("lr", "weight_decay", "masking")
    }
    parameters = None
    if one.runs:
        first = RunFolder(next(iter(one.runs.values())))
        dims = {modality: info.dim for modality, info in first.columns.items()}
        num_outputs = load_task(first.read("task.json")).num_outputs
        with torch.device("meta"):
            model = build_fusion(
                one.entrant.fusion, dims, num_outputs=num_outputs, **one.entrant.options
            )
        parameters = count_parameters(model)
    loss = statistics.fmean(left) if left else None
    return MethodRow(one.entrant, setting, parameters, loss, validation, figures, one.failure)


def _figure(condition: Condition, run: RunFolder) -> float:
    evaluation = run.evaluation()
    assert evaluation is not None
    if condition.rates:
        by_rate = evaluation["robustness"]["missing_rates"]["all"]
        return statistics.fmean(by_rate[f"{rate:g}"][METRIC] for rate in condition.rates)
    if not condition.where:
        return float(list(evaluation["conditions"].values())[-1][METRIC])
    kept = read_scores(run.path)
    full = kept.scored[max(kept.scored, key=len)]
    rows = _rows(run, condition, kept.ids)
    return float((full.scores.argmax(axis=1) == full.targets)[rows].mean())


def _rows(run: RunFolder, condition: Condition, ids: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which of some samples have the marks of a condition."""
    samples = FeatureStore.open(run.config.data.store).samples
    place = {str(name): i for i, name in enumerate(samples.ids)}
    places = [place[str(name)] for name in ids]
    keep = np.ones(len(ids), dtype=bool)
    for mark, wanted in condition.where.items():
        keep &= np.asarray(samples.label(mark))[places].astype(int) == wanted
    return keep


def _baselines(
    question: Question, methods: Sequence[Measured]
) -> tuple[dict[str, float], tuple[str, float] | None]:
    """Return what the majority scores by condition, and the best linear model of one view."""
    runs = next((list(one.runs.values()) for one in methods if one.runs), [])
    majority: dict[str, list[float]] = {}
    single: dict[str, list[float]] = {}
    for path in runs:
        run = RunFolder(path)
        evaluation = run.evaluation()
        assert evaluation is not None
        for view, probe in evaluation["unimodal"].items():
            single.setdefault(view, []).append(probe[METRIC])
        for condition in question.conditions:
            value = float(evaluation["majority"][METRIC])
            if condition.where:
                samples = FeatureStore.open(run.config.data.store).samples
                ids = read_scores(path).ids
                place = {str(name): i for i, name in enumerate(samples.ids)}
                labels = np.asarray(samples.label(LABEL))[[place[str(name)] for name in ids]]
                rows = _rows(run, condition, ids)
                value = float((labels[rows] == evaluation["majority"]["class"]).mean())
            majority.setdefault(condition.name, []).append(value)
    best = max(single, key=lambda view: statistics.fmean(single[view]), default=None)
    return (
        {name: statistics.fmean(values) for name, values in majority.items()},
        None if best is None else (best, statistics.fmean(single[best])),
    )
