"""The list of runs, which is the first page."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from scfae.store.errors import FilterError

from ..context import AService, Service, Viewer
from ..index import Page
from ..states import STATES
from ..stores import find_stores
from .rows import Search, row_of
from .site import is_fragment, render

router = APIRouter(include_in_schema=False)
_PAGE = 50


@router.get("/")
def runs(
    request: Request,
    service: AService,
    actor: Viewer,
    q: Annotated[str, Query(max_length=500)] = "",
    cursor: Annotated[str | None, Query(max_length=60)] = None,
) -> HTMLResponse:
    """Return the list, or for htmx its table alone."""
    search = Search.of(q)
    page, complaints = _found(service, search, cursor)
    counts = service.queue.counts()
    waiting = service.queue.waiting() if counts.get("queued") else []
    return render(
        request,
        "runs_table.html.j2" if is_fragment(request) else "runs.html.j2",
        actor,
        here="runs",
        q=q,
        cursor=cursor,
        rows=[row_of(service, record, waiting) for record in page.jobs],
        next_cursor=page.cursor,
        counts={state: counts[state] for state in STATES if counts.get(state)},
        total=sum(counts.values()),
        complaints=complaints,
        stores=_first_stores(service) if not counts else [],
        workers=service.roster.workers(),
    )


def _found(service: Service, search: Search, cursor: str | None) -> tuple[Page, list[str]]:
    """Return the jobs, and what of the search could not be used: the rest of it is."""
    find = partial(
        service.queue.page,
        states=search.states,
        kinds=search.kinds,
        q=search.words,
        cursor=cursor,
        limit=_PAGE,
    )
    try:
        return find(terms=search.terms), [*search.complaints]
    except FilterError as error:
        return find(), [*search.complaints, str(error)]


def _first_stores(service: Service) -> list[str]:
    return [str(path) for path in find_stores(service.roots)[:5]]
