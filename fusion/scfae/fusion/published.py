"""Figures that the paper prints of methods that cannot be run: nothing here was measured by us.

ART-AVDF (Wang and Huang, CVIU 2024) learns its own encoders from articulation, without public code;
no fusion of stored features stands for it. The SCFAE paper copies its figures from its publication,
so its split may differ from that of the rows beside it.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """One printed number.

    Attributes:
        row: Name of the row in the paper's table.
        table: Number of the table.
        dataset: Data it is of.
        modalities: Those that are not masked, joined by `+`.
        metric: `accuracy` or `auc`.
        percent: The number as printed, in percent.
        source: Where it is printed.
    """

    row: str
    table: int
    dataset: str
    modalities: str
    metric: str
    percent: float
    source: str


@cache
def published_rows() -> tuple[PublishedFigure, ...]:
    """Return the printed figures of the paper's rows that no method here stands for."""
    with Path(__file__).with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        return tuple(
            PublishedFigure(
                **{key: line[key] for key in ("row", "dataset", "modalities", "metric", "source")},
                table=int(line["table"]),
                percent=float(line["percent"]),
            )
            for line in csv.DictReader(file)
        )
