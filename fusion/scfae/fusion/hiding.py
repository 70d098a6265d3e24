"""Hide, in training, some of what is present, so that a method can learn to imagine it."""

import torch
from torch import Tensor


def hide(present: Tensor, share: float) -> Tensor:
    """Return what stays visible, bool `[B, M]`: at least one of each sample's modalities.

    Each present modality is hidden with probability `share`, by a draw of its own from torch's
    generator; where that would hide all, the one with the largest draw stays.

    Args:
        present: bool `[B, M]`.
        share: Probability, from 0 to 1.
    """
    draw = torch.rand(present.shape, device=present.device).masked_fill(~present, -1.0)
    seen = present & (draw >= share)
    last = present & (draw == draw.max(dim=1, keepdim=True).values)
    return seen | (last & ~seen.any(dim=1, keepdim=True))


def check_share(option: str, share: float) -> None:
    """Check that an option is a probability below one.

    Raises:
        ValueError: If it is not.
    """
    if not 0 <= share < 1:
        raise ValueError(f"{option}: must be at least 0 and below 1, not {share}")
