"""Emo-Foren: face and speech agree, and so do their emotions, unless one of them is forged.

After the text of Mittal et al. ("Emotions don't lie", ACM MM 2020); there is no official code. In
each of two spaces, that of face and speech and that of the emotions seen and heard, embeddings of
unit length; a genuine sample's two are nearer to each other than one of them is to a forged
sample's other. The original takes forged versions of the same video; here every forged sample of
the batch is a negative of every genuine one.

    triplet_0   max(0, margin + d(a_i, b_i) - d(a_i, b_j)), i genuine, j forged, both directions
    triplet_1   the same in the second space

The emotions' embeddings come from a pretrained emotion network; they are stored columns as the
others are, so that the method has four modalities: the first two are the first space, the last two
the second (`spaces` says otherwise). Any other number of modalities is one space, whose pairs are
summed: two modalities, then, are face and speech without their emotions.

Deviations: an MLP on stored features in place of each network; the margin is ours; without
`matched_label` all other samples are negatives; a head on embeddings and distances is ours.

Shapes: B samples, W width of the embeddings, P pairs within spaces.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

from .base import Fusion
from .distance_triplet import distance_triplet, other_samples
from .info import FusionInfo
from .matching import check_matched_label, matched_samples
from .output import FusionOutput
from .presence import Inputs
from .towers import Towers, for_head


class EmoForen(Fusion):
    """Embeddings in one or two spaces, and triplets of genuine and forged samples.

    Args:
        dims: Width of each modality; four are face, speech, seen emotion, heard emotion.
        num_outputs: Outputs of a head on embeddings and distances; None builds none.
        pooling: `mean` or `attention`.
        head: `linear` or `mlp`.
        width: Width W of an embedding and of the hidden layer before it.
        margin: How much farther a forged sample is to be.
        matched_label: Index of the genuine class; None: every sample is, and the others are its
            negatives.
        spaces: Names of the modalities of each space; None: see above.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        head: str = "linear",
        width: int = 256,
        margin: float = 0.2,
        matched_label: int | None = 0,
        spaces: Sequence[Sequence[str]] | None = None,
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims, num_outputs=num_outputs, pooling=pooling, head=head, check_finite=check_finite
        )
        if width < 1 or margin <= 0:
            raise ValueError(f"width, margin: must be positive, not {width} and {margin}")
        self.margin = margin
        check_matched_label(matched_label, num_outputs)
        self.matched_label = matched_label
        self.spaces = _spaces(self.modalities, spaces)
        self.embed = Towers(self.dims, width, width, unit=True)
        self.pairs = [pair for space in self.spaces for pair in combinations(space, 2)]
        self.add_head(width * len(self.modalities) + len(self.pairs))

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, M W + P]`, embeddings times sqrt W, and distances.

        A distance is 0 where one is absent. `z` and `shared_from` hold the embeddings `[B, W]`, of
        unit length, zero where absent: the method's score is the distance of two of one space.
        """
        z = self.embed(self.pooled(inputs), inputs.present)
        here = {m: inputs.present[:, i] for i, m in enumerate(self.modalities)}
        distances = [
            torch.linalg.vector_norm(z[a] - z[b], dim=1).masked_fill(~(here[a] & here[b]), 0.0)
            for a, b in self.pairs
        ]
        losses = {}
        if inputs.labels is not None:
            for i, space in enumerate(self.spaces):
                losses[f"triplet_{i}"] = self._triplets(space, z, here, inputs.labels)
        return FusionOutput(
            fused=torch.cat([*for_head(z), torch.stack(distances, dim=1)], dim=1),
            z=z,
            shared_from=z,
            losses=losses,
        )

    def _triplets(
        self,
        space: Sequence[str],
        z: Mapping[str, Tensor],
        here: Mapping[str, Tensor],
        labels: Tensor,
    ) -> Tensor:
        genuine = matched_samples(labels, self.matched_label)
        forged = genuine if self.matched_label is None else ~genuine
        parts = []
        for a, b in combinations(space, 2):
            distances = torch.cdist(z[a].float(), z[b].float())
            anchors = here[a] & here[b] & genuine
            for directed, far in ((distances, b), (distances.T, a)):
                negatives = other_samples(anchors, here[far] & forged, None)
                parts.append(distance_triplet(directed, negatives, margin=self.margin) / 2)
        return torch.stack(parts).sum()


def _spaces(
    modalities: Sequence[str], spaces: Sequence[Sequence[str]] | None
) -> tuple[tuple[str, ...], ...]:
    if spaces is None:
        if len(modalities) == 4:
            return tuple(modalities[:2]), tuple(modalities[2:])
        return (tuple(modalities),)
    chosen = tuple(tuple(space) for space in spaces)
    named = [m for space in chosen for m in space]
    if sorted(named) != sorted(modalities) or any(len(space) < 2 for space in chosen):
        raise ValueError(
            f"spaces: must name each of {', '.join(modalities)} once, two or more a space, "
            f"not {chosen}"
        )
    return chosen


INFOS = (
    FusionInfo(
        name="emo_foren",
        method=EmoForen,
        paper_row="Emo-Foren",
        source="Mittal et al., ACM MM 2020; no official code",
        faithfulness="text",
        missing="its embedding and distances are zero and its pairs are left out of the loss",
        deviations=(
            "Emotion embeddings are stored columns: the third and fourth of four modalities.",
            "Any other number of modalities is one space; its pairs are summed.",
            "Every forged sample of the batch is a negative, not the same video's forgery.",
            "The margin, and a head on embeddings and distances, are ours.",
        ),
        needs=("labels",),
        min_modalities=2,
        batch_losses=("triplet_0", "triplet_1"),
    ),
)
