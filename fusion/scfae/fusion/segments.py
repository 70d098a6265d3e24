"""Any number of rows as a fixed number of segment means, so that layers of fixed length can read.

Shapes: B samples, T rows, D features, S segments.
"""

import torch
from torch import Tensor


def segment_means(rows: Tensor, valid: Tensor, num_segments: int) -> Tensor:
    """Return `[B, S, D]`: segment s is the mean of rows floor(s n / S) to ceil((s + 1) n / S) - 1.

    n is a sample's number of valid rows; with n < S rows come several times, one row S times. A
    sample without rows is zero. As `torch.nn.functional.adaptive_avg_pool1d` on each sample's rows.

    Args:
        rows: `[B, T, D]`.
        valid: bool `[B, T]`, a prefix of each row.
        num_segments: S.
    """
    count = valid.sum(dim=1)[:, None]
    places = torch.arange(num_segments, device=rows.device)[None]
    first = (places * count).div(num_segments, rounding_mode="floor")
    end = ((places + 1) * count + num_segments - 1).div(num_segments, rounding_mode="floor")
    steps = torch.arange(rows.shape[1], device=rows.device)
    inside = (steps >= first[:, :, None]) & (steps < end[:, :, None])
    weights = inside.to(rows.dtype) / inside.sum(dim=2, keepdim=True).clamp(min=1)
    means: Tensor = weights @ rows
    return means
