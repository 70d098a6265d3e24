"""Means over conditions, named by how many they are: the field prints both without saying which.

With three modalities `avg6` is the mean over the six sets that lack something and `avg7` the mean
over all seven.
"""

from collections.abc import Sequence
from typing import Protocol

from .metrics import Metrics
from .validation import mean_metrics


class Conditioned(Protocol):
    """A condition with its figures."""

    @property
    def metrics(self) -> Metrics:
        """Every figure; None where undefined."""


def averages(conditions: Sequence[Conditioned], *, has_full: bool = True) -> dict[str, Metrics]:
    """Return the mean of all conditions but the last (full) one, and of all; {} for one only.

    Args:
        conditions: The full set of modalities last.
        has_full: Whether there is such a set; directions of retrieval have one `mean`.
    """
    if len(conditions) < 2:
        return {}
    found = [one.metrics for one in conditions]
    if not has_full:
        return {"mean": mean_metrics(found)}
    count = len(found)
    return {f"avg{count - 1}": mean_metrics(found[:-1]), f"avg{count}": mean_metrics(found)}
