"""MACB-DF, its core: cross-attention with a contrast in every layer, and unimodal heads.

After the text of Xiong et al. (ICMR 2025, arXiv 2505.12966); there is no code. Streams of tokens
hear each other layer by layer; the streams' means are aligned by contrast after each; a head on
each modality before any of it keeps the modalities able on their own. What keeps them so in the
original is the gradient: its orthogonal Pareto step is, for two gradients, their point of least
norm, which the trainer takes of the losses (`combiner="min_norm"` in the recipe).

    contrastive   InfoNCE between the streams' means, the mean over layers
    branch        the task's error of a head on each modality before fusion

Left out: the multi-scale features of its encoders and its refinement module, which the text does
not give in full. Deviations: a null token among the keys; more than two modalities hear all the
others and add every pair.

Shapes: B samples, T steps of a stream, W model width.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .attention import CrossAttentionLayer, time_code
from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .losses import info_nce, mean_over_present
from .matching import modality_pairs
from .output import FusionOutput
from .pooling import masked_mean
from .presence import Inputs
from .task_errors import task_errors


class MACBDF(Fusion):
    """Cross-attention, contrast in every layer, unimodal heads.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the heads; None builds none.
        head: `linear` or `mlp`.
        width: Model width W, a multiple of `2 * num_heads`.
        num_layers: Layers.
        num_heads: Attention heads.
        dropout: In every layer.
        temperature: Of InfoNCE.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        head: str = "linear",
        width: int = 256,
        num_layers: int = 3,
        num_heads: int = 4,
        dropout: float = 0.1,
        temperature: float = 0.1,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, head=head, check_finite=check_finite)
        del self.poolings  # the mean over each stream comes after the layers
        if min(width, num_layers, num_heads) < 1 or width % (2 * num_heads) or temperature <= 0:
            raise ValueError(
                "width: must be a multiple of 2 * num_heads, every size at least 1 and the "
                f"temperature positive, not {width}, {num_heads}, {num_layers}, {temperature}"
            )
        self.temperature = temperature
        self.project = nn.ModuleDict({m: nn.Linear(d, width) for m, d in self.dims.items()})
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    m: CrossAttentionLayer(width, num_heads, dropout, null=True)
                    for m in self.modalities
                }
            )
            for _ in range(num_layers)
        )
        self.branches = nn.ModuleDict()
        if num_outputs is not None:
            for m in self.modalities:
                self.branches[m] = nn.Linear(width, num_outputs)
        self.add_head(width * len(self.modalities))

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, M W]`; `z` holds each stream's mean after the last layer."""
        streams = {m: self.project[m](inputs.features[m]) for m in self.modalities}
        alone = self._means(streams, inputs)
        streams = {m: x + time_code(x) for m, x in streams.items()}
        contrasts: list[Tensor] = []
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleDict)
            before = dict(streams)
            for m in self.modalities:
                names = [k for k in self.modalities if k != m]
                others = torch.cat([before[k] for k in names], dim=1)
                valid = torch.cat([inputs.valid[k] for k in names], dim=1)
                streams[m] = layer[m](before[m], others, valid)
            z = self._means(streams, inputs)
            contrasts.extend(
                info_nce(z[a], z[b], temperature=self.temperature, valid=both)
                for a, b, both in modality_pairs(self.modalities, inputs.present)
            )
        losses = {"contrastive": torch.stack(contrasts).sum() / len(self.layers)}
        if self.branches and inputs.labels is not None:
            parts = [
                mean_over_present(
                    task_errors(self.branches[m](alone[m]), inputs.labels),
                    inputs.present[:, i],
                    inputs.present,
                )
                for i, m in enumerate(self.modalities)
            ]
            losses["branch"] = torch.stack(parts).sum()
        return FusionOutput(fused=torch.cat(list(z.values()), dim=1), z=z, losses=losses)

    def _means(self, streams: Mapping[str, Tensor], inputs: Inputs) -> dict[str, Tensor]:
        """Return the mean over each stream `[B, W]`, zero where absent."""
        return {
            m: masked_mean(x.masked_fill(~inputs.valid[m][:, :, None], 0.0), inputs.valid[m])
            for m, x in streams.items()
        }


INFOS = (
    FusionInfo(
        name="macb_df",
        method=MACBDF,
        paper_row="MACB-DF",
        source="Xiong et al., ICMR 2025, arXiv 2505.12966; no code",
        faithfulness="text",
        missing="its tokens are no keys, its stream's mean is zero, its pairs are left out",
        deviations=(
            "Only the core: no multi-scale features and no refinement module.",
            "The least-norm point of all losses' gradients is taken by the trainer.",
            "A null token among the keys.",
            "More than two modalities hear all the others and add every pair.",
        ),
        needs=("sequence", "labels"),
        min_modalities=2,
        recipe=TrainingRecipe(
            combiner="min_norm", source="ours, but for the combiner, which the text names"
        ),
        batch_losses=("contrastive",),
    ),
)
