"""Heads: from the fused vector to outputs (classes, or values of a regression)."""

from torch import nn

KINDS = ("linear", "mlp")


def make_head(kind: str, width: int, num_outputs: int) -> nn.Module:
    """Return a head `[B, width]` -> `[B, num_outputs]`.

    Args:
        kind: `linear` (reading A11 of the paper), or `mlp` with one hidden layer of the same width.
        width: Width of the fused vector.
        num_outputs: Classes, or values.

    Raises:
        ValueError: If there is no head of this kind.
    """
    if kind == "linear":
        return nn.Linear(width, num_outputs)
    if kind == "mlp":
        return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, num_outputs))
    raise ValueError(f"head: must be one of {', '.join(KINDS)}, not {kind!r}")
