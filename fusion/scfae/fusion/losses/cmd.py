"""Central moment discrepancy (Zellinger et al., arXiv 1702.08811), as MISA uses it."""

import torch
from torch import Tensor


def central_moment_discrepancy(
    first: Tensor,
    second: Tensor,
    *,
    num_moments: int = 5,
    valid_first: Tensor | None = None,
    valid_second: Tensor | None = None,
) -> Tensor:
    """Return how far the moments of two batches are apart.

    `||E x - E y|| + sum over k = 2 .. num_moments of ||E (x - E x)^k - E (y - E y)^k||`, for
    features in [0, 1] (MISA has sigmoids before it), so without the factors `1 / (b - a)^k`.

    Args:
        first: `[B, D]`.
        second: `[B, D]`; the rows need not be partners.
        num_moments: The highest moment.
        valid_first: bool `[B]`, the rows of `first` that count; None is all.
        valid_second: bool `[B]`, those of `second`.

    Returns:
        A scalar; 0 where one of them has no row.
    """
    moments_x, any_x = _moments(first, valid_first, num_moments)
    moments_y, any_y = _moments(second, valid_second, num_moments)
    distances: Tensor = torch.linalg.vector_norm(moments_x - moments_y, dim=1)
    return distances.sum().masked_fill(~(any_x & any_y), 0.0)


def _moments(x: Tensor, valid: Tensor | None, num_moments: int) -> tuple[Tensor, Tensor]:
    """Return `[num_moments, D]`, mean and central moments, and whether there was a row."""
    if valid is None:
        valid = torch.ones(len(x), dtype=torch.bool, device=x.device)
    ignored = ~valid[:, None]
    count = valid.sum().clamp(min=1)
    mean = x.masked_fill(ignored, 0.0).sum(dim=0) / count
    centred = (x - mean).masked_fill(ignored, 0.0)
    higher = [centred.pow(power).sum(dim=0) / count for power in range(2, num_moments + 1)]
    return torch.stack([mean, *higher]), valid.any()
