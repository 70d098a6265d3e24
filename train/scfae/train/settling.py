"""What a method settles by samples without labels, each time that its weights are judged.

Such as the shares by which `weight_merge` averages its copies. The samples are the first of the
validation split; their labels are not read.
"""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from scfae.fusion import FusionOutput
from scfae.store import FeatureStream, StoreView

from .model import apply_model, fusion_of

SAMPLES = 256
"""Read at most, in whole batches: a method may ask for answers to them many times."""


class Settling:
    """Lets a model's method settle, if it has anything to.

    Args:
        view: The samples.
        batch_size: Samples a batch.
        group_batches: Batches of whole groups.
    """

    def __init__(self, view: StoreView, batch_size: int, *, group_batches: bool = False) -> None:
        self._view = view
        self._batch_size = batch_size
        self._group_batches = group_batches

    @torch.no_grad()
    def __call__(
        self, model: nn.Module, device: str, autocast: AbstractContextManager[Any]
    ) -> None:
        """Settle; the model, by `build_model` or an average of one, is in training mode after."""
        fusion = fusion_of(model)
        if not fusion.settles:
            return
        # A new one each time, since it is left before its end.
        stream = FeatureStream(
            self._view,
            batch_size=self._batch_size,
            shuffle=False,
            group_batches=self._group_batches,
            prefetch=0,
        )
        batches, read = [], 0
        for batch in stream:
            batches.append(batch.to(device))
            read += len(batch)
            if read >= SAMPLES:
                break

        def answers() -> list[FusionOutput]:
            with autocast:
                return [
                    apply_model(model, x.features, x.present, x.lengths, groups=x.groups)
                    for x in batches
                ]

        model.eval()
        fusion.settle(answers)
        model.train()
