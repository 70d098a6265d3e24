"""Routes of jobs: /api/v1/runs."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from scfae.train.runs import read_events
from scfae.train.settings import GROUPS

from .artifacts import Artifact, artifacts, place_of
from .check import check
from .context import Admin, AService, Operator, Viewer
from .ends import Ending
from .etags import etag, seen
from .filters import read_filter
from .folder import JobFolder
from .jobs import JobRequest, SweepJob, TrainJob
from .record import Wish
from .series import Curves, as_csv, curves
from .states import State
from .stream import follow
from .views import Ask, Checked, CloneAsk, Edit, JobDetail, JobList, JobView, LogPart, log_part

router = APIRouter(prefix="/runs", tags=["runs"])

Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]
_OFFSET = re.compile(r"^[0-9]{1,18}\Z")
_QUIET = "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def _job_there(service: AService, job_id: str) -> JobFolder:
    """Return the job before an answer begins: a stream that has begun cannot be refused."""
    return service.queue.job(job_id)


@router.post("", status_code=201)
def submit(
    service: AService, actor: Operator, body: JobRequest, response: Response, key: Key = None
) -> JobView:
    """Take a job; when the answer comes, the job survives whatever is killed."""
    record = service.queue.submit(body, actor=actor.name, roots=service.roots, key=key)
    response.headers["Location"] = f"runs/{record.id}"
    return JobView.of(record, service.queue.job(record.id))


@router.get("")
def page(
    service: AService,
    actor: Viewer,
    state: Annotated[list[State] | None, Query()] = None,
    kind: Annotated[list[str] | None, Query()] = None,
    q: Annotated[str, Query(max_length=500)] = "",
    narrowed: Annotated[str, Query(alias="filter", max_length=1000)] = "",
    cursor: Annotated[str | None, Query(max_length=60)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> JobList:
    """Return a page of jobs, the newest first.

    `q` is words that all must be found. `filter` is comparisons that all must be true: of a
    setting (`lr<1e-3 loop.seed=3 fusion=scfae`), of the best figure of the run (`metric>0.8`, or
    by its name: `accuracy>0.8`), of `step`, `epoch`, `priority`, `attempt`, `actor`, `tag`, `name`.
    """
    found = service.queue.page(
        states=state or (),
        kinds=kind or (),
        q=q,
        terms=read_filter(narrowed),
        cursor=cursor,
        limit=limit,
    )
    # A job that is deleted meanwhile is shown as it was.
    jobs = tuple(JobView.of(one, JobFolder(service.queue.runs / one.id)) for one in found.jobs)
    return JobList(jobs=jobs, cursor=found.cursor, counts=service.queue.counts())


@router.post("/check")
def check_request(
    request: Request,
    service: AService,
    actor: Viewer,
    body: dict[str, Any],
    measure: bool = False,
) -> Checked:
    """Say what a request would be and take, and what is wrong with it, without submitting it.

    How long a step takes is told from earlier runs like it; with `measure`, which takes an
    operator, a few steps are timed on the server's machine instead.
    """
    if measure:
        actor.require("operator")
    url = str(request.url.replace(query="")).removesuffix("/check")
    return check(service, body, url, measure=measure)


@router.get("/{job_id}")
def detail(service: AService, actor: Viewer, job_id: str, response: Response) -> JobDetail:
    """Return a job with its request and its history; its ETag changes with every line of that."""
    folder = service.queue.job(job_id)
    response.headers["ETag"] = etag(folder.record())
    return JobDetail.whole(folder)


@router.patch("/{job_id}")
def edit(
    service: AService,
    actor: Operator,
    job_id: str,
    body: Edit,
    response: Response,
    if_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> JobView:
    """Change name, tags, notes or priority; with `If-Match`, only if the job is as it was seen."""
    changes = body.model_dump(mode="json", exclude_none=True)
    record = service.queue.edit(job_id, changes, actor=actor.name, seen=seen(if_match))
    response.headers["ETag"] = etag(record)
    return JobView.of(record, service.queue.job(job_id))


@router.delete("/{job_id}", status_code=204)
def delete(service: AService, actor: Admin, job_id: str) -> None:
    """Move a job that has ended into the trash."""
    webhooks = service.webhooks.webhooks()
    # Of a job that has just ended nothing may have been told yet.
    service.queue.discard(job_id, first=lambda job: service.deliveries.collect_last(job, webhooks))


@router.post("/{job_id}/cancel")
def cancel(service: AService, actor: Operator, job_id: str, body: Ask | None = None) -> JobView:
    """Have a job save and stop; `now` stops it at once."""
    ask = body or Ask()
    wish: Wish = "kill" if ask.now else "cancel"
    record = service.queue.wish(job_id, wish, actor=actor.name, reason=ask.reason)
    return JobView.of(record, service.queue.job(job_id))


@router.post("/{job_id}/resume")
def resume(service: AService, actor: Operator, job_id: str, body: Ask | None = None) -> JobView:
    """Queue a failed or cancelled job again; it goes on from its last checkpoint."""
    reason = (body or Ask()).reason
    record = service.queue.resume(job_id, actor=actor.name, reason=reason)
    return JobView.of(record, service.queue.job(job_id))


@router.post("/{job_id}/clone", status_code=201)
def clone(
    service: AService, actor: Operator, job_id: str, body: CloneAsk | None = None, key: Key = None
) -> JobView:
    """Submit a job like another, with some settings changed."""
    ask = body or CloneAsk()
    request = cloned(service.queue.job(job_id).submitted().request, ask, parent=job_id)
    record = service.queue.submit(request, actor=actor.name, roots=service.roots, key=key)
    return JobView.of(record, service.queue.job(record.id))


@router.get("/{job_id}/events", response_class=EventSourceResponse)
async def events(
    request: Request,
    service: AService,
    actor: Viewer,
    folder: Annotated[JobFolder, Depends(_job_there)],
    last_event_id: Annotated[str | None, Header()] = None,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> AsyncIterator[ServerSentEvent]:
    """Stream events.jsonl; the id of an event is the offset in bytes to go on from.

    The last event, `end`, tells the state of a job that has ended.
    """
    is_ours = last_event_id is not None and _OFFSET.match(last_event_id)
    begin = int(last_event_id) if is_ours and last_event_id else offset

    async for event in follow(
        folder.events_path, begin, has_ended=Ending(folder), is_stopping=service.stopping.is_set
    ):
        yield event


@router.get("/{job_id}/log")
def log(
    service: AService,
    actor: Viewer,
    job_id: str,
    offset: int = 0,
    limit: Annotated[int, Query(ge=1, le=1 << 22)] = 1 << 18,
) -> LogPart:
    """Return a part of the log; a negative offset counts from its end."""
    return log_part(service.queue.job(job_id), offset, limit)


@router.get("/{job_id}/metrics")
def metrics(
    service: AService,
    actor: Viewer,
    job_id: str,
    keys: Annotated[str, Query(max_length=4000, description="figures, with commas")] = "",
    max_points: Annotated[int, Query(ge=4, le=100_000)] = 1000,
    smoothing: Annotated[float, Query(ge=0, lt=1)] = 0.0,
) -> Curves:
    """Return the curves of a run, reduced to the extremes of equal stretches."""
    wanted = [key.strip() for key in keys.split(",") if key.strip()]
    events = read_events(service.queue.job(job_id).events_path)
    return curves(events, wanted, max_points, smoothing=smoothing)


@router.get("/{job_id}/metrics.csv", response_class=Response)
def table(service: AService, actor: Viewer, job_id: str) -> Response:
    """Return every figure of every epoch as CSV."""
    events = read_events(service.queue.job(job_id).events_path)
    return Response(as_csv(curves(events, (), len(events) + 4)), media_type="text/csv")


@router.get("/{job_id}/artifacts")
def files(service: AService, actor: Viewer, job_id: str) -> tuple[Artifact, ...]:
    """Return the files of a job."""
    return tuple(artifacts(service.queue.job(job_id)))


@router.get("/{job_id}/artifacts/{path:path}", response_class=FileResponse)
def file(service: AService, actor: Viewer, job_id: str, path: str) -> FileResponse:
    """Return a file of a job, or the bytes of it that `Range` asks for."""
    place = place_of(service.queue.job(job_id), path)
    # What a page among them does, it does without the rights of ours.
    headers = {"Content-Security-Policy": _QUIET, "X-Content-Type-Options": "nosniff"}
    return FileResponse(place, headers=headers)


def cloned(request: JobRequest, ask: CloneAsk, *, parent: str) -> JobRequest:
    """Return a request like another.

    Args:
        request: The other.
        ask: What differs.
        parent: Id of the other.
    """
    job: Any = request.job
    if isinstance(job, TrainJob | SweepJob):
        flat: dict[str, Any] = {}
        for name, value in job.config.items():
            flat |= value if name in GROUPS and isinstance(value, dict) else {name: value}
        job = job.model_copy(update={"config": flat | ask.config})
    name = request.name if ask.name is None else ask.name
    return request.model_copy(update={"job": job, "name": name, "parent": parent})
