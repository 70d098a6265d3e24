"""Means of figures over an epoch."""

from collections.abc import Sequence
from typing import Any


class Sums:
    """Means over the samples of an epoch, kept as sums so that a checkpoint can hold them."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self._sums: dict[str, float] = dict(state["sums"]) if state else {}
        self._count: int = state["count"] if state else 0

    @classmethod
    def added(cls, states: Sequence[dict[str, Any]]) -> "Sums":
        """Return the sums of several processes, by their states, in one."""
        whole = cls()
        for state in states:
            for name, value in state["sums"].items():
                whole._sums[name] = whole._sums.get(name, 0.0) + value
            whole._count += state["count"]
        return whole

    def add(self, figures: dict[str, float], count: int) -> None:
        """Add a batch's means over `count` samples."""
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * count
        self._count += count

    def means(self) -> dict[str, float]:
        """Return the mean of each figure over the samples seen."""
        return {name: value / self._count for name, value in self._sums.items()}

    def state(self) -> dict[str, Any]:
        """Return the sums as plain values."""
        return {"sums": self._sums, "count": self._count}
