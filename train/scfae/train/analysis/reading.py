"""A kept analysis back from its run folder, for pages and figures."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from scfae.store.errors import RunStateError

from .analysis import DOCUMENT, FOLDER
from .exports import PROJECTION
from .parts import Kind
from .projection import Points, Projection


@dataclass(frozen=True, slots=True)
class KeptProjection:
    """Parts in the plane, with who they are.

    Attributes:
        projection: The points; their places are those in `ids`.
        ids: Samples shown.
        classes: Class of each; empty words where the task has none.
    """

    projection: Projection
    ids: Sequence[str]
    classes: Sequence[str]


def read_analysis(run: str | Path) -> dict[str, Any] | None:
    """Return the document that `scfae analyse` kept in a run; None if there is none.

    Raises:
        RunStateError: It is damaged.
    """
    path = Path(run) / FOLDER / DOCUMENT
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunStateError(f"{path} is damaged ({error}): scfae analyse {run}") from None
    return found


def read_projection(run: str | Path) -> KeptProjection | None:
    """Return the parts in the plane that an analysis kept; None if it had none.

    Raises:
        RunStateError: They are damaged.
    """
    document = read_analysis(run)
    path = Path(run) / FOLDER / PROJECTION
    if document is None or document["projection"] is None:
        return None
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        ids = list(dict.fromkeys(row["id"] for row in rows))
        classes = {row["id"]: row["class"] for row in rows}
        place = {name: number for number, name in enumerate(ids)}
        by_part: dict[tuple[str, str], list[dict[str, str]]] = {}
        for row in rows:
            by_part.setdefault((row["modality"], row["part"]), []).append(row)
        points = tuple(
            Points(
                modality,
                cast(Kind, kind),
                np.array([place[row["id"]] for row in some]),
                np.array([[float(row["pca_x"]), float(row["pca_y"])] for row in some]),
                np.array([[float(row["tsne_x"]), float(row["tsne_y"])] for row in some]),
            )
            for (modality, kind), some in by_part.items()
        )
    except (OSError, KeyError, ValueError) as error:
        raise RunStateError(f"{path} is damaged ({error}): scfae analyse {run}") from None
    facts = document["projection"]
    first, second = facts["explained"]
    return KeptProjection(
        Projection(points, (first, second), facts["perplexity"], facts["n"]),
        ids,
        [classes[name] for name in ids],
    )
