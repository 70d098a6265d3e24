"""Modalities at one scale: a fixed shift of every feature and one scale a modality, before fusion.

Frozen encoders speak at very different loudness (a speaker network's states vary by hundredths, an
image network's by units), and what is quiet would not be learned from. The scale is one for all
features of a modality: one for each would blow up a feature that hardly ever varied in training
wherever a new sample has it, and SwiGLUs multiply what they are given (on the demo, losses on
validation reached hundreds). Mean and deviation are those of the training samples, over each
sample's mean over rows; they are buffers, so that checkpoints carry them.

How loud all are made depends on the fusion model (`Fusion.input_rms`): one that begins with a
layer norm does not care, SCFAE multiplies its inputs four times over and would begin at nothing.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from .presence import prepare

_LEAST_DEVIATION = 1e-6

TrainingBatch = tuple[Mapping[str, Tensor], Tensor | None, Mapping[str, Tensor] | None]
"""Features, presence and lengths, as a fusion method takes them."""


class InputNorm(nn.Module):
    """The shift and the scale; before `fit` they change nothing but by the factor 1.

    Args:
        dims: Features a row of each modality.
        rms: Root mean square that every modality gets, over features and training samples.
    """

    def __init__(self, dims: Mapping[str, int], *, rms: float = 1.0) -> None:
        super().__init__()
        self.dims = dict(dims)
        self.rms = rms
        self.modalities = tuple(dims)
        for modality, dim in dims.items():
            self.register_buffer(f"mean_{modality}", torch.zeros(dim))
            self.register_buffer(f"scale_{modality}", torch.ones(()))

    def normalise(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return features `[B, D]` or `[B, T, D]` shifted and scaled, padding and absent too."""
        return {
            modality: (x - getattr(self, f"mean_{modality}")) * getattr(self, f"scale_{modality}")
            for modality, x in features.items()
        }

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return `normalise(features)`."""
        return self.normalise(features)

    @torch.no_grad()
    def fit(self, batches: Iterable[TrainingBatch]) -> None:
        """Take mean and deviation from training batches, in one pass.

        A constant modality is only shifted; one that no sample has is left as it is.

        Args:
            batches: What to fit on; what is absent or padding does not count.
        """
        sums = {m: torch.zeros(dim, dtype=torch.float64) for m, dim in self.dims.items()}
        squares = {m: torch.zeros(dim, dtype=torch.float64) for m, dim in self.dims.items()}
        counts = dict.fromkeys(self.modalities, 0)
        for features, present, lengths in batches:
            inputs = prepare(features, present, lengths, dims=self.dims)
            for column, modality in enumerate(self.modalities):
                here = inputs.present[:, column].cpu()
                rows = inputs.features[modality].cpu()[here].double().sum(dim=1)  # padding is 0
                pooled = rows / inputs.valid[modality].cpu()[here].sum(dim=1, keepdim=True)
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
