"""One tower a modality: from its pooled vector to an embedding, zero where it is absent."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .perceptron import MLP


class Towers(nn.Module):
    """An MLP for each modality.

    Args:
        dims: Width of each modality.
        *widths: Of hidden layers and embedding.
        activation: Of hidden layers.
        dropout: After each hidden layer.
        activate_last: The embedding is activated too.
        unit: The embedding has unit length.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *widths: int,
        activation: str = "gelu",
        dropout: float = 0.0,
        activate_last: bool = False,
        unit: bool = False,
    ) -> None:
        super().__init__()
        self.unit = unit
        self.mlps = nn.ModuleDict(
            {
                m: MLP(
                    d, *widths, activation=activation, dropout=dropout, activate_last=activate_last
                )
                for m, d in dims.items()
            }
        )

    def forward(self, vectors: Mapping[str, Tensor], present: Tensor) -> dict[str, Tensor]:
        """Return each modality's embedding `[B, W]`, zero where absent.

        Args:
            vectors: For each modality `[B, D_m]`, in the order of `present`.
            present: bool `[B, M]`.
        """
        embeddings = {}
        for column, (m, vector) in enumerate(vectors.items()):
            embedding = self.mlps[m](vector)
            if self.unit:
                embedding = F.normalize(embedding, dim=1)
            embeddings[m] = embedding.masked_fill(~present[:, column, None], 0.0)
        return embeddings


def for_head(unit: Mapping[str, Tensor]) -> list[Tensor]:
    """Return embeddings of unit length times sqrt W: of root mean square 1, as heads expect.

    A linear head on numbers of size 1 / sqrt W learns slowly at usual rates.

    Args:
        unit: For each modality `[B, W]`.
    """
    return [x * x.shape[1] ** 0.5 for x in unit.values()]


def mean_of_present(parts: Mapping[str, Tensor], present: Tensor) -> Tensor:
    """Return the mean over the modalities that are present, `[B, W]`; zero where none is.

    Args:
        parts: For each modality `[B, W]`, in the order of `present`.
        present: bool `[B, M]`.
    """
    stacked = torch.stack(list(parts.values()), dim=1)
    count = present.sum(dim=1, keepdim=True).clamp(min=1)
    return stacked.masked_fill(~present[:, :, None], 0.0).sum(dim=1) / count
