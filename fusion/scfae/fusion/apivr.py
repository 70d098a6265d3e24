"""APIVR: a video is a bag of proposals; images and videos meet in one adversarial space.

After the text of Xu et al. (AAAI 2020, arXiv 1911.10531). Each modality's rows are instances of a
bag, a vector is a bag of one. An MLP brings them into the common space; a graph convolution over
the bag, edges by similarity, and learned weights of the instances make one vector of it (GMIL).

    cls           the task's error of the head on each modality's vector alone
    adversarial   cross-entropy of telling modalities apart, through a gradient reversal
    triplet       geometry-aware: the distance of one modality's vector to the span of the
                  instances of another's that weigh most

Where the public code for THUMOS14 is not the text, this is after the text: there the instances hear
no graph, the reversed gradient reaches only the layers that tell modalities apart, and a span is a
learned matrix beside the exact one. Its margin, 0.01, and weights (10 for `cls` of videos, 1 of
images, 0.01 for a triplet summed over the batch) are of those distances and not taken over.

Deviations: margin and weights are ours; the adversarial loss weighs a hundredth of `cls`, as in
ACMR's code, from which the authors' descends: as much as `cls`, it drives the vectors' lengths up
and keeps the modalities apart. Edges are a softmax over cosines; vectors are scaled to unit length
for the triplet, so that a distance is the sine of the angle to the span; the positive of an anchor
is its own bag and the negatives are all bags of other classes (without labels: all others); `bags`
says whose instances span, by default all modalities', and more than two modalities add every
ordered pair; the logits are the mean of the head's over what is there.

Shapes: B samples, T instances, W width of the common space, K spanning instances.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Fusion
from .distance_triplet import distance_triplet, other_samples
from .info import FusionInfo, TrainingRecipe
from .losses import mean_over_present
from .matching import check_positives, partner_labels
from .output import FusionOutput
from .perceptron import MLP
from .presence import Inputs
from .task_errors import task_errors
from .towers import mean_of_present


class GradientReversal(torch.autograd.Function):
    """Itself forward, minus the gradient backward (Ganin and Lempitsky, ICML 2015)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return x."""
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """Return minus the gradient."""
        return -grads[0]


class GraphBag(nn.Module):
    """Instances hear those that are like them, and are weighed.

    Args:
        width: W.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolve = nn.Linear(width, width)
        self.hidden = nn.Linear(width, max(8, width // 4))
        # No bias: the softmax over instances would cancel it, and it would never learn.
        self.score = nn.Linear(max(8, width // 4), 1, bias=False)

    def forward(self, instances: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return instances `[B, T, W]`, zero where not valid, and their weights `[B, T]`."""
        lowest = torch.finfo(instances.dtype).min
        unit = F.normalize(instances, dim=2)
        edges = (unit @ unit.transpose(1, 2)).masked_fill(~valid[:, None, :], lowest).softmax(dim=2)
        heard = F.relu(self.convolve(edges @ instances)).masked_fill(~valid[:, :, None], 0.0)
        scores = self.score(torch.tanh(self.hidden(heard))).squeeze(2)
        weights = scores.masked_fill(~valid, torch.finfo(scores.dtype).min).softmax(dim=1)
        return heard, weights.masked_fill(~valid, 0.0)


class APIVR(Fusion):
    """Bags of instances in a common space.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the head; None builds none.
        head: `linear` or `mlp`.
        width: Width W of the common space and of the hidden layer before it.
        num_spanning: Instances K that span a bag's subspace, those of the largest weights.
        margin: Of the triplet.
        positives: `class`: bags of the anchor's class are no negatives; `pair`: all others are.
        bags: Modalities whose instances span; None: all.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        head: str = "linear",
        width: int = 256,
        num_spanning: int = 4,
        margin: float = 0.2,
        positives: str = "class",
        bags: Sequence[str] | None = None,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, head=head, check_finite=check_finite)
        del self.poolings  # the weights of the instances pool
        check_positives(positives)
        if min(width, num_spanning) < 1 or margin <= 0:
            raise ValueError(
                f"width, num_spanning, margin: positive, not {width}, {num_spanning}, {margin}"
            )
        self.bags = tuple(self.modalities if bags is None else bags)
        some = set(self.bags)
        if not some or not some <= set(self.modalities) or len(some) < len(self.bags):
            raise ValueError(f"bags: must be some of {', '.join(dims)}, once, not {self.bags}")
        self.num_spanning = num_spanning
        self.margin = margin
        self.positives = positives
        self.embed = nn.ModuleDict({m: MLP(d, width, width) for m, d in self.dims.items()})
        self.graph = nn.ModuleDict({m: GraphBag(width) for m in self.modalities})
        self.tell_apart = MLP(width, width // 2 or 1, len(self.modalities))
        self.add_head(width)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, W]`, the mean of the vectors of what is there.

        `z` and `shared_from` hold each bag's vector `[B, W]`, not normalised: a retrieval's score
        is their Euclidean distance.
        """
        z, spanning = {}, {}
        for m in self.modalities:
            valid = inputs.valid[m]
            instances, weights = self.graph[m](self.embed[m](inputs.features[m]), valid)
            z[m] = (weights[:, :, None] * instances).sum(dim=1)
            best = weights.topk(min(self.num_spanning, weights.shape[1]), dim=1).indices
            spanning[m] = instances.gather(1, best[:, :, None].expand(-1, -1, instances.shape[2]))
        losses = {"adversarial": self._adversarial(z, inputs.present)}
        losses["triplet"] = self._triplet(z, spanning, inputs)
        if self.head is not None and inputs.labels is not None:
            parts = [
                mean_over_present(
                    task_errors(self.head(z[m]), inputs.labels),
                    inputs.present[:, i],
                    inputs.present,
                )
                for i, m in enumerate(self.modalities)
            ]
            losses["cls"] = torch.stack(parts).sum()
        logits = None
        if self.head is not None:
            logits = mean_of_present({m: self.head(x) for m, x in z.items()}, inputs.present)
        return FusionOutput(
            fused=mean_of_present(z, inputs.present),
            z=z,
            shared_from=z,
            losses=losses,
            logits=logits,
        )

    def _adversarial(self, z: Mapping[str, Tensor], present: Tensor) -> Tensor:
        parts = []
        for i, m in enumerate(self.modalities):
            reversed_vector = GradientReversal.apply(z[m])
            logits = self.tell_apart(reversed_vector).float()
            truth = torch.full((len(logits),), i, device=logits.device)
            errors = F.cross_entropy(logits, truth, reduction="none")
            parts.append(mean_over_present(errors, present[:, i], present))
        return torch.stack(parts).sum()

    def _triplet(
        self, z: Mapping[str, Tensor], spanning: Mapping[str, Tensor], inputs: Inputs
    ) -> Tensor:
        partners = partner_labels(self.positives, inputs.labels)
        here = {m: inputs.present[:, i] for i, m in enumerate(self.modalities)}
        parts = []
        for bag in self.bags:
            others = [m for m in self.modalities if m != bag]
            # All points of a bag at once: its span is found once, and one product serves them.
            points = torch.cat([z[m] for m in others])
            distances = span_distances(points, spanning[bag])
            distances = distances.view(len(others), -1, distances.shape[1])
            anchors = torch.stack([here[m] for m in others]) & here[bag]
            negatives = other_samples(anchors, here[bag], partners)
            parts.append(distance_triplet(distances, negatives, margin=self.margin).sum())
        return torch.stack(parts).sum()


def span_distances(points: Tensor, instances: Tensor) -> Tensor:
    """Return the distance of each point of unit length to the span of each bag, `[B, N]`.

    `|x|^2 - c G^-1 c` with c the products of x with the instances and G = L L' their Gram matrix,
    all scaled to unit length, is `|x|^2 - |Q x|^2` with Q the instances under L^-1; a small ridge
    keeps G regular where instances are alike or missing.

    Args:
        points: `[B, W]`, of any length; zero is at distance 0.
        instances: `[N, K, W]`, zero where missing.
    """
    # Lower precision has no solver.
    with torch.autocast(points.device.type, enabled=False):
        x, basis = F.normalize(points.float(), dim=1), F.normalize(instances.float(), dim=2)
        ridge = 1e-4 * torch.eye(basis.shape[1], device=basis.device)
        factor = torch.linalg.cholesky(basis @ basis.transpose(1, 2) + ridge)
        spans = torch.linalg.solve_triangular(factor, basis, upper=False)
        explained = (x @ spans.flatten(0, 1).T).square().unflatten(1, spans.shape[:2]).sum(dim=2)
        left: Tensor = x.square().sum(dim=1, keepdim=True) - explained
        return left.clamp(min=1e-8).sqrt()


INFOS = (
    FusionInfo(
        name="apivr",
        method=APIVR,
        paper_row="APIVR",
        source="Xu et al., AAAI 2020, arXiv 1911.10531",
        faithfulness="text",
        missing="its vector is zero, it is in no loss, the logits are the mean of the rest",
        deviations=(
            "The text's graph, reversed gradient and exact spans, which the public code lacks.",
            "The margin is ours, and the weight of the adversarial loss ACMR's.",
            "Distances to a span are sines of angles.",
            "The positive of an anchor is its own bag.",
            "More than two modalities add every ordered pair.",
            "The logits are the mean of the head's over what is there.",
        ),
        needs=("sequence", "labels"),
        min_modalities=2,
        recipe=TrainingRecipe(
            optimizer="adam",
            lr=1e-4,
            weight_decay=0.0,
            batch_size=70,
            stage_epochs=(200,),
            schedule="constant",
            loss_weights={"adversarial": 0.01},
            source="the public code for THUMOS14, which has Adam's first average at 0.7; the "
            "adversarial weight after ACMR (Wang et al., ACM MM 2017)",
        ),
        batch_losses=("triplet",),
    ),
)
