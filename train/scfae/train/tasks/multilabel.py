"""Any number of labels a sample, each its own yes or no, by binary cross entropy.

The labels are columns of 0 and 1, named in `label` with commas between them. One that a sample
lacks is unknown: it counts in no loss and in no metric.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, JsonValue
from torch import Tensor

from scfae.fusion import FusionOutput
from scfae.store import Batch, StoreView
from scfae.store.errors import TaskError

from ..metrics import MULTILABEL_METRICS, Metrics, multilabel_metrics
from .labels import numbers
from .task import Array, Encode, Task, TaskOptions, checked_options, refuse, to_float


class MultiLabelOptions(TaskOptions):
    """Settings of several labels."""

    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """The probability from which on a label is predicted."""


@dataclass(frozen=True)
class MultiLabel(Task):
    """Which of several labels hold.

    Attributes:
        label: The label columns, with commas between them.
        names: The label columns.
        rates: Share of the training samples that have each, among those where it is known.
        threshold: The probability from which on a label is predicted.
        weights: Weight of a positive of each label in the loss, or None.
    """

    name: ClassVar[str] = "multilabel"
    Options: ClassVar[type[TaskOptions]] = MultiLabelOptions
    metric_names = MULTILABEL_METRICS
    headline = "macro_f1"
    selection = "mean_average_precision"
    baseline_name: ClassVar[str] = "always the training rates"
    label: str
    names: tuple[str, ...]
    rates: tuple[float, ...]
    threshold: float = 0.5
    weights: tuple[float, ...] | None = None

    @classmethod
    def possible_metrics(cls, options: Any) -> tuple[str, ...]:
        """Return every figure."""
        return MULTILABEL_METRICS

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
        """Learn how frequent each label is.

        Args:
            train: The training split.
            label: Label columns of 0 and 1, with commas between them.
            class_weights: `balanced` weighs a label's positives by its negatives' count over
                theirs.
            modality_labels: None: the labels are those of all modalities.
            options: See `MultiLabelOptions`.

        Raises:
            TaskError: A label is no 0 or 1, or the training split has one of both only.
        """
        refuse(cls.name, modality_labels=modality_labels)
        asked = checked_options(cls, options)
        names = tuple(name.strip() for name in label.split(","))
        rates = []
        for name in names:
            values = _flags(train, name)
            known = values[~np.isnan(values)]
            if len(np.unique(known)) < 2:
                what = f"only {known[0]:.0f}" if len(known) else "no value"
                raise TaskError(
                    f"the training split has {what} in '{name}'; 0 and 1 are both needed: leave "
                    "the label out."
                )
            rates.append(float(known.mean()))
        weights = None
        if class_weights == "balanced":
            weights = tuple((1 - rate) / rate for rate in rates)
        return cls(label, names, tuple(rates), asked.threshold, weights)

    @property
    def num_outputs(self) -> int:
        """Number of labels."""
        return len(self.names)

    @property
    def constant_answer(self) -> str:
        """The labels' rates in training."""
        return ", ".join(
            f"{name} {rate:.2f}" for name, rate in zip(self.names, self.rates, strict=True)
        )

    def encoder(self, view: StoreView) -> Encode:
        """Return the mapping from batches to float32 [B, C]: 1, 0, or NaN for unknown.

        Raises:
            TaskError: A label is no 0 or 1.
        """
        for name in self.names:
            _flags(view, name)

        def encode(batch: Batch, shown: Tensor) -> Tensor:
            each = torch.stack([batch.labels[name].float() for name in self.names], dim=1)
            return each.masked_fill(each < 0, torch.nan)  # unknown integers come as -1

        return encode

    def method_labels(self, targets: Tensor) -> Tensor:
        """Return the labels without NaN: an unknown one is half of each."""
        return targets.nan_to_num(0.5)

    def loss(self, output: FusionOutput, targets: Tensor, present: Tensor) -> Tensor:
        """Return the mean binary cross entropy over the known cells of [B, C]."""
        logits = to_float(output.logits)
        known = ~targets.isnan()
        weight = None
        if self.weights is not None:
            weight = torch.tensor(self.weights, device=logits.device)
        losses = F.binary_cross_entropy_with_logits(
            logits, targets.nan_to_num(0.0), reduction="none", pos_weight=weight
        )
        return losses.masked_fill(~known, 0.0).sum() / known.sum().clamp(min=1)

    def scores(self, output: FusionOutput, shown: Sequence[str]) -> Tensor:
        """Return each label's probability [B, C]."""
        return to_float(output.logits).sigmoid()

    def metrics(self, targets: Array, scores: Array) -> Metrics:
        """Return `multilabel_metrics` of targets and probabilities [N, C]."""
        return multilabel_metrics(targets, scores, threshold=self.threshold)

    def constant(self, shown: Sequence[str]) -> Array:
        """Return the labels' rates in training [C]."""
        return np.array(self.rates)

    def answer(self, scores: Array) -> dict[str, Any]:
        """Return the labels that hold and all probabilities."""
        named = list(zip(self.names, map(float, scores), strict=True))
        return {
            "prediction": [name for name, p in named if p >= self.threshold],
            "probabilities": dict(named),
        }

    def truth(self, target: Any) -> dict[str, int | None]:
        """Return the known labels of one sample."""
        named = zip(self.names, target, strict=True)
        return {name: None if np.isnan(value) else int(value) for name, value in named}

    def as_dict(self) -> dict[str, Any]:
        """Return the task as plain JSON values."""
        return {
            "name": self.name,
            "label": self.label,
            "names": list(self.names),
            "rates": list(self.rates),
            "threshold": self.threshold,
            "weights": None if self.weights is None else list(self.weights),
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """Return the task that `as_dict` described."""
        weights = record["weights"]
        return cls(
            record["label"],
            tuple(record["names"]),
            tuple(record["rates"]),
            record["threshold"],
            None if weights is None else tuple(weights),
        )


def _flags(view: StoreView, label: str) -> Array:
    values = numbers(view, label)
    odd = sorted(set(values[~np.isnan(values)]) - {0.0, 1.0})
    if odd:
        raise TaskError(f"'{label}' holds {odd[0]:g}; each of several labels is 0 or 1.")
    return values
