"""What the loop, the evaluation and the report ask of a task.

A task is learned from the training split alone (`fit`), is kept in the run folder as plain values,
and knows its targets, loss, scores, metrics and baseline. Most tasks read the logits of the fusion
method's head under each set of present modalities; retrieval reads embeddings of one modality each.

Shapes: B samples of a batch, N of a split, M modalities, W numbers that a task scores a sample by.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ConfigDict, JsonValue, ValidationError
from torch import Tensor, nn

from scfae.fusion import FusionOutput
from scfae.store import Batch, StoreView
from scfae.store.branches import branches_of, modalities_of
from scfae.store.config import Frozen
from scfae.store.errors import ConfigError, TaskError

from ..bootstrap import Interval, resampled_intervals
from ..metrics import Integers, Metrics

Array = npt.NDArray[Any]
Booleans = npt.NDArray[np.bool_]
Encode = Callable[[Batch, Tensor], Tensor]
"""A batch and what is shown of it `[B, M]`, to the targets of the loss `[B]` or `[B, C]`."""

LOWER_IS_BETTER = ("loss", "mae", "rmse", "equal_error_rate")


class TaskOptions(Frozen):
    """Settings of one task; the text under each field is its help."""

    model_config = ConfigDict(use_attribute_docstrings=True)


@dataclass(frozen=True, slots=True)
class Trial:
    """One condition of an evaluation.

    Attributes:
        name: Modalities joined by +, or for retrieval `image>video`.
        shown: The sets of modalities (of their branches) that it needs scores under.
    """

    name: str
    shown: tuple[tuple[str, ...], ...]

    @property
    def modalities(self) -> tuple[str, ...]:
        """All modalities that it reads."""
        return tuple(dict.fromkeys(itertools.chain(*self.shown)))


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What a model says of a split under one set of present modalities.

    Attributes:
        targets: `[N]` or `[N, C]`; they may depend on what is shown.
        scores: `[N, W]`; NaN where a sample has nothing that is shown.
        seen: Which samples have something that is shown, bool `[N]`.
    """

    targets: Array
    scores: Array
    seen: Booleans


@dataclass(frozen=True, slots=True)
class Measured:
    """A trial's figures.

    Attributes:
        metrics: By name; None where undefined.
        intervals: 95 % bootstrap interval of each.
        n: Samples (queries) scored.
        excluded: Samples that have none of the modalities.
        baseline: What who sees no features scores on the same samples.
        confusion: Counts `[C][C]`, rows true classes; None where there are no classes.
    """

    metrics: Metrics
    intervals: Mapping[str, Interval | None]
    n: int
    excluded: int
    baseline: Metrics
    confusion: list[list[int]] | None = None


class Task(ABC):
    """One kind of question; a subclass is a frozen dataclass and has an entry in `TASKS`.

    Attributes:
        name: What a config calls it.
        Options: Its settings, `task_options` of a config.
        label: The label column, or what the user calls several.
        baseline_name: Who sees no features, in a word or two.
    """

    name: ClassVar[str]
    Options: ClassVar[type[TaskOptions]] = TaskOptions
    baseline_name: ClassVar[str] = "always the majority"
    label: str

    @property
    @abstractmethod
    def metric_names(self) -> tuple[str, ...]:
        """Every figure."""

    @property
    @abstractmethod
    def headline(self) -> str:
        """The figure that stands for a run."""

    @property
    @abstractmethod
    def selection(self) -> str:
        """Validation figure that selects the epoch where the config says auto."""

    @classmethod
    @abstractmethod
    def fit(
        cls,
        train: StoreView,
        label: str,
        *,
        class_weights: str = "none",
        modality_labels: Mapping[str, str] | None = None,
        options: Mapping[str, JsonValue] | None = None,
    ) -> Self:
        """Learn what there is to tell from the training split.

        Args:
            train: The training split.
            label: Label column.
            class_weights: `none` or `balanced`.
            modality_labels: Label column of each modality, for tasks that have some.
            options: By name, as `Options` has them.

        Raises:
            TaskError: The labels do not fit the task.
            ConfigError: A setting does not.
        """

    @classmethod
    @abstractmethod
    def possible_metrics(cls, options: Any) -> tuple[str, ...]:
        """Return every figure that such options allow, for the check of a config."""

    @property
    @abstractmethod
    def num_outputs(self) -> int | None:
        """Width of the model's head; None builds none."""

    @abstractmethod
    def encoder(self, view: StoreView) -> Encode:
        """Return the mapping from batches of a view to targets; check that labels are known.

        Raises:
            TaskError: The view has labels that the task cannot take.
        """

    @abstractmethod
    def loss(self, output: FusionOutput, targets: Tensor, present: Tensor) -> Tensor:
        """Return the scalar loss of a batch."""

    @abstractmethod
    def scores(self, output: FusionOutput, shown: Sequence[str]) -> Tensor:
        """Return what the metrics read `[B, W]`, of a model that was shown some modalities."""

    @abstractmethod
    def metrics(self, targets: Array, scores: Array) -> Metrics:
        """Return every figure by name; None where it is undefined."""

    @abstractmethod
    def constant(self, shown: Sequence[str]) -> Array:
        """Return the scores `[W]` of who sees no features, and so answers always the same."""

    @property
    def constant_answer(self) -> int | float | str:
        """What is always answered, in one word."""
        return "the same"

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Return the task as plain JSON values, for the run folder."""

    @classmethod
    @abstractmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """Return the task that `as_dict` described."""

    @property
    def shown_metrics(self) -> tuple[str, ...]:
        """The metrics of tables."""
        return self.metric_names

    @property
    def classes(self) -> tuple[int | str, ...]:
        """The classes in the order of the scores; none where there are none."""
        return ()

    def method_labels(self, targets: Tensor) -> Tensor | None:
        """Return what a fusion method is told of the labels in training."""
        return targets

    def check_model(self, model: nn.Module, dims: Mapping[str, int], fusion: str) -> None:
        """Check that a model can do the task.

        Raises:
            ConfigError: If it cannot.
        """
        return None

    def trials(self, branches: Sequence[str]) -> list[Trial]:
        """Return every condition of an evaluation: all sets of modalities, the full one last.

        The branches of a modality are shown together.
        """
        return [
            Trial("+".join(one), (branches_of(one, branches),))
            for one in subsets(modalities_of(branches))
        ]

    def validation_trials(self, branches: Sequence[str]) -> list[Trial]:
        """Return the conditions that validation takes the mean of."""
        return [Trial("+".join(modalities_of(branches)), (tuple(branches),))]

    def measure(
        self, trial: Trial, scored: Mapping[tuple[str, ...], Scored], draws: int
    ) -> Measured:
        """Return a trial's figures.

        Args:
            trial: One of `trials`.
            scored: What the model says under each set that the trial needs.
            draws: Bootstrap resamples; 0 leaves intervals out.
        """
        (shown,) = trial.shown
        one = scored[shown]
        truth, scores = one.targets[one.seen], one.scores[one.seen]
        constant = np.tile(self.constant(shown), (len(truth), 1))
        if not len(truth):
            scores = constant  # nothing was scored, so nobody knows how wide scores are
        return Measured(
            self.metrics(truth, scores),
            self.intervals(truth, scores, draws=draws),
            int(one.seen.sum()),
            int((~one.seen).sum()),
            self.metrics(truth, constant),
            self.confusion(truth, scores),
        )

    def intervals(self, targets: Array, scores: Array, *, draws: int) -> dict[str, Interval | None]:
        """Return the 95 % bootstrap interval of every metric."""
        return resampled_intervals(
            lambda rows: self.metrics(targets[rows], scores[rows]),
            len(targets),
            self.metric_names,
            resamples=draws,
        )

    def confusion(self, targets: Array, scores: Array) -> list[list[int]] | None:
        """Return counts `[C][C]`, rows true classes; None where there are no classes."""
        return None

    def predict(self, output: FusionOutput, shown: Sequence[str]) -> dict[str, Any]:
        """Return what is said of a batch of one sample, as plain JSON values."""
        return self.answer(self.scores(output, shown)[0].cpu().numpy())

    def answer(self, scores: Array) -> dict[str, Any]:
        """Return what is said of one sample, from its scores `[W]`, as plain JSON values."""
        raise TaskError(f"{self.name} gives no answer for a single sample.")

    def truth(self, target: Any) -> Any:
        """Return one sample's target as the store spells it."""
        return target.item()


def subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """Return all non-empty sets of modalities, small ones first."""
    return [
        subset
        for size in range(1, len(modalities) + 1)
        for subset in itertools.combinations(modalities, size)
    ]


def parse_options(
    kind: type[Task], options: Mapping[str, JsonValue] | None
) -> tuple[TaskOptions, list[str]]:
    """Return a task's options, defaults filled in, and what is wrong with those given."""
    given = dict(options or {})
    try:
        return kind.Options(**given), []
    except ValidationError as error:
        problems = []
        for one in error.errors():
            name = str(one["loc"][0])
            if one["type"] == "extra_forbidden":
                known = ", ".join(kind.Options.model_fields) or "none"
                problems.append(
                    f"task_options.{name}: {kind.name} has no such option. Known: {known}"
                )
            else:
                allowed = one["msg"].replace("Input should be", "should be")
                problems.append(f"task_options.{name} = {one['input']!r}: {allowed}")
        return kind.Options(), problems


def checked_options(kind: type[Task], options: Mapping[str, JsonValue] | None) -> Any:
    """Return a task's options.

    Raises:
        ConfigError: One is unknown or not allowed.
    """
    found, problems = parse_options(kind, options)
    if problems:
        raise ConfigError("; ".join(problems))
    return found


def refuse(task: str, *, class_weights: str = "none", modality_labels: object = None) -> None:
    """Refuse settings that a task has no use for.

    Raises:
        ConfigError: Names the setting.
    """
    if class_weights != "none":
        raise ConfigError(f"class_weights = {class_weights!r}: {task} has no classes to weigh.")
    if modality_labels:
        raise ConfigError(f"modality_labels: {task} has one label for all modalities.")


def to_float(logits: Tensor | None) -> Tensor:
    """Return a head's logits in single precision."""
    assert logits is not None
    return logits.float()


def weight_tensor(weights: Sequence[float] | None, like: Tensor) -> Tensor | None:
    """Return class weights on the device of the logits, or None."""
    if weights is None:
        return None
    return torch.tensor(weights, dtype=like.dtype, device=like.device)


__all__ = [
    "Array",
    "Encode",
    "Integers",
    "Measured",
    "Scored",
    "Task",
    "TaskOptions",
    "Trial",
    "subsets",
]
