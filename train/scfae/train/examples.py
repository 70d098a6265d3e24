"""Samples on a page: worst errors, or queries and what they found, each with its media."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scfae.store import ColumnInfo
from scfae.store.branches import modality_of

from .calibrated import run_temperature
from .kept import KeptScores
from .retrieved import retrieval_examples
from .retrieved import rule as retrieval_rule
from .runs import RunFolder
from .sample_media import KINDS, is_encoded, kinds_read
from .shown_media import Asked, as_page, show_media
from .tasks import Retrieval, Task
from .worst import rule as worst_rule
from .worst import worst_cases

NUM_FRAMES = 6


@dataclass(frozen=True, slots=True)
class Examples:
    """How examples are shown.

    Attributes:
        count: Samples, or queries of all directions together; 0 shows none.
        has_media: With pictures, sound and text of the samples.
        media_root: What media references are relative to; None looks for it beside the store.
    """

    count: int = 6
    has_media: bool = True
    media_root: Path | None = None


def example_parts(
    run: RunFolder, task: Task, kept: KeptScores, options: Examples
) -> dict[str, Any]:
    """Return `worst` and `retrieval` for a page; None where there is nothing to show.

    Raises:
        ConfigError: If the folder of media is none.
    """
    page: dict[str, Any] = {"worst": None, "retrieval": None}
    if options.count < 1:
        return page
    if isinstance(task, Retrieval):
        directions = retrieval_examples(task, kept, options.count)
        notes = _add_hits(run, directions, options)
        if directions:
            rule = retrieval_rule(task)
            page["retrieval"] = {"rule": rule, "directions": directions, "notes": notes}
        return page
    temperature = run_temperature(run)
    cases = worst_cases(task, kept, options.count, temperature=temperature)
    asked = [Asked(case["id"], num_frames=NUM_FRAMES) for case in cases]
    shown, notes = _shown(run, asked, options)
    for case, media in zip(cases, shown, strict=True):
        case["media"] = media
    if cases:
        page["worst"] = {"rule": worst_rule(task, temperature), "cases": cases, "notes": notes}
    return page


def _add_hits(run: RunFolder, directions: list[dict[str, Any]], options: Examples) -> list[str]:
    columns = run.columns
    places: list[dict[str, Any]] = []
    asked: list[Asked] = []
    for direction in directions:
        query_kind, hit_kind = (views(m, columns[m]) for m in direction["shown"])
        for query in direction["queries"]:
            for one, kind in [(query, query_kind), *((hit, hit_kind) for hit in query["hits"])]:
                places.append(one)
                asked.append(Asked(one["id"], kind, num_frames=1))
    shown, notes = _shown(run, asked, options)
    for one, media in zip(places, shown, strict=True):
        one["media"] = media
    return notes


def views(branch: str, info: ColumnInfo) -> tuple[str, ...]:
    """Return what to show for a branch of a run: what its encoder has read.

    Args:
        branch: Its name in the run; of a column that was imported or derived it says more than the
            column, whose parents may be gone.
        info: Its column.
    """
    if is_encoded(info):
        kind = kinds_read(info)[0]
        if info.modality == "audio":
            return ("sound",)
        if kind in KINDS:
            return ("sight",) if kind == "video" else (kind,)
    named = modality_of(branch)
    by_name = {"video": "sight", "audio": "sound", "image": "still", "text": "text"}
    found = by_name.get(named) or by_name.get(info.modality)
    return (found,) if found else KINDS  # of a kind that is ours not to know


def _shown(
    run: RunFolder, asked: list[Asked], options: Examples
) -> tuple[list[Mapping[str, Any]], list[str]]:
    if not options.has_media:
        return [as_page() for _ in asked], ["Shown without media, as asked."]
    shown, notes = show_media(run, asked, root=options.media_root)
    return [as_page(one) for one in shown], notes
