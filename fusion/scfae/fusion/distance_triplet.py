"""A triplet loss of a matrix of distances, for methods whose distance is no plain cosine.

Over several ranks the candidates are a rank's own: distances are not gathered, as cosines are.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def distance_triplet(distances: Tensor, negatives: Tensor, *, margin: float) -> Tensor:
    """Return the mean of `max(0, margin + d_ii - d_ij)` over each anchor's negatives, then anchors.

    Args:
        distances: `[..., B, B]`, of anchor i to candidate j; the positive is candidate i.
        negatives: bool `[..., B, B]`; an anchor without any does not count.
        margin: How much nearer the positive is to be.

    Returns:
        `[...]`, 0 without any negative.
    """
    near = distances.diagonal(dim1=-2, dim2=-1)[..., None]
    hinge = F.relu(margin + near - distances).masked_fill(~negatives, 0.0)
    counts = negatives.sum(dim=-1)
    per_anchor = hinge.sum(dim=-1) / counts.clamp(min=1)
    return per_anchor.sum(dim=-1) / (counts > 0).sum(dim=-1).clamp(min=1)


def other_samples(anchors: Tensor, candidates: Tensor, labels: Tensor | None) -> Tensor:
    """Return bool `[..., B, B]`: which candidates are an anchor's negatives.

    Args:
        anchors: bool `[..., B]`, rows that have both themselves and their positive.
        candidates: bool `[B]`, rows that can be a negative.
        labels: int `[B]`: rows of the anchor's label are none; None: only the row itself is not.
    """
    if labels is None:
        labels = torch.arange(len(candidates), device=anchors.device)
    differ = labels[:, None] != labels[None, :]
    return anchors[..., :, None] & candidates & differ
