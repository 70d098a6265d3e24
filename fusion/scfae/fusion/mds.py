"""Modality dissonance score: modalities of a genuine sample lie together, of a forged one apart.

After Chugh et al. (ACM MM 2020, github.com/abhinavdhall/deepfake). An embedding for each modality,
a classifier on each of them, and over each pair of modalities the margin loss of their distance d:

    contrastive   y d^2 + (1 - y) max(0, 0.99 - d)^2, y = 1 for genuine samples
    branch        the task's error of each modality's own classifier

The authors score a video by the mean of d over its chunks, forged from 0.6 on: take the distance of
two of `z`. The logits are the mean of the classifiers' over what is there.

Deviations: an MLP on stored features in place of each network; one pooled vector stands for a
chunk; layer norm in place of batch norm before a classifier, so that an absent sample cannot move
the others' statistics; weights begin as torch's do; more than two modalities add every pair. A
trainer's own loss on the logits comes on top of `branch`.

Shapes: B samples, W width of the embeddings.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .losses import margin_contrastive, mean_over_present
from .matching import check_matched_label, matched_samples, modality_pairs
from .output import FusionOutput
from .presence import Inputs
from .task_errors import task_errors
from .towers import Towers, mean_of_present


class MDS(Fusion):
    """Embeddings whose distance is the score, and a classifier on each.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of each classifier; None builds none.
        pooling: `mean` or `attention`.
        width: Width W of an embedding and of the hidden layer before it.
        dropout: Before each classifier.
        margin: Distance beyond which a forged sample's modalities rest.
        matched_label: Index of the genuine class; None takes every sample for genuine.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        width: int = 1024,
        dropout: float = 0.5,
        margin: float = 0.99,
        matched_label: int | None = 0,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, pooling=pooling, check_finite=check_finite)
        if width < 1 or margin <= 0:
            raise ValueError(f"width, margin: must be positive, not {width} and {margin}")
        self.margin = margin
        check_matched_label(matched_label, num_outputs)
        self.matched_label = matched_label
        self.embed = Towers(self.dims, width, width)
        self.output_dim = width * len(self.modalities)
        self.classifiers = nn.ModuleDict()
        if num_outputs is not None:
            for m in self.modalities:
                self.classifiers[m] = nn.Sequential(
                    nn.LayerNorm(width), nn.Dropout(dropout), nn.Linear(width, num_outputs)
                )

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, M W]`; `z` and `shared_from` hold the embeddings `[B, W]`.

        Their Euclidean distance is the method's score; they are not normalised.
        """
        present, labels = inputs.present, inputs.labels
        z = self.embed(self.pooled(inputs), present)
        branches = {m: head(z[m]) for m, head in self.classifiers.items()}
        losses: dict[str, Tensor] = {}
        if labels is not None:
            genuine = matched_samples(labels, self.matched_label)
            parts = [
                mean_over_present(
                    margin_contrastive(
                        torch.linalg.vector_norm(z[a] - z[b], dim=1), genuine, margin=self.margin
                    ),
                    both,
                    present,
                )
                for a, b, both in modality_pairs(self.modalities, present)
            ]
            losses["contrastive"] = torch.stack(parts).sum()
            errors = [
                mean_over_present(task_errors(x, labels), present[:, i], present)
                for i, x in enumerate(branches.values())
            ]
            if errors:
                losses["branch"] = torch.stack(errors).sum()
        return FusionOutput(
            fused=torch.cat(list(z.values()), dim=1),
            z=z,
            shared_from=z,
            losses=losses,
            logits=mean_of_present(branches, present) if branches else None,
        )


INFOS = (
    FusionInfo(
        name="mds",
        method=MDS,
        paper_row="MDS",
        source="Chugh et al., ACM MM 2020, github.com/abhinavdhall/deepfake",
        faithfulness="code",
        missing="the classifiers of what is there decide; its pairs are left out",
        deviations=(
            "An MLP on stored features in place of each network.",
            "One pooled vector stands for a chunk.",
            "Layer norm in place of batch norm before a classifier.",
            "More than two modalities add every pair.",
            "The logits are the mean of the classifiers'; the authors threshold the distance.",
        ),
        needs=("labels",),
        min_modalities=2,
        recipe=TrainingRecipe(
            optimizer="adam",
            lr=1e-3,
            weight_decay=1e-5,
            source="the released code; batch size (its 8), epochs (its 100) and schedule ours",
        ),
    ),
)
