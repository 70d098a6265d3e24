"""Adapters before a fusion model: what stands for trainable encoders where features are stored.

A residual perceptron of two layers a modality, as wide as its features, which learns with the
model. It begins as the identity.
"""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class Adapter(nn.Module):
    """`x + W2 gelu(W1 x)`, with W2 zero at first.

    Args:
        dim: Features a row.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(dim, dim), nn.Linear(dim, dim)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return rows `[…, D]`."""
        changed: Tensor = self.outer(F.gelu(self.inner(x)))
        return x + changed


class Adapted(nn.Module):
    """A fusion model behind an adapter of each modality.

    Args:
        model: The fusion model.
        dims: Features a row of each modality.
    """

    def __init__(self, model: nn.Module, dims: Mapping[str, int]) -> None:
        super().__init__()
        self.adapters = nn.ModuleDict({m: Adapter(dim) for m, dim in dims.items()})
        self.model = model

    def adapted(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return features `[B, T, D]` as adapters give them; padding and absent too."""
        return {m: self.adapters[m](x) for m, x in features.items()}

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
        return self.model(self.adapted(features), present, lengths, labels=labels, groups=groups)
