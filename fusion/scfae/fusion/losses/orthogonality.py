"""Orthogonality: two embeddings that are to say different things.

`orthogonality` is MISA's difference loss (Hazarika et al., ACM MM 2020, released code), over a
batch; `cosine_overlap` is DrFuse's (Yao et al., AAAI 2024), of each sample.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def orthogonality(first: Tensor, second: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Return the mean square of `X^T Y`, `[D, E]`, of centred rows of unit length.

    Lengths are taken as constants, as in the released code: only directions are corrected.

    Args:
        first: `[B, D]`.
        second: `[B, E]`.
        valid: bool `[B]`, the rows of which both are there; None is all.

    Returns:
        A scalar; 0 without rows, and for one row, which is its own centre.
    """
    if valid is None:
        valid = torch.ones(len(first), dtype=torch.bool, device=first.device)
    x, y = (_unit_rows(rows, valid) for rows in (first, second))
    return (x.T @ y).square().mean()


def cosine_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Return `|cos|` of each sample's two vectors, `[B]`, from two of `[B, D]`."""
    return F.cosine_similarity(first, second, dim=1).abs()


def _unit_rows(rows: Tensor, valid: Tensor) -> Tensor:
    ignored = ~valid[:, None]
    mean = rows.masked_fill(ignored, 0.0).sum(dim=0) / valid.sum().clamp(min=1)
    centred = (rows - mean).masked_fill(ignored, 0.0)
    lengths: Tensor = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
    return centred / (lengths.detach() + 1e-6)
