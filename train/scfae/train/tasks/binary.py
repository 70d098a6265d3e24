"""One of two classes, of which one is looked for: by cross entropy, measured against imbalance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import JsonValue

from scfae.store import StoreView
from scfae.store.errors import ConfigError, TaskError

from ..bootstrap import Interval, resampled_intervals
from ..metrics import BINARY_METRICS, METRICS, Metrics, binary_metrics
from .classification import Classification
from .task import Array, TaskOptions, checked_options


class BinaryOptions(TaskOptions):
    """Settings of a question of two classes."""

    positive: int | str | None = None
    """The class that is looked for; the last of the two in their order if not given."""


@dataclass(frozen=True)
class Binary(Classification):
    """Whether a sample is of the class that is looked for: two logits, the second for it.

    Attributes:
        values: The class that is not looked for, then the one that is.
    """

    name: ClassVar[str] = "binary"
    Options: ClassVar[type[TaskOptions]] = BinaryOptions
    metric_names = tuple(BINARY_METRICS)
    headline = "balanced_accuracy"
    selection = "roc_auc"

    @classmethod
    def possible_metrics(cls, options: Any) -> tuple[str, ...]:
        """Return every figure."""
        return BINARY_METRICS

    @classmethod
    def fit(
        cls,
        train: StoreView,
        label: str,
        *,
        class_weights: str = "none",
        modality_labels: Mapping[str, str] | None = None,
        options: Mapping[str, JsonValue] | None = None,
    ) -> Self:
        """Learn the two classes from the training split; see `Classification.fit`.

        Raises:
            TaskError: There are not two classes.
            ConfigError: `positive` is neither.
        """
        positive = checked_options(cls, options).positive
        plain = super().fit(
            train, label, class_weights=class_weights, modality_labels=modality_labels
        )
        if len(plain.values) != 2:
            raise TaskError(
                f"'{label}' has {len(plain.values)} classes in the training split; binary needs "
                "two (or use --task classification)."
            )
        if positive is None or positive == plain.values[1]:
            return plain
        if positive != plain.values[0]:
            raise ConfigError(
                f"task_options.positive = {positive!r}: '{label}' has the classes "
                f"{', '.join(map(repr, plain.values))}."
            )
        weights = None if plain.weights is None else plain.weights[::-1]
        return cls(label, plain.values[::-1], plain.counts[::-1], weights)

    def metrics(self, targets: Array, scores: Array) -> Metrics:
        """Return `binary_metrics` of class indices int64 [N] and probabilities [N, 2]."""
        return binary_metrics(targets, scores)

    def intervals(self, targets: Array, scores: Array, *, draws: int) -> dict[str, Interval | None]:
        """Return the 95 % bootstrap interval of every metric."""
        known = super().intervals(targets, scores, draws=draws)
        rest = tuple(name for name in self.metric_names if name not in METRICS)
        return known | resampled_intervals(
            lambda rows: self.metrics(targets[rows], scores[rows]),
            len(targets),
            rest,
            resamples=draws,
        )
