"""VFD: a voice and a face of one genuine video match, of two different ones they do not.

After Cheng et al. (TOMM 2023, github.com/xaCheng1996/MVF). An embedding of unit length for each
modality; InfoNCE at temperature 0.1 whose positive is the pair of one video and whose negatives are
pairs of different videos. The score is the cosine of two of `z`.

Deviations: an MLP on stored features in place of each vision transformer, without their training on
voices and faces of VoxCeleb2; with labels, both partners of every pair are genuine videos (the
original mismatches identities, which stored features do not name); the negatives are all others of
the batch, in both directions, not 10 in one; more than two modalities add every pair; a head on the
embeddings and their cosines is ours.

Shapes: B samples, W width of the embeddings, P pairs of modalities.
"""

from collections.abc import Mapping

import torch

from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .losses import info_nce
from .matching import check_matched_label, matched_samples, modality_pairs
from .output import FusionOutput
from .presence import Inputs
from .towers import Towers, for_head


class VFD(Fusion):
    """Embeddings of unit length and InfoNCE on genuine samples.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of a head on embeddings and cosines; None builds none.
        pooling: `mean` or `attention`.
        head: `linear` or `mlp`.
        width: Width W of an embedding and of the hidden layer before it.
        temperature: Of InfoNCE.
        matched_label: Index of the genuine class; None takes every sample for genuine.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        head: str = "linear",
        width: int = 512,
        temperature: float = 0.1,
        matched_label: int | None = 0,
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims, num_outputs=num_outputs, pooling=pooling, head=head, check_finite=check_finite
        )
        if width < 1 or temperature <= 0:
            raise ValueError(f"width, temperature: must be positive, not {width}, {temperature}")
        self.temperature = temperature
        check_matched_label(matched_label, num_outputs)
        self.matched_label = matched_label
        self.embed = Towers(self.dims, width, width, unit=True)
        num_modalities = len(self.modalities)
        num_pairs = num_modalities * (num_modalities - 1) // 2
        self.add_head(width * num_modalities + num_pairs)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, M W + P]`, embeddings times sqrt W and cosines.

        `z` and `shared_from` hold the embeddings `[B, W]`, of unit length, zero where absent: the
        method's score is their cosine.
        """
        z = self.embed(self.pooled(inputs), inputs.present)
        genuine = inputs.present.any(dim=1)
        if inputs.labels is not None:
            genuine = genuine & matched_samples(inputs.labels, self.matched_label)
        cosines, parts = [], []
        for a, b, both in modality_pairs(self.modalities, inputs.present):
            cosines.append((z[a] * z[b]).sum(dim=1))
            parts.append(info_nce(z[a], z[b], temperature=self.temperature, valid=both & genuine))
        return FusionOutput(
            fused=torch.cat([*for_head(z), torch.stack(cosines, dim=1)], dim=1),
            z=z,
            shared_from=z,
            losses={"info_nce": torch.stack(parts).sum()},
        )


INFOS = (
    FusionInfo(
        name="vfd",
        method=VFD,
        paper_row="VFD",
        source="Cheng et al., TOMM 2023, github.com/xaCheng1996/MVF",
        faithfulness="code",
        missing="its embedding and cosines are zero and its pairs are left out of the loss",
        deviations=(
            "An MLP on stored features in place of each transformer, without its pretraining.",
            "Negatives are other samples, not other identities: all of the batch, both ways.",
            "More than two modalities add every pair.",
            "A head on embeddings and cosines is ours.",
        ),
        needs=("labels",),
        min_modalities=2,
        recipe=TrainingRecipe(
            batch_size=16,
            stage_epochs=(20,),
            source="batch size and epochs of the released code; the rate is ours",
        ),
        batch_losses=("info_nce",),
    ),
)
