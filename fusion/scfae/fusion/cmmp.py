"""CLIP's head, which the paper calls CMMP: one tower a modality, aligned by contrast.

After Radford et al. (ICML 2021, github.com/openai/CLIP). Each modality is projected linearly to one
width and to unit length; the scores are `e^s cos`, with s learned from ln(1 / 0.07) and at most
ln 100; the loss is the symmetric cross-entropy of finding each sample's partner in the batch.

Deviations: the encoders are the stored features'; the projection has a bias and may be an MLP; more
than two modalities add the loss of every pair; `positives="class"` takes samples of one class as
partners too, where CLIP knows only pairs; a head on the embeddings side by side is ours.

Shapes: B samples, D_m features of modality m, W width of the embeddings.
"""

import math
from collections.abc import Mapping

import torch
from torch import nn

from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .losses import check_temperature, info_nce, learned_temperature
from .matching import check_positives, modality_pairs, partner_labels
from .output import FusionOutput
from .presence import Inputs
from .towers import Towers, for_head


class CMMP(Fusion):
    """A projection to the unit sphere for each modality, and InfoNCE between them.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of a head on the embeddings; None builds none.
        pooling: One of `POOLINGS`.
        head: `linear` or `mlp`.
        width: Width W of an embedding.
        projection: `linear`, or `mlp` with one hidden layer of width W.
        temperature: 1 / e^s at the start.
        positives: `pair`: a sample's partner is itself; `class`: all samples of its label are.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        head: str = "linear",
        width: int = 128,
        projection: str = "linear",
        temperature: float = 0.07,
        positives: str = "pair",
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims, num_outputs=num_outputs, pooling=pooling, head=head, check_finite=check_finite
        )
        check_positives(positives)
        if projection not in ("linear", "mlp"):
            raise ValueError(f"projection: must be one of linear, mlp, not {projection!r}")
        if width < 1:
            raise ValueError(f"width: must be at least 1, not {width}")
        check_temperature(temperature)
        self.positives = positives
        hidden = [width] if projection == "mlp" else []
        self.project = Towers(self.dims, *hidden, width, unit=True)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))
        self.add_head(width * len(self.modalities))

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, M W]`, the embeddings times sqrt W, for a head.

        `z` and `shared_from` hold the embeddings `[B, W]`. They have unit length, or are zero where
        absent: a retrieval's score is their cosine.
        """
        z = self.project(self.pooled(inputs), inputs.present)
        temperature = learned_temperature(self.log_scale, is_training=self.training)
        partners = partner_labels(self.positives, inputs.labels)
        losses = [
            info_nce(z[a], z[b], temperature=temperature, valid=both, labels=partners)
            for a, b, both in modality_pairs(self.modalities, inputs.present)
        ]
        return FusionOutput(
            fused=torch.cat(for_head(z), dim=1),
            z=z,
            shared_from=z,
            losses={"info_nce": torch.stack(losses).sum()},
        )


INFOS = (
    FusionInfo(
        name="cmmp",
        method=CMMP,
        paper_row="CMMP",
        source="Radford et al., ICML 2021, github.com/openai/CLIP",
        faithfulness="code",
        missing="its embedding is zero and its pairs are left out of the loss",
        deviations=(
            "Stored features in place of the encoders.",
            "The projection has a bias.",
            "More than two modalities add the loss of every pair.",
            "A head on the embeddings side by side is ours.",
        ),
        min_modalities=2,
        recipe=TrainingRecipe(
            lr=5e-4,
            weight_decay=0.2,
            batch_size=256,
            source="rate and weight decay of CLIP's ViT-B/32; batch size and epochs ours",
        ),
        batch_losses=("info_nce",),
    ),
)
