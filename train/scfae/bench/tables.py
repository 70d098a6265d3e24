"""Promised ratios, whether they were reached, and tables of plain text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio that is promised.

    Attributes:
        what: Which two figures.
        least: The least it should be; None has no lower bound.
        most: The most it should be; None has no upper bound.
        ratio: What was measured; None if one of the two was not.
    """

    what: str
    least: float | None
    most: float | None
    ratio: float | None

    @property
    def wanted(self) -> str:
        """The bounds, as text."""
        if self.most is None:
            return f">= {self.least:g}"
        if self.least is None:
            return f"<= {self.most:g}"
        return f"{self.least:g} to {self.most:g}"

    @property
    def outcome(self) -> str:
        """`reached`, `missed` or `not measured`."""
        if self.ratio is None:
            return "not measured"
        low = self.least is None or self.ratio >= self.least
        high = self.most is None or self.ratio <= self.most
        return "reached" if low and high else "missed"


def with_outcomes(body: dict[str, Any], targets: Sequence[Target]) -> dict[str, Any]:
    """Return the JSON values of a result, the outcome beside each of its `targets`."""
    for target, plain in zip(targets, body["targets"], strict=True):
        plain["outcome"] = target.outcome
    return body


def promises(targets: Sequence[Target]) -> list[str]:
    """Return a table of targets, with what was measured and the outcome."""
    rows = [(one.what, times(one.ratio), one.wanted, one.outcome) for one in targets]
    return table(("ratio", "measured", "target", "outcome"), rows)


def times(ratio: float | None) -> str:
    """Return a ratio as text, empty for none."""
    return "" if ratio is None else f"{ratio:.2f}"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table, columns as wide as their widest cell."""
    widths = [max(map(len, cells)) for cells in zip(head, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *rows)
    ]
