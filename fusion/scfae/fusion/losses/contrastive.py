"""Contrastive losses: InfoNCE, supervised contrastive, triplets and a margin on one distance.

InfoNCE after van den Oord et al. (arXiv 1807.03748), symmetric as in CLIP (arXiv 2103.00020);
supervised contrastive after Khosla et al. (arXiv 2004.11362), the sum outside the logarithm; the
margin loss after Hadsell et al. (CVPR 2006). Those over a batch gather the rows of all ranks.

Shapes: B samples, N samples of all ranks, D features.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .gathering import gather_rows

LEAST_TEMPERATURE = 0.01
"""The least that a learned temperature becomes: CLIP's scale of cosines is at most 100."""


def info_nce(
    first: Tensor,
    second: Tensor,
    *,
    temperature: float | Tensor = 0.1,
    valid: Tensor | None = None,
    labels: Tensor | None = None,
) -> Tensor:
    """Return the symmetric cross-entropy of finding each row's partner among all rows.

    Args:
        first: `[B, D]`, any length; it is normalised here.
        second: `[B, D]`, its row i the partner of row i of `first`.
        temperature: Cosines are divided by it; a tensor learns.
        valid: bool `[B]`, the rows of which both are there; None is all.
        labels: int `[B]`: rows of the same label are partners too, each with an equal share of the
            target; None: only row i of row i.

    Returns:
        A scalar, the mean of both directions over valid rows.
    """
    first, second, valid, labels = _gather(first, second, valid, labels)
    scores = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / temperature
    count = len(scores)
    if labels is None:
        partners = torch.eye(count, dtype=torch.bool, device=scores.device)
    else:
        partners = labels[:, None] == labels[None, :]
    pairs = valid[:, None] & valid[None, :]
    losses = [_cross_entropy(s, partners, pairs) for s in (scores, scores.T)]
    per_row = torch.stack(losses).mean(dim=0)
    return per_row.masked_fill(~valid, 0.0).sum() / valid.sum().clamp(min=1)


def learned_temperature(log_scale: Tensor, *, is_training: bool) -> Tensor:
    """Return `e^-s`, at least 0.01, for a temperature that learns as CLIP's.

    In training s itself is set back to its most, before it is used, as CLIP's trainers do after a
    step: only held in the result, an s above its most would get no gradient to come down by.

    Args:
        log_scale: s, a scalar parameter.
        is_training: Whether s may be set back.
    """
    most = -math.log(LEAST_TEMPERATURE)
    if is_training and not torch.compiler.is_compiling():
        log_scale.data.clamp_(max=most)
        return torch.exp(-log_scale)
    return torch.exp(-log_scale.clamp(max=most))


def check_temperature(temperature: float) -> None:
    """Check where a temperature that learns begins.

    Raises:
        ValueError: If it is below the least.
    """
    if not LEAST_TEMPERATURE <= temperature < math.inf:
        raise ValueError(f"temperature: must be at least {LEAST_TEMPERATURE}, not {temperature}")


def sup_con(
    embeddings: Tensor, labels: Tensor, *, temperature: float = 0.1, valid: Tensor | None = None
) -> Tensor:
    """Return the supervised contrastive loss, the mean over rows that have a partner.

    Args:
        embeddings: `[B, D]`, any length; normalised here.
        labels: int `[B]`; rows of the same label are partners.
        temperature: Cosines are divided by it.
        valid: bool `[B]`, the rows that count; None is all.
    """
    embeddings, _, valid, labels_all = _gather(embeddings, embeddings, valid, labels)
    assert labels_all is not None
    unit = F.normalize(embeddings, dim=1)
    scores = unit @ unit.T / temperature
    others = ~torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    pairs = valid[:, None] & valid[None, :] & others
    partners = labels_all[:, None] == labels_all[None, :]
    counted = (pairs & partners).any(dim=1)
    per_row = _cross_entropy(scores, partners, pairs)
    return per_row.masked_fill(~counted, 0.0).sum() / counted.sum().clamp(min=1)


def triplet(anchor: Tensor, positive: Tensor, negative: Tensor, *, margin: float = 0.2) -> Tensor:
    """Return `max(0, margin + d(anchor, positive) - d(anchor, negative))`, `[B]`, d = 1 - cos.

    Args:
        anchor: `[B, D]`.
        positive: `[B, D]`.
        negative: `[B, D]`.
        margin: How much nearer the positive is to be.
    """
    near = F.cosine_similarity(anchor, positive, dim=1)
    far = F.cosine_similarity(anchor, negative, dim=1)
    return F.relu(margin - near + far)


def batch_triplet(
    first: Tensor,
    second: Tensor,
    *,
    margin: float = 0.2,
    valid: Tensor | None = None,
    labels: Tensor | None = None,
    hardest: bool = False,
) -> Tensor:
    """Return the triplet loss of two modalities over a batch, d = 1 - cos, both directions.

    The anchor is a row of one modality, the positive the same row of the other, the negatives the
    other's further rows.

    Args:
        first: `[B, D]`.
        second: `[B, D]`.
        margin: How much nearer the positive is to be.
        valid: bool `[B]`, the rows of which both are there; None is all.
        labels: int `[B]`: rows of the anchor's label are no negatives; None: all others are.
        hardest: Only the nearest negative of each anchor; else the mean over all.
    """
    first, second, valid, labels = _gather(first, second, valid, labels)
    scores = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
    if labels is None:
        same = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    else:
        same = labels[:, None] == labels[None, :]
    negatives = valid[:, None] & valid[None, :] & ~same
    counts = negatives.sum(dim=1)
    hinges = []
    for directed in (scores, scores.T):
        hinge = F.relu(margin - directed.diagonal()[:, None] + directed)
        hinge = hinge.masked_fill(~negatives, 0.0)
        hinges.append(hinge.amax(dim=1) if hardest else hinge.sum(dim=1) / counts.clamp(min=1))
    counted = (counts > 0).sum().clamp(min=1)
    return torch.stack(hinges).sum() / (2 * counted)


def margin_contrastive(distance: Tensor, same: Tensor, *, margin: float = 0.99) -> Tensor:
    """Return `same d² + (1 - same) max(0, margin - d)²`, `[B]`.

    Args:
        distance: `[B]`, at least 0.
        same: bool or float `[B]`, 1 for those to pull together.
        margin: The distance beyond which different ones rest.
    """
    share = same.to(distance.dtype)
    return share * distance.square() + (1 - share) * F.relu(margin - distance).square()


def _gather(
    first: Tensor, second: Tensor, valid: Tensor | None, labels: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    if valid is None:
        valid = torch.ones(len(first), dtype=torch.bool, device=first.device)
    # What does not count is zeroed first: NaN there would reach other rows' gradients.
    first = first.masked_fill(~valid[:, None], 0.0)
    second = second.masked_fill(~valid[:, None], 0.0)
    if labels is None:
        first, second, valid = gather_rows(first, second, valid)
    else:
        first, second, valid, labels = gather_rows(first, second, valid, labels)
    return first, second, valid, labels


def _cross_entropy(scores: Tensor, partners: Tensor, pairs: Tensor) -> Tensor:
    """Return for each row the mean of -log softmax over its partners among `pairs`, `[N]`."""
    lowest = torch.finfo(scores.dtype).min
    log_shares = scores.masked_fill(~pairs, lowest).log_softmax(dim=1)
    wanted = partners & pairs
    total = log_shares.masked_fill(~wanted, 0.0).sum(dim=1)
    return -total / wanted.sum(dim=1).clamp(min=1)
