"""What an evaluation found, as values, as JSON and as a table for a terminal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .averages import averages
from .headline import headline
from .metrics import Metrics
from .probes import Probe
from .robustness import robustness_lines
from .tasks import Measured, Retrieval, Task
from .validation import mean_metrics


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: a set of present modalities, or for retrieval one direction.

    Attributes:
        name: Modalities joined by +, in the run's order; or `image>video`.
        modalities: Those that the model saw.
        measured: Its figures.
    """

    name: str
    modalities: tuple[str, ...]
    measured: Measured

    @property
    def metrics(self) -> Metrics:
        """Every figure; None where undefined."""
        return self.measured.metrics

    @property
    def intervals(self) -> Mapping[str, tuple[float, float] | None]:
        """95 % bootstrap interval of each figure."""
        return self.measured.intervals

    @property
    def n(self) -> int:
        """Samples (queries) scored."""
        return self.measured.n

    @property
    def excluded(self) -> int:
        """Samples that have none of the modalities."""
        return self.measured.excluded

    def as_dict(self) -> dict[str, Any]:
        """Return the condition as plain JSON values."""
        intervals = {
            f"{name}_ci95": None if interval is None else list(interval)
            for name, interval in self.intervals.items()
        }
        return {**self.metrics, **intervals, "n": self.n, "excluded": self.excluded}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A run on a split under every condition.

    Attributes:
        run: The run folder.
        split: What was evaluated.
        task: What was asked.
        columns: Column of each modality, swaps included.
        swapped: The modalities whose column is not the run's own.
        is_random: Columns that are noise.
        conditions: Single modalities first, all together last.
        n: Samples of the split.
        epoch: Epoch of the checkpoint.
        bootstrap: Resamples behind the intervals.
        unimodal: A linear model of each modality alone, on the same split.
        calibration: How far probabilities are what they say; None for a task without.
        robustness: Figures at missing rates, under noise and with offsets, as asked for.
        notes: What a person should know.
    """

    run: str
    split: str
    task: Task
    columns: dict[str, str]
    swapped: tuple[str, ...]
    is_random: tuple[str, ...]
    conditions: tuple[Condition, ...]
    n: int
    epoch: int
    bootstrap: int
    unimodal: Mapping[str, Probe] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    robustness: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=())

    @property
    def majority(self) -> Metrics:
        """What who sees no features scores on the last condition's samples."""
        return self.conditions[-1].measured.baseline

    @property
    def majority_class(self) -> int | float | str:
        """What is always answered then."""
        return self.task.constant_answer

    @property
    def classes(self) -> tuple[int | str, ...]:
        """The classes in the order of the scores."""
        return self.task.classes

    @property
    def averages(self) -> dict[str, Metrics]:
        """Means over conditions, by name; see `averages`."""
        return averages(self.conditions, has_full=self.task.name != Retrieval.name)

    def as_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON values; fractions, not percent."""
        task = self.task
        last = self.conditions[-1]
        return {
            "run": self.run,
            "split": self.split,
            "task": task.name,
            "label": task.label,
            "classes": list(task.classes),
            "metrics": list(task.shown_metrics),
            "headline_metric": task.headline,
            "columns": self.columns,
            "swapped": list(self.swapped),
            "is_random": list(self.is_random),
            "n": self.n,
            "epoch": self.epoch,
            "bootstrap": self.bootstrap,
            "headline": self.headline(),
            "conditions": {one.name: one.as_dict() for one in self.conditions},
            "mean_of_conditions": self.mean(),
            "averages": self.averages,
            "majority": {**self.majority, "class": self.majority_class, "n": last.n},
            "majority_name": task.baseline_name,
            "majority_of_conditions": {c.name: c.measured.baseline for c in self.conditions},
            "confusion": {
                one.name: one.measured.confusion
                for one in self.conditions
                if one.measured.confusion is not None
            },
            "unimodal": {name: probe.as_dict() for name, probe in self.unimodal.items()},
            "calibration": self.calibration,
            "robustness": self.robustness,
            "notes": list(self.notes),
        }

    def headline(self) -> list[str]:
        """Return what a person should read first."""
        return headline(self.task, self.split, {c.name: c.measured for c in self.conditions})

    def mean(self) -> Metrics:
        """Return each metric's mean over the conditions where it is defined."""
        return mean_metrics([one.metrics for one in self.conditions])

    def text(self) -> str:
        """Return a table for a terminal."""
        task = self.task
        names, majority = task.shown_metrics, task.baseline_name
        alone = {f"{name} alone, linear": probe for name, probe in self.unimodal.items()}
        width = max(map(len, [majority, *alone, *(c.name for c in self.conditions)]))
        cell = max(24, *(len(name) + 2 for name in names))
        lines = [
            f"{self.run}: {task.label} on the {self.split} split, {self.n} samples, checkpoint of "
            f"epoch {self.epoch}; fractions with 95 % intervals",
            f"{'present':<{width}}  " + "".join(f"{name:<{cell}}" for name in names) + "n",
        ]
        for one in self.conditions:
            cells = [_cell(one.metrics[m], one.intervals.get(m)).ljust(cell) for m in names]
            left_out = f" ({one.excluded} left out)" if one.excluded else ""
            lines.append(f"{one.name:<{width}}  " + "".join(cells) + f"{one.n}{left_out}")
        for name, means in self.averages.items():
            cells = [_cell(means[m], None).ljust(cell) for m in names]
            lines.append(f"{name:<{width}}  " + "".join(cells).rstrip())
        for name, probe in alone.items():
            cells = [_cell(probe.metrics[m], None).ljust(cell) for m in names]
            lines.append(f"{name:<{width}}  " + "".join(cells) + str(probe.n))
        cells = [_cell(self.majority[m], None).ljust(cell) for m in names]
        lines.append(f"{majority:<{width}}  " + "".join(cells) + str(self.conditions[-1].n))
        lines += robustness_lines(self.robustness, names)
        if self.calibration is not None:
            errors = self.calibration["conditions"][self.conditions[-1].name]
            lines.append(
                f"calibration error {errors['ece']:.3f}; {errors['ece_scaled']:.3f} at the "
                f"temperature {self.calibration['temperature']:.2f} that validation gives"
            )
        lines += [f"noise: {name} has random weights" for name in self.is_random]
        return "\n".join([*lines, *self.notes, *self.headline()])


def _cell(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "undefined"
    if interval is None:
        return f"{value:.3f}"
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"
