"""Divergences between two distributions, of each sample."""

import torch
from torch import Tensor


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """Return the Jensen-Shannon divergence in nats, `[B]`.

    `sum over d of (p log(p / m) + q log(q / m)) / 2`, m = (p + q) / 2. DrFuse takes it of sigmoids,
    which do not sum to 1; then it is the sum of what each feature adds, at least 0 all the same.

    Args:
        first: p, `[B, D]`, at least 0.
        second: q, `[B, D]`, at least 0.
    """
    least = torch.finfo(first.dtype).tiny
    p, q = first.clamp(min=least), second.clamp(min=least)
    middle = (0.5 * (p + q)).log()
    return 0.5 * (p * (p.log() - middle) + q * (q.log() - middle)).sum(dim=1)
