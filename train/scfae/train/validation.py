"""The validation split, as it is stored: nothing masked, nothing learned."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import nn

from scfae.store import FeatureStream, StoreView

from .metrics import Metrics
from .model import apply_model, weighted_losses
from .scoring import Collected, score_batch, show
from .tasks import Scored, Task


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
        task: Task,
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
        self._trials = task.validation_trials(view.modalities)
        everything = tuple(view.modalities)
        shown = dict.fromkeys(one for trial in self._trials for one in trial.shown)
        self._full = everything if everything in shown else None
        self._settings = show([one for one in shown if one != everything])

    @torch.no_grad()
    def __call__(
        self, model: nn.Module, device: str, autocast: AbstractContextManager[Any]
    ) -> dict[str, float | None]:
        """Return `loss` (task and weighted auxiliary losses, mean over samples) and the metrics.

        The metrics are the mean over the task's conditions of validation: the full set of
        modalities, or for retrieval all directions.
        """
        model.eval()
        total, seen = 0.0, 0
        collected = Collected()
        for cpu_batch in self._stream:
            batch = cpu_batch.to(device)
            truth = self._encode(batch, batch.present)
            with autocast:
                output = apply_model(
                    model, batch.features, batch.present, batch.lengths, groups=batch.groups
                )
            loss = self._task.loss(output, truth, batch.present)
            loss = loss + sum(weighted_losses(output.losses, self._loss_weights).values())
            total += loss.item() * len(batch)
            seen += len(batch)
            scored: dict[Any, Scored] = {}
            if self._full is not None:
                scored[self._full] = Scored(
                    truth.cpu().numpy(),
                    self._task.scores(output, self._full).cpu().numpy(),
                    batch.present.any(dim=1).cpu().numpy(),
                )
            for setting in self._settings:
                scored[setting.key] = score_batch(
                    model, self._task, self._encode, batch, setting, autocast=autocast
                )
            collected.add(batch.ids, scored)
        whole = collected.whole()
        found = [self._task.measure(trial, whole, 0).metrics for trial in self._trials]
        model.train()
        return {"loss": total / seen, **mean_metrics(found)}


def mean_metrics(found: list[Metrics]) -> Metrics:
    """Return the mean of each metric over the conditions where it is defined."""
    means: Metrics = {}
    for name in found[0]:
        known = [value for one in found if (value := one[name]) is not None]
        means[name] = float(np.mean(known)) if known else None
    return means
