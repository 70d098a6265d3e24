"""One continuous value, such as sentiment from -3 to 3.

The loss is the squared error (GCNet, MoMKE, MCULoRA) or the absolute one (MISA, IMDer, DLF). Labels
of the training split that lie in [-3, 3] on both sides of 0 are taken for sentiment and measured by
the field's figures; others by MAE, RMSE, Corr and R². `scale` says so where that guess is wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch.nn.functional as F
from pydantic import JsonValue
from torch import Tensor

from scfae.fusion import FusionOutput
from scfae.store import Batch, StoreView
from scfae.store.errors import TaskError

from ..bootstrap import Interval, value_intervals
from ..metrics import (
    REGRESSION_METRICS,
    SENTIMENT_METRICS,
    Metrics,
    regression_figures,
    regression_metrics,
    sentiment_figures,
    sentiment_metrics,
)
from .labels import numbers
from .task import Array, Encode, Task, TaskOptions, checked_options, refuse, to_float

LARGEST_SENTIMENT = 3.0


class RegressionOptions(TaskOptions):
    """Settings of a continuous value."""

    error: Literal["mse", "l1"] = "mse"
    """The loss: squared or absolute error."""
    scale: Literal["auto", "sentiment", "plain"] = "auto"
    """How it is measured; auto: as sentiment where all training labels are in [-3, 3]."""


@dataclass(frozen=True)
class Regression(Task):
    """One continuous value.

    Attributes:
        label: Label column.
        error: `mse` or `l1`.
        is_sentiment: Whether it is measured as sentiment.
        middle: Median of the training labels.
        bounds: Least and largest training label.
    """

    name: ClassVar[str] = "regression"
    Options: ClassVar[type[TaskOptions]] = RegressionOptions
    selection = "mae"
    baseline_name: ClassVar[str] = "always the training median"
    label: str
    error: str
    is_sentiment: bool
    middle: float
    bounds: tuple[float, float]

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
        """Learn the labels' range from the training split.

        Args:
            train: The training split.
            label: Label column with numbers.
            class_weights: `none`.
            modality_labels: None: the label is that of all modalities.
            options: See `RegressionOptions`.

        Raises:
            TaskError: The labels are text, not finite, all the same, or no sentiment.
        """
        refuse(cls.name, class_weights=class_weights, modality_labels=modality_labels)
        asked = checked_options(cls, options)
        values = _finite(train, label)
        low, high = float(values.min()), float(values.max())
        if low == high:
            raise TaskError(
                f"the training split has only the value {low:g} in '{label}'; there is nothing to "
                "learn."
            )
        fits = -LARGEST_SENTIMENT <= low < 0 < high <= LARGEST_SENTIMENT
        if asked.scale == "sentiment" and not fits:
            raise TaskError(
                f"task_options.scale = sentiment: '{label}' goes from {low:g} to {high:g} in the "
                "training split, not from -3 to 3."
            )
        is_sentiment = fits and asked.scale != "plain"
        return cls(label, asked.error, is_sentiment, float(np.median(values)), (low, high))

    @classmethod
    def possible_metrics(cls, options: Any) -> tuple[str, ...]:
        """Return the figures of sentiment and of any value."""
        return tuple(dict.fromkeys([*SENTIMENT_METRICS, *REGRESSION_METRICS]))

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The figures of sentiment, or of any value."""
        return SENTIMENT_METRICS if self.is_sentiment else REGRESSION_METRICS

    @property
    def headline(self) -> str:
        """ACC2 on samples that are not neutral, or Pearson's correlation."""
        return "acc2_nonzero" if self.is_sentiment else "corr"

    @property
    def num_outputs(self) -> int:
        """One value."""
        return 1

    @property
    def constant_answer(self) -> float:
        """Median of the training labels."""
        return self.middle

    def encoder(self, view: StoreView) -> Encode:
        """Return the mapping from a view's batches to values float32 [B].

        Raises:
            TaskError: A label is text or not finite.
        """
        _finite(view, self.label)

        def encode(batch: Batch, shown: Tensor) -> Tensor:
            return batch.labels[self.label].float()

        return encode

    def loss(self, output: FusionOutput, targets: Tensor, present: Tensor) -> Tensor:
        """Return the mean error of values [B, 1] and labels [B]."""
        values = to_float(output.logits)[:, 0]
        return F.mse_loss(values, targets) if self.error == "mse" else F.l1_loss(values, targets)

    def scores(self, output: FusionOutput, shown: Sequence[str]) -> Tensor:
        """Return the values [B, 1]."""
        return to_float(output.logits)

    def metrics(self, targets: Array, scores: Array) -> Metrics:
        """Return the metrics of labels [N] and values [N, 1]."""
        return (sentiment_metrics if self.is_sentiment else regression_metrics)(targets, scores)

    def intervals(self, targets: Array, scores: Array, *, draws: int) -> dict[str, Interval | None]:
        """Return the 95 % bootstrap interval of every metric."""
        figures = sentiment_figures if self.is_sentiment else regression_figures
        return value_intervals(figures, targets, scores, self.metric_names, resamples=draws)

    def constant(self, shown: Sequence[str]) -> Array:
        """Return the training labels' median, [1]."""
        return np.array([self.middle])

    def answer(self, scores: Array) -> dict[str, Any]:
        """Return the value."""
        return {"prediction": float(scores[0])}

    def as_dict(self) -> dict[str, Any]:
        """Return the task as plain JSON values."""
        return {
            "name": self.name,
            "label": self.label,
            "error": self.error,
            "is_sentiment": self.is_sentiment,
            "middle": self.middle,
            "bounds": list(self.bounds),
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """Return the task that `as_dict` described."""
        low, high = record["bounds"]
        return cls(
            record["label"], record["error"], record["is_sentiment"], record["middle"], (low, high)
        )


def _finite(view: StoreView, label: str) -> Array:
    values = numbers(view, label)
    if not len(values):
        raise TaskError(f"there is no label '{label}' to learn from.")
    odd = np.flatnonzero(~np.isfinite(values))
    if len(odd):
        raise TaskError(
            f"'{label}' of sample '{view.ids[odd[0]]}' is not finite ({len(odd)} of {len(values)} "
            "are not); correct the labels."
        )
    return values
