"""An analysis as files: one JSON document, and CSVs of everything that is a row."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scfae.store.atomic import write_atomic

from ..runs import write_json
from .analysis import DOCUMENT, Analysis
from .basis import Aspect, joined, remove_files

PROJECTION: Final = "projection.csv"
Table = tuple[Sequence[str], list[Sequence[Any]]]
"""Heads and rows."""
GRADIENT_HEADS: Final = ("step", "modality", "at", "cosine", "task_norm", "auxiliary_norm")


@dataclass(frozen=True, slots=True)
class Kept:
    """What is in an analysis' folder now.

    Attributes:
        document: Of this analysis, and of earlier ones what they looked at and this did not.
        removed: Aspects of earlier ones that are of another checkpoint or of other data.
    """

    document: dict[str, Any]
    removed: tuple[Aspect, ...]


def write_analysis(found: Analysis, *, bootstrap: int = 1000) -> Kept:
    """Write the document and the tables; the plots are `drawing`'s.

    Args:
        found: By `analyse`.
        bootstrap: Resamples behind the intervals of contributions.
    """
    document, removed = joined(found.as_dict(bootstrap=bootstrap), _earlier(found))
    found.folder.mkdir(exist_ok=True)
    remove_files(found.folder, removed)
    write_json(found.folder / DOCUMENT, document)
    for name, (heads, rows) in tables_of(found).items():
        write_csv(found.folder / name, heads, rows)
    return Kept(document, removed)


def _earlier(found: Analysis) -> dict[str, Any] | None:
    path = found.folder / DOCUMENT
    try:
        earlier = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except ValueError:  # it is written anew, as its error says
        return None
    return earlier


def tables_of(found: Analysis) -> dict[str, Table]:
    """Return heads and rows of each CSV that the analysis has something for."""
    tables: dict[str, Table] = {}
    if found.lines:
        tables["gradients.csv"] = GRADIENT_HEADS, gradient_rows(found.lines)
    if found.sharing:
        heads = ("first", "second", "n", "cka", "cka_permuted")
        clubs = ("club", "club_sd", "club_permuted", "club_permuted_sd", "club_seeds")
        rows: list[Sequence[Any]] = []
        for one in found.sharing:
            club = one.club
            figures: Sequence[Any] = [None] * len(clubs)
            if club is not None:
                figures = (club.mean, club.sd, club.permuted, club.permuted_sd, club.seeds)
            rows.append((one.first, one.second, one.n, one.cka, one.cka_permuted, *figures))
        tables["sharing.csv"] = (*heads, *clubs), rows
    if found.probes:
        names = list(next(iter(found.probes.values())).metrics)
        tables["probes.csv"] = (
            ("part", *names, "n", "strength"),
            [
                (name, *(probe.metrics[one] for one in names), probe.n, probe.strength)
                for name, probe in found.probes.items()
            ],
        )
    if found.projection is not None:
        tables[PROJECTION] = (
            ("id", "class", "modality", "part", "pca_x", "pca_y", "tsne_x", "tsne_y"),
            projection_rows(found),
        )
    added = found.contributions
    if added is not None:
        tables["contributions.csv"] = (
            ("id", *added.modalities, "none", "everything"),
            [
                (name, *values, none, everything)
                for name, values, none, everything in zip(
                    added.ids.tolist(),
                    added.values.tolist(),
                    added.none.tolist(),
                    added.everything.tolist(),
                    strict=True,
                )
            ],
        )
    return tables


def gradient_rows(lines: Iterable[dict[str, Any]]) -> list[Sequence[Any]]:
    """Return the rows of a run's gradient log: a row for each sampled step and modality."""
    return [
        (line["step"], name, *(one[key] for key in GRADIENT_HEADS[2:]))
        for line in lines
        for name, one in line["modalities"].items()
    ]


def projection_rows(found: Analysis) -> list[Sequence[Any]]:
    """Return a row for each point in the plane."""
    assert found.projection is not None
    classes = found.classes or [""] * len(found.ids)
    return [
        (found.ids[place], classes[place], one.modality, one.kind, *pca, *tsne)
        for one in found.projection.points
        for place, pca, tsne in zip(
            one.places.tolist(), one.pca.tolist(), one.tsne.tolist(), strict=True
        )
    ]


def write_csv(path: Path, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table atomically; None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)
    write_atomic(path, buffer.getvalue().encode())
