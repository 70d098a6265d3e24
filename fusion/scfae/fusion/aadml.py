"""AADML: triplets with proxies that each sample's neighbours make.

After the text of Zeng et al. (ICMR 2024, arXiv 2404.13789); there is no code. An embedding of unit
length for each modality; within a batch, a graph of the k nearest by cosine in each modality; the
proxy of a sample is an attention over its neighbours, `sum softmax(q k / sqrt W) v`, to unit
length. The triplet loss takes anchors of one modality and proxies of the other, both directions.

Reading: v are the embeddings themselves. With values through a map that learns (`values="learned"`)
the triplet compares an embedding with what the map made, two embeddings are never compared, and the
retrieval that they are for does not work: of eight classes 14.6 % of the nearest are of the right
one, where it is 99.2 % without the map (`python -m benchmarks.fusion_miniature`, three seeds).

Deviations: k and margin are ours; a sample is among its own neighbours, so that there is always
one; queries and keys are shared by the modalities; negatives are proxies of other classes (without
labels, or with `positives="pair"`: of all other samples); more than two modalities add every pair;
a head on the embeddings side by side is ours. Over several ranks the graph is that of a rank's own
samples, the negatives are those of all.

Shapes: B samples, W width of the embeddings.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .losses import batch_triplet
from .matching import check_positives, modality_pairs, partner_labels
from .output import FusionOutput
from .presence import Inputs
from .towers import Towers, for_head


class AADML(Fusion):
    """Embeddings, and proxies from the batch's neighbours for the loss.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of a head on the embeddings; None builds none.
        pooling: `mean` or `attention`.
        head: `linear` or `mlp`.
        width: Width W of an embedding and of the hidden layer before it.
        num_neighbours: k, the sample itself among them.
        margin: Of the triplet, in 1 - cos.
        positives: `class`: proxies of the anchor's class are no negatives; `pair`: all others are.
        values: What a proxy is a mean of: its neighbours' `own` embeddings, or a `learned` map of
            them.
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
        num_neighbours: int = 5,
        margin: float = 0.3,
        positives: str = "class",
        values: str = "own",
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims, num_outputs=num_outputs, pooling=pooling, head=head, check_finite=check_finite
        )
        check_positives(positives)
        if values not in ("own", "learned"):
            raise ValueError(f"values: must be own or learned, not {values!r}")
        if width < 1 or num_neighbours < 2 or margin <= 0:
            raise ValueError(
                "width, num_neighbours, margin: at least 1, at least 2 and positive, "
                f"not {width}, {num_neighbours}, {margin}"
            )
        self.num_neighbours = num_neighbours
        self.margin = margin
        self.positives = positives
        self.embed = Towers(self.dims, width, width, unit=True)
        self.query = nn.Linear(width, width)
        # No bias: it shifts all scores of a query alike, and the softmax would cancel it.
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width) if values == "learned" else nn.Identity()
        self.add_head(width * len(self.modalities))

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, M W]`, the embeddings times sqrt W, for a head.

        `z` and `shared_from` hold the embeddings `[B, W]`. They have unit length, or are zero where
        absent: a retrieval's score is their cosine. The proxies are for the loss alone, so no
        output depends on other samples.
        """
        z = self.embed(self.pooled(inputs), inputs.present)
        proxies = {
            m: self.proxies(z[m], inputs.present[:, i]) for i, m in enumerate(self.modalities)
        }
        partners = partner_labels(self.positives, inputs.labels)
        parts = [
            batch_triplet(
                z[anchor], proxies[other], margin=self.margin, valid=both, labels=partners
            )
            for a, b, both in modality_pairs(self.modalities, inputs.present)
            for anchor, other in ((a, b), (b, a))
        ]
        return FusionOutput(
            fused=torch.cat(for_head(z), dim=1),
            z=z,
            shared_from=z,
            losses={"triplet": torch.stack(parts).sum() / 2},
        )

    def proxies(self, embeddings: Tensor, valid: Tensor) -> Tensor:
        """Return each sample's attention over its nearest neighbours, of unit length `[B, W]`.

        Args:
            embeddings: `[B, W]`, of unit length.
            valid: bool `[B]`; what is not valid is nobody's neighbour.
        """
        near = neighbours(embeddings, valid, self.num_neighbours)
        scores = self.query(embeddings) @ self.key(embeddings).T / embeddings.shape[1] ** 0.5
        scores = scores.masked_fill(~near, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=1).masked_fill(~near, 0.0)
        return F.normalize(weights @ self.value(embeddings), dim=1)


def neighbours(embeddings: Tensor, valid: Tensor, number: int) -> Tensor:
    """Return bool `[B, B]`: who is among the `number` nearest of each row by cosine, itself too.

    Args:
        embeddings: `[B, W]`, of unit length.
        valid: bool `[B]`.
        number: At most this many; fewer where fewer are valid.
    """
    with torch.no_grad():
        cosines = (embeddings @ embeddings.T).masked_fill(~valid[None, :], -2.0)
        best = cosines.topk(min(number, len(cosines)), dim=1).indices
        near = torch.zeros_like(cosines, dtype=torch.bool).scatter(1, best, True)
    return near & valid[None, :] & valid[:, None]


INFOS = (
    FusionInfo(
        name="aadml",
        method=AADML,
        paper_row="AADML",
        source="Zeng et al., ICMR 2024, arXiv 2404.13789; no code",
        faithfulness="text",
        missing="its embedding is zero, it is nobody's neighbour and its pairs are left out",
        deviations=(
            "k and margin are ours.",
            "A proxy is a mean of embeddings: no map of values is learned.",
            "A sample is among its own neighbours.",
            "More than two modalities add every pair.",
            "A head on the embeddings side by side is ours.",
        ),
        needs=("labels",),
        min_modalities=2,
        recipe=TrainingRecipe(batch_size=256, source="ours"),
        batch_losses=("triplet",),
    ),
)
