"""One linear map for each modality into one space (arXiv 2410.15475v2, Table 8, "Linear Proj.").

No nonlinearity, no reconstruction, nothing exchanged: `V_m -> P_m V_m`, l* = min l_m wide. For
retrieval compare `shared_from` of two modalities, with `RetrievalHead` or InfoNCE as the task.
"""

from collections.abc import Mapping

import torch
from torch import nn

from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .output import FusionOutput
from .presence import Inputs


class LinearProjection(Fusion):
    """A linear map for each modality; the vectors side by side.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the head; None builds none.
        pooling: One of `POOLINGS`.
        head: `linear` or `mlp`.
        width: Of the common space; None is the least of the modalities' widths, as in SCFAE.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        head: str = "linear",
        width: int | None = None,
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims, num_outputs=num_outputs, pooling=pooling, head=head, check_finite=check_finite
        )
        if width is not None and width < 1:
            raise ValueError(f"width: must be at least 1, not {width}")
        space = width or min(self.dims.values())
        self.project = nn.ModuleDict({m: nn.Linear(d, space) for m, d in self.dims.items()})
        self.add_head(space * len(self.dims))

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, M l*]`; `z` and `shared_from` hold each projection, zero if absent."""
        z = {
            m: self.project[m](x).masked_fill(~inputs.present[:, i, None], 0.0)
            for i, (m, x) in enumerate(self.pooled(inputs).items())
        }
        fused = torch.cat([z[m] for m in self.modalities], dim=1)
        return FusionOutput(fused=fused, z=z, shared_from=z)


INFOS = (
    FusionInfo(
        name="linear",
        method=LinearProjection,
        paper_row="Linear Proj.",
        source="arXiv 2410.15475v2, Table 8",
        faithfulness="text",
        missing="its projection is zero",
        recipe=TrainingRecipe(
            lr=5e-4, stage_epochs=(10,), warmup_share=0.2, source="SCFAE's, appendix A.2"
        ),
    ),
)
