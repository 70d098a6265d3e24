"""VFD: a voice and a face of one genuine video match, of two different ones they do not.

After Cheng et al. (TOMM 2023, github.com/xaCheng1996/MVF). An embedding of unit length for each
modality; s, the cosine of a sample's two, is the score. At temperature 0.1:

    info_nce   InfoNCE between the modalities of genuine samples, its negatives their pairs with
               others: the authors' training on voices and faces of VoxCeleb2
    forged     mean over genuine i of -log(e^s_i / (e^s_i + sum over forged j of e^s_j)), each s
               over the temperature: the authors' fine-tuning, with `against_forged`

Reading: without encoders that have learned before, `info_nce` alone, on the set at hand. With both
losses at once the area under the curve is 77.9 % on the mismatched views of `python -m
benchmarks.fusion_miniature`, with `info_nce` alone 98.2 % (three seeds). A batch with fewer than
two genuine samples teaches `info_nce` nothing: where these are rare, take large or balanced
batches, or `against_forged`.

Deviations: an MLP on stored features in place of each vision transformer, without VoxCeleb2;
`info_nce` mismatches samples, where the authors mismatch identities, all of the batch in both
directions, not 10 in one; `forged` takes all forged samples of the batch, each with its own pair,
not 10 for each genuine one, for FakeAVCeleb of the same identity; without labels all samples count
as genuine; more than two modalities add every pair; a head on embeddings and cosines is ours.

Shapes: B samples, W width of the embeddings, P pairs of modalities.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .losses import gather_rows, info_nce
from .matching import check_matched_label, matched_samples, modality_pairs
from .output import FusionOutput
from .presence import Inputs
from .towers import Towers, for_head


class VFD(Fusion):
    """Embeddings of unit length and InfoNCE of genuine samples.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of a head on embeddings and cosines; None builds none.
        pooling: `mean` or `attention`.
        head: `linear` or `mlp`.
        width: Width W of an embedding and of the hidden layer before it.
        temperature: Of both losses.
        matched_label: Index of the genuine class; None takes every sample for genuine.
        against_forged: The authors' fine-tuning too; it needs a genuine class.
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
        against_forged: bool = False,
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims, num_outputs=num_outputs, pooling=pooling, head=head, check_finite=check_finite
        )
        if width < 1 or temperature <= 0:
            raise ValueError(f"width, temperature: must be positive, not {width}, {temperature}")
        self.temperature = temperature
        check_matched_label(matched_label, num_outputs)
        if against_forged and matched_label is None:
            raise ValueError("against_forged: needs matched_label, the genuine class")
        self.matched_label = matched_label
        self.against_forged = against_forged
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
        cosines, among, against = [], [], []
        for a, b, both in modality_pairs(self.modalities, inputs.present):
            cosine = (z[a] * z[b]).sum(dim=1)
            cosines.append(cosine)
            among.append(info_nce(z[a], z[b], temperature=self.temperature, valid=both & genuine))
            if self.against_forged and inputs.labels is not None:
                scores = cosine / self.temperature
                against.append(forged_nce(scores, both & genuine, both & ~genuine))
        losses = {"info_nce": torch.stack(among).sum()}
        if against:
            losses["forged"] = torch.stack(against).sum()
        return FusionOutput(
            fused=torch.cat([*for_head(z), torch.stack(cosines, dim=1)], dim=1),
            z=z,
            shared_from=z,
            losses=losses,
        )


def forged_nce(scores: Tensor, genuine: Tensor, forged: Tensor) -> Tensor:
    """Return the mean over genuine rows of -log of their share beside all forged rows of all ranks.

    Args:
        scores: `[B]`, cosines over the temperature.
        genuine: bool `[B]`.
        forged: bool `[B]`; a row that is neither does not count.

    Returns:
        A scalar; 0 without a genuine or a forged row.
    """
    scores, genuine, forged = gather_rows(scores.float(), genuine, forged)
    negatives = scores.masked_fill(~forged, torch.finfo(scores.dtype).min).logsumexp(dim=0)
    errors = F.softplus(negatives - scores).masked_fill(~(genuine & forged.any()), 0.0)
    return errors.sum() / genuine.sum().clamp(min=1)


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
            "The fine-tuning against forged pairs is an option (against_forged).",
            "More than two modalities add every pair.",
            "A head on embeddings and cosines is ours.",
        ),
        needs=("labels",),
        min_modalities=2,
        recipe=TrainingRecipe(
            batch_size=16,
            stage_epochs=(20,),
            source="batch size, epochs and cosine of the released fine-tuning; rate and weight "
            "decay are ours: its 5e-7 and 0.2 are for transformers that have learned before",
        ),
        batch_losses=("info_nce", "forged"),
    ),
)
