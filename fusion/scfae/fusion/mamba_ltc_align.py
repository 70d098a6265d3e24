"""A Mamba block, a liquid network and contrastive alignment: the substitute for SALM.

The paper cites "SALM" (Chen et al., Electronics 14(18):3638, 2025), of which neither code nor a
description is public that would suffice: it is cited as Mamba with a liquid network and described
as low-rank adaptation. This is ours, of the parts that the citation names, and no figure of it
stands for SALM's:

    x_m = LN(mamba_m(project(V_m)) + project(V_m))
    h_t = (1 - s_t) g_t + s_t k_t, s_t = sigmoid(linear(b_t)), g_t, k_t = tanh(linear(b_t)),
          b_t = 1.7159 tanh(2/3 linear([x_t; h_(t-1)]))       (closed-form liquid cell, steps of 1)
    fused = [h_T of each modality];  `align` = InfoNCE of each pair over the samples that have both,
          a mean over all pairs, in which one that no sample has is 0

The cell: Hasani et al., "Closed-form continuous-time neural networks" (Nature MI 2022).

Shapes: B samples, T steps, W width.
"""

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor, nn

from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .losses import info_nce
from .mamba import Mamba
from .output import FusionOutput
from .presence import Inputs


class LiquidCell(nn.Module):
    """A closed-form continuous-time cell over a sequence of even steps.

    Args:
        width: W, of rows and state.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.backbone = nn.Linear(2 * width, width)
        self.gate = nn.Linear(width, width)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def forward(self, rows: Tensor, valid: Tensor) -> Tensor:
        """Return the state after the last valid row `[B, W]`; zero without rows."""
        state = torch.zeros_like(rows[:, 0])
        for t in range(rows.shape[1]):
            inner = self.backbone(torch.cat([rows[:, t], state], dim=1))
            b = 1.7159 * torch.tanh(2 / 3 * inner)
            share = torch.sigmoid(self.gate(b))
            new = (1 - share) * torch.tanh(self.first(b)) + share * torch.tanh(self.second(b))
            state = torch.where(valid[:, t, None], new.to(state.dtype), state)
        return state


class MambaLTCAlign(Fusion):
    """State space block, liquid cell and alignment.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the head; None builds none.
        head: `linear` or `mlp`.
        width: W.
        num_states: States of the Mamba block.
        temperature: Of InfoNCE.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        head: str = "linear",
        width: int = 128,
        num_states: int = 16,
        temperature: float = 0.1,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, head=head, check_finite=check_finite)
        del self.poolings  # the liquid cell reads all rows
        if width < 1 or num_states < 1 or temperature <= 0:
            raise ValueError(
                "width, num_states, temperature: must be positive, not "
                f"{width}, {num_states}, {temperature}"
            )
        self.temperature = temperature
        self.project = nn.ModuleDict({m: nn.Linear(d, width) for m, d in self.dims.items()})
        self.blocks = nn.ModuleDict({m: Mamba(width, num_states) for m in self.modalities})
        self.norm = nn.ModuleDict({m: nn.LayerNorm(width) for m in self.modalities})
        self.cells = nn.ModuleDict({m: LiquidCell(width) for m in self.modalities})
        self.add_head(width * len(self.dims))

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, M W]`; `z` holds each modality's last state `[B, W]`."""
        z = {}
        for m in self.modalities:
            valid = inputs.valid[m]
            x = self.project[m](inputs.features[m]).masked_fill(~valid[:, :, None], 0.0)
            z[m] = self.cells[m](self.norm[m](self.blocks[m](x) + x), valid)
        here = dict(zip(self.modalities, inputs.present.unbind(dim=1), strict=True))
        pairs = [
            info_nce(
                z[m].float(),
                z[k].float(),
                temperature=self.temperature,
                valid=here[m] & here[k],
            )
            for m, k in combinations(self.modalities, 2)
        ]
        fused = torch.cat([z[m] for m in self.modalities], dim=1)
        return FusionOutput(fused=fused, z=z, losses={"align": torch.stack(pairs).mean()})


INFOS = (
    FusionInfo(
        name="mamba_ltc_align",
        method=MambaLTCAlign,
        paper_row="SALM",
        source="ours: a Mamba block, a closed-form liquid cell and InfoNCE",
        faithfulness="substitute",
        missing="its state is zero, and it is in no pair",
        deviations=("Not SALM, which cannot be reproduced from public information.",),
        needs=("sequence",),
        min_modalities=2,
        recipe=TrainingRecipe(stage_epochs=(30,), loss_weights={"align": 0.1}),
        batch_losses=("align",),
        is_ours=True,
    ),
)
