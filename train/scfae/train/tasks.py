"""What is learned from a label: classes, loss, predictions, metrics. One class a task.

Another task is a class with the methods of `Task` and an entry in `TASKS` (and in the choices of
`DataConfig.task`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from scfae.store import StoreView
from scfae.store.errors import TaskError

from .metrics import Metrics, classification_metrics

Integers = npt.NDArray[np.int64]
Encode = Callable[[Tensor], Tensor]
"""Raw labels of a batch, as the stream gives them, to the targets of the loss."""


class Task(Protocol):
    """What the loop asks of a task."""

    name: ClassVar[str]
    label: str

    @property
    def num_outputs(self) -> int:
        """Width of the model's head."""

    @classmethod
    def fit(cls, train: StoreView, label: str, *, class_weights: str) -> Self:
        """Learn the label's values from the training split."""

    def encoder(self, view: StoreView) -> Encode:
        """Return the mapping from a view's raw labels to targets; check that they are known."""

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the scalar loss of logits [B, num_outputs]."""

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return what the metrics read, from logits [B, num_outputs]."""

    def metrics(self, targets: Integers, probabilities: npt.ArrayLike) -> Metrics:
        """Return every figure by name, as fractions; None where it is undefined."""

    def as_dict(self) -> dict[str, Any]:
        """Return the task as plain JSON values, for the run folder."""

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """Return the task that `as_dict` described."""


@dataclass(frozen=True)
class Classification:
    """One of a set of classes, by cross entropy.

    Attributes:
        label: Label column.
        classes: The training split's values, sorted: ints or strings. A class's position is its
            index among the logits.
        counts: Training samples of each class.
        weights: Weight of each class in the loss, or None.
    """

    name: ClassVar[str] = "classification"
    label: str
    classes: tuple[int | str, ...]
    counts: tuple[int, ...]
    weights: tuple[float, ...] | None = None

    @classmethod
    def fit(cls, train: StoreView, label: str, *, class_weights: str = "none") -> Self:
        """Learn the classes from the training split.

        Args:
            train: The training split.
            label: Label column with ints or strings.
            class_weights: `balanced` weighs a class by N / (number of classes * its samples).

        Raises:
            TaskError: Continuous labels, or fewer than two classes.
        """
        values = _values(train, label)
        found = sorted(set(values))
        if len(found) < 2:
            what = f"only the class {found[0]!r}" if found else "no label at all"
            raise TaskError(
                f"the training split has {what} in '{label}'; two classes are the least."
            )
        counts = tuple(values.count(value) for value in found)
        weights = None
        if class_weights == "balanced":
            weights = tuple(len(values) / (len(found) * count) for count in counts)
        return cls(label, tuple(found), counts, weights)

    @property
    def num_outputs(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def majority(self) -> int:
        """Index of the training split's most frequent class; the first of equals."""
        return int(np.argmax(self.counts))

    def targets(self, view: StoreView) -> Integers:
        """Return the class index of each sample of a view: int64 [N].

        Raises:
            TaskError: The view has a class that training has not.
        """
        index = {value: place for place, value in enumerate(self.classes)}
        values = _values(view, self.label)
        unseen = sorted({value for value in values if value not in index}, key=str)
        if unseen:
            raise TaskError(
                f"'{self.label}' has classes that the training split has not: "
                f"{', '.join(map(repr, unseen))}. Known: {', '.join(map(repr, self.classes))}."
            )
        return np.array([index[value] for value in values], dtype=np.int64)

    def encoder(self, view: StoreView) -> Encode:
        """Return the mapping from a view's raw labels [B] to class indices int64 [B].

        Raises:
            TaskError: The view has a class that training has not.
        """
        targets = self.targets(view)
        raw = np.asarray(view.label(self.label).values).astype(np.int64)
        codes, first = np.unique(raw, return_index=True)
        known = torch.from_numpy(codes)
        places = torch.from_numpy(targets[first])

        def encode(labels: Tensor) -> Tensor:
            found = torch.searchsorted(known.to(labels.device), labels.long())
            return places.to(labels.device)[found]

        return encode

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross entropy of logits [B, C] and class indices [B]."""
        weight = None
        if self.weights is not None:
            weight = torch.tensor(self.weights, dtype=logits.dtype, device=logits.device)
        return F.cross_entropy(logits, targets, weight=weight)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the classes' probabilities [B, C] of logits [B, C]."""
        return torch.softmax(logits.float(), dim=-1)

    def metrics(self, targets: Integers, probabilities: npt.ArrayLike) -> Metrics:
        """Return accuracy, balanced accuracy, F1 and ROC AUC as fractions.

        Args:
            targets: Class indices int64 [N].
            probabilities: float [N, C].
        """
        return classification_metrics(targets, probabilities)

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


TASKS: dict[str, type[Classification]] = {Classification.name: Classification}
"""Every task by the name it has in a config."""


def load_task(record: dict[str, Any]) -> Classification:
    """Return the task of a run folder's record.

    Raises:
        TaskError: The record is of a task that this scfae does not know.
    """
    if record.get("name") not in TASKS:
        raise TaskError(f"unknown task {record.get('name')!r}; known: {', '.join(TASKS)}.")
    return TASKS[record["name"]].from_dict(record)


def _values(view: StoreView, label: str) -> list[int | str]:
    """Return a view's labels as ints or strings."""
    column = view.label(label)
    if column.kind == "float":
        raise TaskError(f"'{label}' is continuous; classification needs ints or strings.")
    codes = [int(code) for code in column.values]
    if column.classes is None:
        return list(codes)
    return [column.classes[code] for code in codes]
