"""The form of a new run."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from ..context import AService, Operator
from ..jobs import SweepJob, TrainJob
from ..stores_api import stores
from .forms import form_groups, spelled
from .rows import settings_of
from .site import render

router = APIRouter(include_in_schema=False)


@router.get("/new")
def new(
    request: Request,
    service: AService,
    actor: Operator,
    clone: Annotated[str, Query(max_length=20)] = "",
    store: Annotated[str, Query(max_length=2000)] = "",
) -> HTMLResponse:
    """Return the form: empty, for a store, or as another run was."""
    values: dict[str, Any] = {"store": store} if store else {}
    name, seeds, priority, tags, evaluate = "", "", 0, "", True
    if clone:
        asked = service.queue.job(clone).submitted().request
        values = settings_of(asked.job)
        name, tags, priority = asked.name, " ".join(asked.tags), asked.priority
        seeds = " ".join(map(str, asked.job.seeds)) if isinstance(asked.job, SweepJob) else ""
        evaluate = asked.job.evaluate if isinstance(asked.job, TrainJob) else True
    known = [one for one in stores(service, actor) if one.error is None]
    return render(
        request,
        "new.html.j2",
        actor,
        here="new",
        groups=form_groups(values),
        stores=known,
        stores_json=[one.model_dump(mode="json") for one in known],
        start={
            "store": values.get("store", ""),
            "columns": values.get("columns", {}),
            "label": spelled(values.get("label", "")),
        },
        clone=clone,
        parent_name=service.queue.names([clone]).get(clone, clone) if clone else "",
        name=name,
        seeds=seeds,
        tags=tags,
        priority=priority,
        evaluate=evaluate,
    )
