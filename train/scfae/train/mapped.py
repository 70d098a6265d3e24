"""Trained linear maps before a fusion model: a modality of many features in a few.

The paper's 128-128 setting of ActivityNet brings the video's 4096 features to 128 by "a simple
linear map" that learns with the fusion module (reading of `--linear-maps video=128`).
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class Mapped(nn.Module):
    """A fusion model behind a linear map of some modalities.

    Args:
        model: The fusion model, for features of the mapped widths.
        dims: Features a row of each modality, before.
        widths: Features a row after it, of each modality that is mapped.
    """

    def __init__(
        self, model: nn.Module, dims: Mapping[str, int], widths: Mapping[str, int]
    ) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({m: nn.Linear(dims[m], width) for m, width in widths.items()})
        self.model = model

    def forward(
        self,
        features: Mapping[str, Tensor],
        present: Tensor | None = None,
        lengths: Mapping[str, Tensor] | None = None,
        *,
        labels: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> Any:
        """Return the model's output for features `[B, T, D]`; it hides what is absent itself."""
        mapped = {m: self.maps[m](x) if m in self.maps else x for m, x in features.items()}
        return self.model(mapped, present, lengths, labels=labels, groups=groups)


def mapped_dims(dims: Mapping[str, int], widths: Mapping[str, int]) -> dict[str, int]:
    """Return the features a row of each modality that a fusion model sees."""
    return {m: widths.get(m, dim) for m, dim in dims.items()}
