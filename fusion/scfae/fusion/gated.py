"""Gated multimodal unit (Arevalo et al., arXiv 1702.01992).

    h_m = tanh(W_m x_m)       z_m = sigmoid(U_m [x_1; ..; x_M])       h = sum over m of z_m * h_m

For two modalities the gates are tied, z_2 = 1 - z_1, as in the paper's bimodal unit. Deviations:
what is absent adds nothing, and no batch norm on the inputs (its statistics would mix samples).
"""

from collections.abc import Mapping

import torch
from torch import nn

from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .output import FusionOutput
from .presence import Inputs


class Gated(Fusion):
    """A sum of the modalities' hidden vectors, gated feature by feature.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the head; None builds none.
        pooling: One of `POOLINGS`.
        head: `linear` or `mlp`.
        hidden: Width of the unit.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        head: str = "linear",
        hidden: int = 512,
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims, num_outputs=num_outputs, pooling=pooling, head=head, check_finite=check_finite
        )
        if hidden < 1:
            raise ValueError(f"hidden: must be at least 1, not {hidden}")
        total = sum(self.dims.values())
        self.hidden = nn.ModuleDict(
            {m: nn.Linear(d, hidden, bias=False) for m, d in self.dims.items()}
        )
        num_gates = 1 if len(self.dims) == 2 else len(self.dims)
        self.gates = nn.ModuleList(nn.Linear(total, hidden, bias=False) for _ in range(num_gates))
        self.add_head(hidden)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, hidden]`; `z` holds each modality's gated share of it."""
        vectors = self.pooled(inputs)
        joined = torch.cat([vectors[m] for m in self.modalities], dim=1)
        gates = [gate(joined).sigmoid() for gate in self.gates]
        if len(self.modalities) == 2:
            gates.append(1 - gates[0])
        # Without bias an absent modality's zeros are a hidden vector of zeros.
        z = {
            m: gate * self.hidden[m](vectors[m]).tanh()
            for m, gate in zip(self.modalities, gates, strict=True)
        }
        return FusionOutput(fused=torch.stack(list(z.values())).sum(dim=0), z=z)


INFOS = (
    FusionInfo(
        name="gated",
        method=Gated,
        paper_row="Gated Fusion",
        source="Arevalo et al., arXiv 1702.01992",
        faithfulness="text",
        missing="it adds nothing, and is zero in the others' gates",
        deviations=("No batch norm on the inputs.",),
        recipe=TrainingRecipe(source="ours"),
    ),
)
