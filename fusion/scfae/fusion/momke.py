"""MoMKE: experts of one modality, then a soft mixture of all of them for every modality.

Xu et al., "Leveraging Knowledge of Modality Experts for Incomplete Multimodal Learning" (ACM MM
2024), after the released code. Stage 1 trains, for each modality m, an expert E_m and a head on
that modality alone. Stage 2 passes every modality through every expert:

    x_m = sum over e of w_me E_e(p_m),   w_m = softmax(MLP_m(p_m)),   p_m = dropout(project(V_m))
    fused = u + [x_1; ...; x_M],         u = dropout(relu(linear([x_1; ...; x_M])))

An expert is layers of x + o + MLP(o), o the attention over the sequence: no norm, no output
projection, absent and padded places no keys. Every MLP, the routers' too, has dropout after each of
its two layers. The sequence is the dialogue where `groups` are given and else each sample's own
rows.

Deviations: any number of modalities; masks by sample, where the authors train one model for each
test condition; keys have no bias, which the softmax would cancel. The released code keeps the last
weights and reports the epoch of the best test score; the recipe here says nothing about selection,
which is the trainer's, on validation.

Shapes: B samples, N sequences of L places, W model width, C outputs.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Fusion
from .context import Dialogues, take_or_pool
from .info import FusionInfo, TrainingRecipe
from .losses import mean_over_present
from .output import FusionOutput
from .presence import Inputs
from .task_errors import task_errors


def _mlp(width: int, width_out: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, width),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(width, width_out),
        nn.Dropout(dropout),
    )


class ExpertLayer(nn.Module):
    """`x + o + MLP(o)` with o the attention of x over its sequence.

    Args:
        width: Model width W.
        num_heads: Attention heads.
        dropout: In the MLP.
    """

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.mlp = _mlp(width, width, dropout)

    def attend(self, x: Tensor, valid: Tensor) -> Tensor:
        """Return the attention `[N, L, W]`; zero where no place is valid."""
        heads = (*x.shape[:2], self.num_heads, -1)
        query, key, value = (
            layer(x).view(heads).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        # A sequence without keys would be NaN: it sees every place, and is then zeroed.
        seen = valid | ~valid.any(dim=1, keepdim=True)
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None, None])
        out = heard.transpose(1, 2).flatten(2)
        return out.masked_fill(~valid.any(dim=1)[:, None, None], 0.0)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Return `[N, L, W]` from x `[N, L, W]` and valid bool `[N, L]`."""
        heard = self.attend(x, valid)
        refined: Tensor = x + heard + self.mlp(heard)
        return refined


class Expert(nn.Module):
    """A modality's expert: a stack of layers.

    Args:
        width: Model width W.
        num_heads: Attention heads.
        num_layers: Layers.
        dropout: In their MLPs.
    """

    def __init__(self, width: int, num_heads: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            ExpertLayer(width, num_heads, dropout) for _ in range(num_layers)
        )

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Return `[N, L, W]`, zero where not valid."""
        for layer in self.layers:
            x = layer(x, valid)
        return x.masked_fill(~valid[:, :, None], 0.0)


class MoMKE(Fusion):
    """Modality experts and their soft mixture.

    In the first stage, with labels, the logits carry no gradient: each modality's own loss trains
    its expert, and nothing else does.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the heads; None builds none, and there is no loss in stage 1.
        pooling: How rows become a vector where `groups` are given: `mean` or `attention`.
        head: `linear` or `mlp`, of stage 2.
        width: Model width W, a multiple of `num_heads`.
        num_heads: Attention heads.
        num_layers: Layers of each expert.
        dropout: Of projections, MLPs, routers and the output.
        check_finite: Refuse NaN and infinity in what is present.
    """

    num_stages: ClassVar[int] = 2

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        head: str = "linear",
        width: int = 256,
        num_heads: int = 2,
        num_layers: int = 4,
        dropout: float = 0.5,
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims, num_outputs=num_outputs, pooling=pooling, head=head, check_finite=check_finite
        )
        if width < 1 or width % num_heads:
            raise ValueError(f"width: must be a multiple of num_heads = {num_heads}, not {width}")
        joint = width * len(self.dims)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.ModuleDict({m: nn.Linear(d, width) for m, d in self.dims.items()})
        self.experts = nn.ModuleDict(
            {m: Expert(width, num_heads, num_layers, dropout) for m in self.modalities}
        )
        # Alone there is nothing to choose from: the softmax of one is 1.
        self.routers = nn.ModuleDict(
            {m: _mlp(width, len(self.dims), dropout) for m in self.modalities if len(self.dims) > 1}
        )
        self.joint = nn.Linear(joint, joint)
        self.own_heads = nn.ModuleDict(
            {m: nn.Linear(width, num_outputs) for m in self.modalities if num_outputs is not None}
        )
        self.add_head(joint)
        self.begin_stage(0)

    def begin_stage(self, stage: int) -> None:
        """Begin stage 0, the experts alone, or 1, their mixture.

        Raises:
            ValueError: If there is no such stage.
        """
        super().begin_stage(stage)
        self.own_heads.requires_grad_(stage == 0)
        for part in (self.routers, self.joint, *([self.head] if self.head is not None else [])):
            part.requires_grad_(stage == 1)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, M * W]`; `z` holds each modality's `[B, W]`."""
        dialogues = None if inputs.groups is None else Dialogues.of(inputs.groups)
        vectors = {} if dialogues is None else self.pooled(inputs)
        z = {}
        for i, m in enumerate(self.modalities):
            rows, valid = inputs.features[m], inputs.valid[m]
            if dialogues is not None:
                rows, valid = dialogues.lay(vectors[m]), dialogues.lay(inputs.present[:, i])
            z[m] = take_or_pool(self._represent(m, rows, valid), valid, dialogues)
        joined = torch.cat([z[m] for m in self.modalities], dim=1)
        if self.stage == 0:
            return self._alone(joined, z, inputs)
        return FusionOutput(fused=self.dropout(F.relu(self.joint(joined))) + joined, z=z)

    def _represent(self, modality: str, rows: Tensor, valid: Tensor) -> Tensor:
        x = self.dropout(self.project[modality](rows)).masked_fill(~valid[:, :, None], 0.0)
        own: Tensor = self.experts[modality](x, valid)
        if self.stage == 0 or not self.routers:
            return own
        weights = self.routers[modality](x).softmax(dim=-1)
        heard = [self.experts[e](x, valid) if e != modality else own for e in self.modalities]
        mixed: Tensor = (torch.stack(heard, dim=-1) * weights[:, :, None, :]).sum(dim=-1)
        return mixed

    def _alone(self, joined: Tensor, z: dict[str, Tensor], inputs: Inputs) -> FusionOutput:
        if not self.own_heads:
            return FusionOutput(fused=joined, z=z)
        logits = torch.stack([self.own_heads[m](z[m]) for m in self.modalities], dim=1)
        here = inputs.present[:, :, None]
        mean = (logits * here).sum(dim=1) / here.sum(dim=1).clamp(min=1)
        if inputs.labels is None:
            return FusionOutput(fused=joined, z=z, logits=mean)
        errors = torch.stack([task_errors(one, inputs.labels) for one in logits.unbind(1)], dim=1)
        losses = {"experts": mean_over_present(errors, inputs.present, inputs.present)}
        return FusionOutput(fused=joined, z=z, losses=losses, logits=mean.detach())


INFOS = (
    FusionInfo(
        name="momke",
        method=MoMKE,
        paper_row="MoMKE",
        source="Xu et al., ACM MM 2024, code wxxv/MoMKE",
        faithfulness="code",
        missing="its places are no keys and its slot is zero",
        deviations=(
            "One model for all masks, not one for each test condition.",
            "Without dialogues the sequence is each sample's own rows.",
            "Keys without bias.",
        ),
        needs=("dialogue", "labels", "two_stages"),
        recipe=TrainingRecipe(
            optimizer="adam",
            lr=1e-4,
            weight_decay=1e-5,
            batch_size=32,
            stage_epochs=(50, 50),
            schedule="constant",
            source="the released code",
        ),
    ),
)
