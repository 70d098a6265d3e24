"""The page that puts runs side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import JsonValue

from ..compare import compare
from ..compare_api import read_ids
from ..compare_export import chosen_metric, value_text
from ..compare_views import Comparison
from ..context import AService, Viewer
from .site import render

router = APIRouter(include_in_schema=False)
NUM_COLOURS: Final = 6


@dataclass(frozen=True)
class Cell:
    """One figure of the table.

    Attributes:
        value: None where there is none.
        low: Of its 95 % interval, or None.
        high: Likewise.
        sd: Over seeds, or None.
        share: Its place between the least and the greatest of its column, 0 to 1.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    share: float = 0.0


@dataclass(frozen=True)
class Line:
    """One run of the table, or several that differ in seed alone.

    Attributes:
        name: For people.
        link: Path of its page; None for a group.
        colour: Number of its colour in the curves; None for a group.
        is_dashed: Whether another run has the colour too.
        state: Of the job, unless it is finished.
        settings: Values of the settings that differ.
        cells: One a set of modalities.
        seeds: How many; 0 for a run.
    """

    name: str
    link: str | None
    colour: int | None
    is_dashed: bool
    state: str | None
    settings: tuple[str, ...]
    cells: tuple[Cell, ...]
    seeds: int = 0


@router.get("/compare")
def page(
    request: Request,
    service: AService,
    actor: Viewer,
    ids: Annotated[str, Query(max_length=2000)] = "",
    metric: Annotated[str | None, Query(max_length=200)] = None,
) -> HTMLResponse:
    """Return the page; without ids one that says where they come from."""
    found = None
    shown: str | None = None
    if ids:
        found = compare([service.queue.job(one) for one in read_ids(ids)])
        shown = chosen_metric(found, metric or None)
    return render(
        request,
        "compare.html.j2",
        actor,
        here="runs",
        ids=",".join(read_ids(ids)) if ids else "",
        found=found,
        metric=shown,
        lines=[] if found is None else lines(found, shown),
        equal=[] if found is None else [(k, value_text(v)) for k, v in found.equal.items()],
        baseline=None if found is None else _baseline(found, shown),
    )


def lines(found: Comparison, metric: str | None) -> list[Line]:
    """Return the lines of the table, groups of seeds after the runs.

    Args:
        found: The comparison.
        metric: The figure that is shown.
    """
    ends = {name: _ends(found, name, metric) for name in found.conditions}
    rows = []
    for place, run in enumerate(found.runs):
        cells = []
        for name in found.conditions:
            one = run.conditions.get(name, {}).get(metric or "")
            low, high = one.interval if one is not None and one.interval else (None, None)
            value = None if one is None else one.value
            cells.append(Cell(value, low, high, share=_share(value, ends[name])))
        rows.append(
            Line(
                name=run.name,
                link=f"/runs/{run.job}",
                colour=place % NUM_COLOURS,
                is_dashed=place >= NUM_COLOURS,
                state=None if run.state == "finished" else run.state,
                settings=tuple(value_text(one.values[place]) for one in found.differing),
                cells=tuple(cells),
            )
        )
    places = {run.id: place for place, run in enumerate(found.runs)}
    for group in found.groups:
        members = [places[run] for run in group.runs]
        over = [group.conditions.get(name, {}).get(metric or "") for name in found.conditions]
        rows.append(
            Line(
                name=group.name,
                link=None,
                colour=None,
                is_dashed=False,
                state=None,
                settings=tuple(_common(one.values, members) for one in found.differing),
                cells=tuple(
                    Cell(None) if one is None else Cell(one.mean, sd=one.sd) for one in over
                ),
                seeds=len(group.seeds),
            )
        )
    return rows


def _common(values: Sequence[JsonValue], members: Sequence[int]) -> str:
    found = [values[place] for place in members]
    return value_text(found[0]) if all(one == found[0] for one in found) else ""


def _ends(found: Comparison, condition: str, metric: str | None) -> tuple[float, float]:
    told = [
        one.value
        for run in found.runs
        if (one := run.conditions.get(condition, {}).get(metric or "")) is not None
        and one.value is not None
    ]
    return (min(told), max(told)) if told else (0.0, 0.0)


def _share(value: float | None, ends: tuple[float, float]) -> float:
    low, high = ends
    return 0.0 if value is None or high <= low else round((value - low) / (high - low), 3)


def _baseline(found: Comparison, metric: str | None) -> float | None:
    """Return what sees no features scores, if it scores the same in all runs."""
    told = {run.baseline.get(metric or "") for run in found.runs if run.n is not None}
    return told.pop() if len(told) == 1 else None
