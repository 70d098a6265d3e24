"""DrFuse: what is shared and what is distinct, and for every class an attention over both.

After Yao et al. (AAAI 2024, github.com/dorothy-yao/drfuse). For each modality an MLP gives its
distinct vector; another, then a projection that all modalities share, its shared vector h_m. The
shared vectors become one, `h = logit(mean of sigmoid(h_m))` over what is present: for two it equals
the released `log(2 e^(h1+h2) + e^h1 + e^h2) - log(2 + e^h1 + e^h2)`, for one it is h_m. One linear
layer gives each token (distinct ones, shared one) a query, a value and a key for each class;
the mean query weighs the tokens for each class, and output c reads only its own vector.

    jsd       Jensen-Shannon divergence of sigmoid(h_m), over pairs of modalities
    cos       |cos| of a modality's shared and distinct vector
    branch    the task's error of a linear head on each distinct vector and on the shared one
    ranking   a token whose head errs less has at least the weight of one that errs more

Where the released code is wrong: its jsd sums over the whole batch, samples without a second
modality included, and divides by the number of those that have it; here each sample counts where
both are present. Deviations: any modality may be absent, not only the second; more than two add a
token and their pairs; MLPs in place of the encoders; heads follow the task (cross-entropy, squared
error or binary cross-entropy), where the original has binary cross-entropy; `ranking` is a mean
over classes and over all samples, each pair of tokens counting where both are there, and tokens
that err alike are not ranked (the original: over the violations alone, in samples with both
modalities).

Shapes: B samples, M modalities, S = M + 1 tokens, C outputs (1 without a head), W width.
"""

import math
from collections.abc import Mapping
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .losses import cosine_overlap, jensen_shannon, mean_over_present
from .matching import modality_pairs
from .output import FusionOutput
from .perceptron import MLP
from .presence import Inputs
from .task_errors import task_errors
from .towers import Towers


class DrFuse(Fusion):
    """Shared and distinct vectors, and attention over them for each class.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs C; None builds no heads.
        pooling: `mean` or `attention`.
        width: Width W of every vector.
        dropout: In the MLPs.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        width: int = 256,
        dropout: float = 0.3,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, pooling=pooling, check_finite=check_finite)
        if width < 1:
            raise ValueError(f"width: must be at least 1, not {width}")
        self.width = width
        self.num_classes = num_outputs or 1
        self.to_distinct = Towers(self.dims, width, width, activation="relu", dropout=dropout)
        self.to_shared = Towers(self.dims, width, width, activation="relu", dropout=dropout)
        self.project = MLP(width, 2 * width, width, width, activation="relu")
        self.attend = nn.Linear(width, (2 + self.num_classes) * width)
        self.output_dim = self.num_classes * width
        if num_outputs is not None:
            self.classify = nn.Linear(width, num_outputs)
            self.branches = nn.ModuleList(
                nn.Linear(width, num_outputs) for _ in range(len(self.dims) + 1)
            )

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, C W]`, a vector for each class, and logits that read them.

        `specific` and `shared_from` hold the distinct and shared vectors `[B, W]`, `z` both.
        """
        vectors, present = self.pooled(inputs), inputs.present
        distinct = self.to_distinct(vectors, present)
        shared = {
            m: self.project(x).masked_fill(~present[:, i, None], 0.0)
            for i, (m, x) in enumerate(self.to_shared(vectors, present).items())
        }
        together = mean_in_sigmoids(torch.stack(list(shared.values()), dim=1), present)
        tokens = torch.stack([*distinct.values(), together], dim=1)
        valid = torch.cat([present, present.any(dim=1, keepdim=True)], dim=1)
        by_class, weights = self._attention(tokens, valid)
        losses = self._losses(distinct, shared, present)
        logits = None
        if self.num_outputs is not None:
            logits = (by_class * self.classify.weight).sum(dim=2) + self.classify.bias
            if inputs.labels is not None:
                losses |= self._label_losses(tokens, valid, weights, inputs.labels, present)
        return FusionOutput(
            fused=by_class.flatten(1),
            z={m: torch.cat([distinct[m], shared[m]], dim=1) for m in self.modalities},
            specific=distinct,
            shared_from=shared,
            losses=losses,
            logits=logits,
        )

    def _attention(self, tokens: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return a vector for each class `[B, C, W]`, and the tokens' weights `[B, S, C]`."""
        parts = self.attend(tokens).unflatten(2, (2 + self.num_classes, self.width))
        seen = valid[:, :, None]
        count = valid.sum(dim=1, keepdim=True).clamp(min=1)
        query = parts[:, :, 0].masked_fill(~seen, 0.0).sum(dim=1) / count
        scores = torch.einsum("bw,bscw->bsc", query, parts[:, :, 2:]) / math.sqrt(self.width)
        scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=1).masked_fill(~seen, 0.0)
        return torch.einsum("bsc,bsw->bcw", weights, parts[:, :, 1]), weights

    def _losses(
        self, distinct: Mapping[str, Tensor], shared: Mapping[str, Tensor], present: Tensor
    ) -> dict[str, Tensor]:
        divergences = [
            mean_over_present(
                jensen_shannon(shared[a].sigmoid(), shared[b].sigmoid()), both, present
            )
            for a, b, both in modality_pairs(self.modalities, present)
        ]
        overlaps = [
            mean_over_present(cosine_overlap(shared[m], distinct[m]), present[:, i], present)
            for i, m in enumerate(self.modalities)
        ]
        return {"jsd": torch.stack(divergences).sum(), "cos": torch.stack(overlaps).sum()}

    def _label_losses(
        self, tokens: Tensor, valid: Tensor, weights: Tensor, labels: Tensor, present: Tensor
    ) -> dict[str, Tensor]:
        logits = [head(tokens[:, s]) for s, head in enumerate(self.branches)]
        branch = [
            mean_over_present(task_errors(x, labels), valid[:, s], present)
            for s, x in enumerate(logits)
        ]
        errors = torch.stack([_errors_by_class(x, labels) for x in logits], dim=1)
        ranking = [
            mean_over_present(
                rank_hinge(weights[:, i], weights[:, j], errors[:, i], errors[:, j]),
                valid[:, i] & valid[:, j],
                present,
            )
            for i, j in combinations(range(len(logits)), 2)
        ]
        return {"branch": torch.stack(branch).sum(), "ranking": torch.stack(ranking).mean()}


def mean_in_sigmoids(shared: Tensor, present: Tensor) -> Tensor:
    """Return `logit(mean over present m of sigmoid(h_m))`, `[B, W]`; zero where none is.

    Args:
        shared: `[B, M, W]`.
        present: bool `[B, M]`.
    """
    ignored = ~present[:, :, None]
    lowest = torch.finfo(shared.dtype).min
    ones = F.logsigmoid(shared).masked_fill(ignored, lowest).logsumexp(dim=1)
    zeros = F.logsigmoid(-shared).masked_fill(ignored, lowest).logsumexp(dim=1)
    return (ones - zeros).masked_fill(~present.any(dim=1, keepdim=True), 0.0)


def rank_hinge(weight: Tensor, other_weight: Tensor, error: Tensor, other_error: Tensor) -> Tensor:
    """Return by how much the token that errs more outweighs the other, mean over classes `[B]`.

    Args:
        weight: `[B, C]`.
        other_weight: `[B, C]`.
        error: `[B, C]` or `[B, 1]`.
        other_error: Of the same shape.
    """
    wanted = torch.sign(other_error - error)
    return F.relu(-wanted * (weight - other_weight)).mean(dim=1)


def _errors_by_class(logits: Tensor, labels: Tensor) -> Tensor:
    """Return `[B, C]` for several labels, and `[B, 1]` else."""
    if labels.ndim == 1:
        return task_errors(logits, labels)[:, None]
    return F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="none")


INFOS = (
    FusionInfo(
        name="drfuse",
        method=DrFuse,
        paper_row="DrFuse",
        source="Yao et al., AAAI 2024, github.com/dorothy-yao/drfuse",
        faithfulness="code",
        missing="its tokens have no weight, the shared vector is the mean in sigmoids of the rest",
        deviations=(
            "The divergence is masked, which the released code forgets.",
            "Any modality may be absent, and there may be more than two.",
            "MLPs in place of the encoders.",
            "Errors of the task in place of binary cross-entropy.",
            "The ranking is a mean over all samples, not over the violations alone.",
        ),
        needs=("labels",),
        min_modalities=2,
        recipe=TrainingRecipe(
            optimizer="adam",
            lr=1e-4,
            weight_decay=0.0,
            batch_size=16,
            schedule="constant",
            source="the released code; epochs ours, it stops after 10 without progress",
        ),
    ),
)
