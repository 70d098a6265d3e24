"""The validation split, as it is stored: nothing masked, nothing learned."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from scfae.store import FeatureStream, StoreView

from .model import apply_model, weighted_losses
from .tasks import Classification


class Validation:
    """Measures a model on a split, always in the same batches.

    Args:
        view: The split.
        task: Its loss and metrics.
        batch_size: Samples a batch.
        loss_weights: Weights of the auxiliary losses.
        group_batches: Batches of whole groups.
    """

    def __init__(
        self,
        view: StoreView,
        task: Classification,
        *,
        batch_size: int,
        loss_weights: Mapping[str, float],
        group_batches: bool = False,
    ) -> None:
        self._stream = FeatureStream(
            view, batch_size=batch_size, shuffle=False, group_batches=group_batches
        )
        self._task = task
        self._encode = task.encoder(view)
        self._loss_weights = loss_weights

    @torch.no_grad()
    def __call__(
        self, model: nn.Module, device: str, autocast: AbstractContextManager[Any]
    ) -> dict[str, float | None]:
        """Return `loss` (task and weighted auxiliary losses, mean over samples) and the metrics."""
        model.eval()
        total, seen = 0.0, 0
        targets: list[npt.NDArray[np.int64]] = []
        probabilities: list[npt.NDArray[np.float32]] = []
        for cpu_batch in self._stream:
            batch = cpu_batch.to(device)
            truth = self._encode(batch.labels[self._task.label])
            with autocast:
                logits, losses = apply_model(
                    model, batch.features, batch.present, batch.lengths, groups=batch.groups
                )
            logits = logits.float()
            loss = self._task.loss(logits, truth)
            loss = loss + sum(weighted_losses(losses, self._loss_weights).values())
            total += loss.item() * len(batch)
            seen += len(batch)
            targets.append(truth.cpu().numpy())
            probabilities.append(self._task.probabilities(logits).cpu().numpy())
        metrics = self._task.metrics(np.concatenate(targets), np.concatenate(probabilities))
        model.train()
        return {"loss": total / seen, **metrics}
