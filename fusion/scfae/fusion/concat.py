"""Concatenation: the pooled vectors side by side, with their presence bits, through an MLP.

The plainest coupled fusion, the paper's `Concat` row in Table 4. The presence bits are ours: they
tell a missing modality from one that is zero.
"""

from collections.abc import Mapping

import torch
from torch import nn

from .base import Fusion
from .info import FusionInfo
from .output import FusionOutput
from .presence import Inputs


class Concat(Fusion):
    """Masked concatenation and a two-layer MLP.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the head; None builds none.
        pooling: One of `POOLINGS`.
        head: `linear` or `mlp`.
        hidden: Width of both layers, and of `fused`.
        dropout: Between them.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        head: str = "linear",
        hidden: int = 256,
        dropout: float = 0.1,
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims, num_outputs=num_outputs, pooling=pooling, head=head, check_finite=check_finite
        )
        if hidden < 1:
            raise ValueError(f"hidden: must be at least 1, not {hidden}")
        self.mlp = nn.Sequential(
            nn.Linear(sum(self.dims.values()) + len(self.dims), hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.GELU(),
        )
        self.add_head(hidden)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, hidden]`; `z` holds the pooled vectors `[B, D_m]`."""
        vectors = self.pooled(inputs)
        bits = inputs.present.to(next(iter(vectors.values())).dtype)
        joined = torch.cat([*(vectors[m] for m in self.modalities), bits], dim=1)
        return FusionOutput(fused=self.mlp(joined), z=vectors)


INFOS = (
    FusionInfo(
        name="concat",
        method=Concat,
        paper_row="Concat",
        source="plain baseline",
        faithfulness="substitute",
        missing="its vector is zero and its presence bit is 0",
        deviations=("Presence bits beside the vectors are ours.",),
    ),
)
