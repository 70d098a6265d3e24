"""What a head of its own is trained on: each sample's error, by the kind of labels.

Shapes: B samples, C outputs.
"""

import torch.nn.functional as F
from torch import Tensor


def task_errors(logits: Tensor, labels: Tensor) -> Tensor:
    """Return each sample's error `[B]`: cross-entropy, squared error, or mean binary cross-entropy.

    Args:
        logits: `[B, C]`.
        labels: int `[B]` classes; float `[B]` values, with C = 1; float `[B, C]` several labels.

    Raises:
        ValueError: If values come with more than one output.
    """
    logits = logits.float()
    if not labels.is_floating_point():
        return F.cross_entropy(logits, labels, reduction="none")
    if labels.ndim == 1:
        if logits.shape[1] != 1:
            raise ValueError(f"labels: values [B] need one output, not {logits.shape[1]}")
        return (logits[:, 0] - labels) ** 2
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(dim=1)
