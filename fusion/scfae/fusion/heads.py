"""Heads: from the fused vector to outputs, each with its loss and its prediction.

A fusion method built with `num_outputs` has the plain map of `make_head`; the classes here are for
a program of its own, and for retrieval, where each modality has an embedding.

Shapes: B samples, F features of the fused vector, C classes, labels or values.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .losses import check_temperature, info_nce, learned_temperature

KINDS = ("linear", "mlp")


def make_head(kind: str, width: int, num_outputs: int) -> nn.Module:
    """Return a head `[B, width]` -> `[B, num_outputs]`.

    Args:
        kind: `linear` (reading A11 of the paper), or `mlp` with one hidden layer of the same width.
        width: Width of the fused vector.
        num_outputs: Classes, or values.

    Raises:
        ValueError: If there is no head of this kind.
    """
    if kind == "linear":
        return nn.Linear(width, num_outputs)
    if kind == "mlp":
        return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, num_outputs))
    raise ValueError(f"head: must be one of {', '.join(KINDS)}, not {kind!r}")


class ClassificationHead(nn.Module):
    """One of C classes, by cross-entropy.

    Args:
        width: Features F.
        num_classes: C.
        kind: `linear` or `mlp`.
        class_weights: `[C]`, each class's weight in the loss; None is 1.
    """

    def __init__(
        self,
        width: int,
        num_classes: int,
        *,
        kind: str = "linear",
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.body = make_head(kind, width, num_classes)
        self.register_buffer("class_weights", class_weights)

    def forward(self, fused: Tensor) -> Tensor:
        """Return logits `[B, C]` from `[B, F]`."""
        logits: Tensor = self.body(fused)
        return logits

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of logits `[B, C]` and classes int `[B]`."""
        weight = self.class_weights
        assert weight is None or isinstance(weight, Tensor)
        return F.cross_entropy(logits, labels, weight)

    def predict(self, logits: Tensor) -> Tensor:
        """Return the most probable class, int `[B]`."""
        return logits.argmax(dim=1)


class MultiLabelHead(nn.Module):
    """Any number of C labels, each by its own sigmoid.

    Args:
        width: Features F.
        num_labels: C.
        kind: `linear` or `mlp`.
        threshold: The probability from which on a label is predicted.
    """

    def __init__(
        self, width: int, num_labels: int, *, kind: str = "linear", threshold: float = 0.5
    ) -> None:
        super().__init__()
        self.body = make_head(kind, width, num_labels)
        self.threshold = threshold

    def forward(self, fused: Tensor) -> Tensor:
        """Return logits `[B, C]` from `[B, F]`."""
        logits: Tensor = self.body(fused)
        return logits

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean binary cross-entropy; a label that is NaN is unknown and does not count.

        Args:
            logits: `[B, C]`.
            labels: Float `[B, C]`: 1, 0 or NaN.
        """
        known = ~labels.isnan()
        losses = F.binary_cross_entropy_with_logits(
            logits, labels.masked_fill(~known, 0.0), reduction="none"
        )
        return losses.masked_fill(~known, 0.0).sum() / known.sum().clamp(min=1)

    def predict(self, logits: Tensor) -> Tensor:
        """Return which labels hold, bool `[B, C]`."""
        return logits.sigmoid() >= self.threshold


class RegressionHead(nn.Module):
    """Values, by their absolute or squared error.

    Args:
        width: Features F.
        num_values: C.
        kind: `linear` or `mlp`.
        error: `l1` or `mse`.

    Raises:
        ValueError: If the error is neither.
    """

    def __init__(
        self, width: int, num_values: int = 1, *, kind: str = "linear", error: str = "l1"
    ) -> None:
        super().__init__()
        if error not in ("l1", "mse"):
            raise ValueError(f"error: must be one of l1, mse, not {error!r}")
        self.body = make_head(kind, width, num_values)
        self.error = error

    def forward(self, fused: Tensor) -> Tensor:
        """Return values `[B, C]` from `[B, F]`."""
        values: Tensor = self.body(fused)
        return values

    def loss(self, values: Tensor, targets: Tensor) -> Tensor:
        """Return the mean error of values `[B, C]` against `[B, C]`, or `[B]` of one value."""
        targets = targets.reshape(values.shape)
        return (F.l1_loss if self.error == "l1" else F.mse_loss)(values, targets)

    def predict(self, values: Tensor) -> Tensor:
        """Return the values themselves, `[B, C]`."""
        return values


class RetrievalHead(nn.Module):
    """An embedding of unit length for each modality, in one space, by InfoNCE over all pairs.

    With SCFAE give it `shared_from`: `z` of one modality holds the other's evidence, and on paired
    data would find the pair by itself.

    Args:
        widths: Width of each modality's vector.
        embedding_dim: Width of the space, E.
        temperature: Where it begins; it learns, and stays at least 0.01, as in CLIP.

    Raises:
        ValueError: If it begins below 0.01.
    """

    def __init__(
        self, widths: Mapping[str, int], embedding_dim: int = 128, *, temperature: float = 0.07
    ) -> None:
        super().__init__()
        check_temperature(temperature)
        self.modalities = tuple(widths)
        self.project = nn.ModuleDict({m: nn.Linear(w, embedding_dim) for m, w in widths.items()})
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return embeddings `[B, E]` by modality, from vectors `[B, *]` of some modalities."""
        return {m: F.normalize(self.project[m](x), dim=1) for m, x in vectors.items()}

    def loss(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Return InfoNCE, summed over pairs of modalities, each over samples that have both.

        Args:
            embeddings: `[B, E]` of every modality.
            present: bool `[B, M]`, in the order of `widths`.
        """
        temperature = learned_temperature(self.log_scale, is_training=self.training)
        total = 0.0 * self.log_scale
        for i, first in enumerate(self.modalities):
            for j, second in enumerate(self.modalities[:i]):
                both = present[:, i] & present[:, j]
                total = total + info_nce(
                    embeddings[second], embeddings[first], temperature=temperature, valid=both
                )
        return total

    def predict(self, queries: Tensor, gallery: Tensor) -> Tensor:
        """Return for each query `[Q, E]` the rows of `[G, E]` by falling cosine, int `[Q, G]`."""
        return (queries @ gallery.T).argsort(dim=1, descending=True)
