"""One of a set of classes, by cross entropy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import JsonValue
from torch import Tensor

from scfae.fusion import FusionOutput
from scfae.store import Batch, StoreView
from scfae.store.errors import TaskError

from ..bootstrap import Interval, bootstrap_intervals
from ..metrics import METRICS, Integers, Metrics, classification_metrics, confusion_matrix
from .labels import class_codes, class_values, sorted_classes
from .task import Array, Encode, Task, checked_options, refuse, to_float, weight_tensor


@dataclass(frozen=True)
class Classification(Task):
    """One of a set of classes.

    Attributes:
        label: Label column.
        values: The training split's values, sorted: ints or strings. A class's position is its
            index among the logits.
        counts: Training samples of each class.
        weights: Weight of each class in the loss, or None.
    """

    name: ClassVar[str] = "classification"
    metric_names = tuple(METRICS)
    headline = "accuracy"
    selection = "balanced_accuracy"
    label: str
    values: tuple[int | str, ...]
    counts: tuple[int, ...]
    weights: tuple[float, ...] | None = None

    @classmethod
    def possible_metrics(cls, options: Any) -> tuple[str, ...]:
        """Return every figure."""
        return METRICS

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
        """Learn the classes from the training split.

        Args:
            train: The training split.
            label: Label column with ints or strings.
            class_weights: `balanced` weighs a class by N / (number of classes * its samples).
            modality_labels: None: the label is that of all modalities.
            options: None.

        Raises:
            TaskError: Continuous labels, or fewer than two classes.
        """
        refuse(cls.name, modality_labels=modality_labels)
        checked_options(cls, options)
        values = class_values(train, label)
        found = sorted_classes(values, label)
        counts = tuple(values.count(value) for value in found)
        return cls(label, found, counts, _weights(counts, class_weights))

    @property
    def classes(self) -> tuple[int | str, ...]:
        """The classes in the order of the logits."""
        return self.values

    @property
    def num_outputs(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def majority(self) -> int:
        """Index of the training split's most frequent class; the first of equals."""
        return int(np.argmax(self.counts))

    @property
    def constant_answer(self) -> int | str:
        """The training split's most frequent class."""
        return self.classes[self.majority]

    def targets(self, view: StoreView) -> Integers:
        """Return the class index of each sample of a view: int64 [N].

        Raises:
            TaskError: The view has a class that training has not.
        """
        return class_indices(view, self.label, self.classes)

    def encoder(self, view: StoreView) -> Encode:
        """Return the mapping from a view's batches to class indices int64 [B].

        Raises:
            TaskError: The view has a class that training has not.
        """
        lookup = Lookup(view, self.label, self.targets(view))
        return lambda batch, shown: lookup(batch)

    def loss(self, output: FusionOutput, targets: Tensor, present: Tensor) -> Tensor:
        """Return the mean cross entropy of logits [B, C] and class indices [B]."""
        logits = to_float(output.logits)
        return F.cross_entropy(logits, targets, weight=weight_tensor(self.weights, logits))

    def scores(self, output: FusionOutput, shown: Sequence[str]) -> Tensor:
        """Return the classes' probabilities [B, C]."""
        return torch.softmax(to_float(output.logits), dim=-1)

    def metrics(self, targets: Array, scores: Array) -> Metrics:
        """Return accuracy, balanced accuracy, F1 and ROC AUC as fractions.

        Args:
            targets: Class indices int64 [N].
            scores: Probabilities [N, C].
        """
        return classification_metrics(targets, scores)

    def intervals(self, targets: Array, scores: Array, *, draws: int) -> dict[str, Interval | None]:
        """Return the 95 % bootstrap interval of every metric, all resamples at once."""
        return bootstrap_intervals(targets, scores, resamples=draws)

    def confusion(self, targets: Array, scores: Array) -> list[list[int]]:
        """Return counts [C][C], rows true classes."""
        matrix = confusion_matrix(targets, scores.argmax(axis=1), self.num_outputs)
        return [[int(count) for count in row] for row in matrix]

    def constant(self, shown: Sequence[str]) -> Array:
        """Return the scores [C] of always answering the training split's majority."""
        scores: Array = np.eye(self.num_outputs)[self.majority]
        return scores

    def answer(self, scores: Array) -> dict[str, Any]:
        """Return the most probable class and all probabilities."""
        named = zip(self.classes, scores, strict=True)
        return {
            "prediction": self.classes[int(np.argmax(scores))],
            "probabilities": {str(name): float(p) for name, p in named},
        }

    def truth(self, target: Any) -> int | str:
        """Return the class of an index."""
        return self.classes[int(target)]

    def as_dict(self) -> dict[str, Any]:
        """Return the task as plain JSON values."""
        return {
            "name": self.name,
            "label": self.label,
            "classes": list(self.classes),
            "counts": list(self.counts),
            "weights": None if self.weights is None else list(self.weights),
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """Return the task that `as_dict` described."""
        weights = record["weights"]
        return cls(
            record["label"],
            tuple(record["classes"]),
            tuple(record["counts"]),
            None if weights is None else tuple(weights),
        )


class Lookup:
    """From the raw labels of a batch to what they stand for.

    Args:
        view: The view that batches are of.
        label: Label column.
        targets: What each sample's label stands for, int64 `[N]`; a function of the label.
    """

    def __init__(self, view: StoreView, label: str, targets: Integers) -> None:
        codes, first = np.unique(class_codes(view, label), return_index=True)
        self._label = label
        self._codes = torch.from_numpy(codes)
        self._targets = torch.from_numpy(targets[first])

    def __call__(self, batch: Batch) -> Tensor:
        """Return targets int64 `[B]`, on the batch's device."""
        raw = batch.labels[self._label].long()
        found = torch.searchsorted(self._codes.to(raw.device), raw)
        return self._targets.to(raw.device)[found]


def class_indices(view: StoreView, label: str, classes: Sequence[int | str]) -> Integers:
    """Return the class index of each sample of a view: int64 [N].

    Raises:
        TaskError: The view has a class that is not among them.
    """
    index = {value: place for place, value in enumerate(classes)}
    values = class_values(view, label)
    unseen = sorted({value for value in values if value not in index}, key=str)
    if unseen:
        count = sum(value not in index for value in values)
        raise TaskError(
            f"'{label}' has classes that the training split has not: "
            f"{', '.join(map(repr, unseen))}. Known: {', '.join(map(repr, classes))}. It concerns "
            f"{count} of {len(values)} samples: give training some of them, or leave them out "
            "by --where."
        )
    return np.array([index[value] for value in values], dtype=np.int64)


def _weights(counts: Sequence[int], class_weights: str) -> tuple[float, ...] | None:
    if class_weights != "balanced":
        return None
    return tuple(sum(counts) / (len(counts) * count) for count in counts)
