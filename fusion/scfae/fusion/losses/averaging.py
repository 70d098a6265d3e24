"""From one value a sample to a scalar, with the denominator that all methods share."""

from torch import Tensor


def mean_over_present(values: Tensor, applies: Tensor, present: Tensor) -> Tensor:
    """Return the sum over the samples that a loss applies to, over those with anything present.

    Args:
        values: `[B]`, one loss a sample; what does not apply may hold anything, NaN too.
        applies: bool `[B]`.
        present: bool `[B, M]`.

    Returns:
        A scalar; 0 for a batch without anything present.
    """
    count = present.any(dim=1).sum().clamp(min=1)
    return values.masked_fill(~applies, 0.0).sum() / count
