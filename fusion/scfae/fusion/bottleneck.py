"""Attention bottlenecks, MBT (Nagrani et al., NeurIPS 2021, arXiv 2107.00135).

Each modality has a class token, its rows and its own transformer layers. From layer `fusion_layer`
on a few bottleneck tokens stand beside the rows: every modality's layer reads and rewrites them,
and their mean over modalities goes to the next layer (Eq. 8 and 9): the only way between
modalities. The class tokens go through one classifier and their logits are averaged, which for a
linear head is the logit of their mean.

Deviations: stored rows in place of patches, 4 layers of width 256 in place of ViT-B's 12 of 768 (4
bottleneck tokens as published), sinusoidal time code, any number of modalities; means are over
those present; no dropout of attention's weights or of whole layers.

Shapes: B samples, T rows, W model width, N bottleneck tokens.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import SelfAttentionLayer, check_width, time_code
from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .output import FusionOutput
from .presence import Inputs


class Bottleneck(Fusion):
    """Transformers that meet in a few bottleneck tokens.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the head; None builds none.
        head: `linear` or `mlp`, on the mean of the class tokens.
        width: Model width W, even and a multiple of `num_heads`.
        num_layers: Layers of each modality.
        fusion_layer: The first layer with bottleneck tokens, counted from 0.
        num_bottlenecks: Bottleneck tokens N.
        num_heads: Attention heads.
        dropout: In every layer.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        head: str = "linear",
        width: int = 256,
        num_layers: int = 4,
        fusion_layer: int = 2,
        num_bottlenecks: int = 4,
        num_heads: int = 4,
        dropout: float = 0.1,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, head=head, check_finite=check_finite)
        del self.poolings  # class tokens stand for the rows
        check_width(width, num_heads)
        if not 0 <= fusion_layer < num_layers:
            raise ValueError(
                f"fusion_layer: must be from 0 to num_layers - 1 = {num_layers - 1}, "
                f"not {fusion_layer}"
            )
        if num_bottlenecks < 1:
            raise ValueError(f"num_bottlenecks: must be at least 1, not {num_bottlenecks}")
        self.fusion_layer = fusion_layer
        self.project = nn.ModuleDict({m: nn.Linear(d, width) for m, d in self.dims.items()})
        self.class_token = nn.ParameterDict(
            {m: nn.Parameter(torch.randn(1, 1, width) * 0.02) for m in self.dims}
        )
        self.bottleneck = nn.Parameter(torch.randn(1, num_bottlenecks, width) * 0.02)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {m: SelfAttentionLayer(width, num_heads, dropout=dropout) for m in self.dims}
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.add_head(width)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, W]`, the mean of the class tokens `z [B, W]` of what is present."""
        batch_size = inputs.batch_size
        streams: dict[str, Tensor] = {}
        for m in self.modalities:
            rows = self.project[m](inputs.features[m])
            token = self.class_token[m].to(rows.dtype).expand(batch_size, -1, -1)
            streams[m] = torch.cat([token, rows + time_code(rows)], dim=1)
        valid = {m: F.pad(inputs.valid[m], (1, 0), value=True) for m in self.modalities}
        weights = inputs.present / inputs.present.sum(dim=1, keepdim=True).clamp(min=1)
        shared = self.bottleneck.expand(batch_size, -1, -1)
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, nn.ModuleDict)
            if i < self.fusion_layer:
                streams = {m: layer[m](streams[m], valid[m]) for m in self.modalities}
            else:
                shared = self._exchange(layer, streams, valid, shared, weights)
        z = {
            m: self.norm(streams[m][:, 0]).masked_fill(~inputs.present[:, i, None], 0.0)
            for i, m in enumerate(self.modalities)
        }
        votes = torch.stack([z[m] for m in self.modalities], dim=1)
        fused = (votes * weights[:, :, None].to(votes.dtype)).sum(dim=1)
        return FusionOutput(fused=fused, z=z)

    def _exchange(
        self,
        layer: nn.ModuleDict,
        streams: dict[str, Tensor],
        valid: Mapping[str, Tensor],
        shared: Tensor,
        weights: Tensor,
    ) -> Tensor:
        """Run a layer with bottleneck tokens; rewrite the streams and return the tokens' mean."""
        count = shared.shape[1]
        rewritten = []
        for i, m in enumerate(self.modalities):
            tokens = torch.cat([shared.to(streams[m].dtype), streams[m]], dim=1)
            tokens = layer[m](tokens, F.pad(valid[m], (count, 0), value=True))
            streams[m] = tokens[:, count:]
            rewritten.append(tokens[:, :count] * weights[:, i, None, None].to(tokens.dtype))
        return torch.stack(rewritten).sum(dim=0)


INFOS = (
    FusionInfo(
        name="bottleneck",
        method=Bottleneck,
        paper_row="MBT",
        source="Nagrani et al., NeurIPS 2021, arXiv 2107.00135",
        faithfulness="text",
        missing="it neither rewrites the bottleneck tokens nor votes",
        deviations=(
            "Stored rows in place of patches; 4 layers of width 256 in place of 12 of 768.",
            "Sinusoidal time code; no dropout of attention's weights or of whole layers.",
            "Means over modalities are over those present.",
            "Any number of modalities.",
        ),
        needs=("sequence",),
        recipe=TrainingRecipe(source="ours: the published one trains ViT-B end to end with SGD"),
    ),
)
