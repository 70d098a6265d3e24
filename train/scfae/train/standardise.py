"""Modalities at one scale: a fixed shift of every feature and one scale a modality, before fusion.

Frozen encoders speak at very different loudness (a speaker network's states vary by hundredths, an
image network's by units), and what is quiet would not be learned from. The scale is one for all
features of a modality: one for each would blow up a feature that hardly ever varied in training
wherever a new sample has it, and SwiGLUs multiply what they are given (on the demo, losses on
validation reached hundreds). Mean and deviation are those of the training split, over samples, of
each sample's mean over rows; they are buffers of the model, so that checkpoints carry them and a
swapped column keeps the scale the model was trained at.

How loud all are made depends on the fusion model (`Fusion.input_rms`): one that begins with a
layer norm does not care, SCFAE multiplies its inputs four times over and would begin at nothing.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from scfae.store import FeatureStream, StoreView

_LEAST_DEVIATION = 1e-6
_BATCH_SIZE = 256


class Standardised(nn.Module):
    """A fusion model behind a fixed shift of each input feature and one scale a modality.

    Args:
        model: The fusion model.
        dims: Features a row of each modality.
        rms: Root mean square that every modality gets, over features and training samples.
    """

    def __init__(self, model: nn.Module, dims: Mapping[str, int], *, rms: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.rms = rms
        self.modalities = tuple(dims)
        for modality, dim in dims.items():
            self.register_buffer(f"mean_{modality}", torch.zeros(dim))
            self.register_buffer(f"scale_{modality}", torch.ones(()))

    def forward(
        self,
        features: Mapping[str, Tensor],
        present: Tensor | None = None,
        lengths: Mapping[str, Tensor] | None = None,
    ) -> Any:
        """Return the model's output for features `[B, T, D]`; it hides what is absent itself."""
        shifted = {
            modality: (x - getattr(self, f"mean_{modality}")) * getattr(self, f"scale_{modality}")
            for modality, x in features.items()
        }
        return self.model(shifted, present, lengths)

    @torch.no_grad()
    def fit(self, view: StoreView) -> None:
        """Take mean and deviation from a view, in one pass; a constant modality is only shifted.

        A modality that no sample has is left as it is.
        """
        sums = {m: torch.zeros(dim, dtype=torch.float64) for m, dim in view.dims.items()}
        squares = {m: torch.zeros(dim, dtype=torch.float64) for m, dim in view.dims.items()}
        counts = dict.fromkeys(view.modalities, 0)
        for batch in FeatureStream(view, batch_size=_BATCH_SIZE, shuffle=False):
            for modality in view.modalities:
                here = batch.lengths[modality] > 0
                rows = batch.features[modality][here].double().sum(dim=1)  # padding is 0
                pooled = rows / batch.lengths[modality][here, None]
                sums[modality] += pooled.sum(dim=0)
                squares[modality] += pooled.square().sum(dim=0)
                counts[modality] += len(pooled)
        for modality, count in counts.items():
            if not count:
                continue
            mean = sums[modality] / count
            variance = (squares[modality] / count - mean.square()).clamp(min=0)
            deviation = variance.mean().sqrt()  # root mean square over the features
            if deviation > _LEAST_DEVIATION * (1.0 + mean.abs().mean()):
                self.get_buffer(f"scale_{modality}").copy_(self.rms / deviation)
            self.get_buffer(f"mean_{modality}").copy_(mean)
