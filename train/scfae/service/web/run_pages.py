"""The page of one run: what it is doing, its curves, its evaluation, log, settings and files."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from scfae.store.errors import RunError
from scfae.train.provenance import environment_of, shown
from scfae.train.settings import GROUPS

from .. import words
from ..access import Actor
from ..artifacts import artifacts
from ..context import AService, Service, Viewer
from ..folder import JobFolder
from ..record import JobRecord
from ..states import ACTIVE, ENDED
from ..views import log_part
from .matrix import Matrix, RateChart, matrix_of, rate_charts
from .results import SweepTable, printed, sweep_table
from .rows import Row, row_of, settings_of
from .site import render

router = APIRouter(prefix="/runs/{job_id}", include_in_schema=False)

TABS: Final = (
    ("overview", "Overview", ""),
    ("log", "Log", "/log"),
    ("settings", "Settings", "/settings"),
    ("files", "Files", "/files"),
    ("history", "History", "/history"),
)
_TAIL_BYTES: Final = 1 << 16
_TAIL_LINES: Final = 50


@dataclass(frozen=True)
class Head:
    """The upper part of the page, which refreshes itself while the run is at work.

    Attributes:
        job: The job.
        row: As in the list.
        sentence: What it is doing, or how it ended.
        parent: Name of the job that it was cloned from, or None.
        is_active: It is at work, or soon.
        can_clone: It is of a kind that the form of a new run can show.
        subject: The job whose run this one measures or uses; None for none.
        evaluation: Of its run, as it was kept; None if there is none.
    """

    job: JobRecord
    row: Row
    sentence: str
    parent: str | None
    is_active: bool
    can_clone: bool
    subject: str | None
    evaluation: dict[str, Any] | None


@router.get("")
def overview(request: Request, service: AService, actor: Viewer, job_id: str) -> HTMLResponse:
    """Return the page's first tab."""
    folder = service.queue.job(job_id)
    head = head_of(service, folder)
    evaluation = head.evaluation
    matrix: Matrix | None = None
    rates: list[RateChart] = []
    if evaluation is not None:
        matrix, rates = matrix_of(evaluation), rate_charts(evaluation)
    sweep: SweepTable | None = sweep_table(folder) if head.job.kind == "sweep" else None
    failed = head.job.state == "failed"
    return _tab(
        request,
        actor,
        "overview",
        head,
        matrix=matrix,
        rates=rates,
        sweep=sweep,
        printed=printed(folder),
        tail=_tail(folder) if failed or head.job.kind not in ("train", "sweep") else "",
        has_tables=(folder.artifacts / "report.html").is_file(),
        has_report=(folder.run_path / "report.html").is_file(),
    )


@router.get("/head")
def head(request: Request, service: AService, actor: Viewer, job_id: str) -> HTMLResponse:
    """Return the upper part alone, for htmx."""
    part = head_of(service, service.queue.job(job_id))
    return render(request, "run_head.html.j2", actor, head=part, with_title=True)


@router.get("/log")
def log(request: Request, service: AService, actor: Viewer, job_id: str) -> HTMLResponse:
    """Return the end of the log; a script follows it from there."""
    folder = service.queue.job(job_id)
    part = log_part(folder, -_TAIL_BYTES, _TAIL_BYTES)
    return _tab(request, actor, "log", head_of(service, folder), part=part)


@router.get("/settings")
def settings(
    request: Request,
    service: AService,
    actor: Viewer,
    job_id: str,
    against: Annotated[str, Query(max_length=20)] = "",
) -> HTMLResponse:
    """Return the settings, beside those of another run or the defaults."""
    folder = service.queue.job(job_id)
    head = head_of(service, folder)
    parent = head.job.parent or ""
    if parent and not service.queue.has(parent):
        parent = ""  # it is in the trash: the defaults stand beside instead
    other = against or parent
    mine = settings_of(folder.submitted().request.job)
    beside: dict[str, Any] = defaults()
    if other and other != "defaults":
        beside = settings_of(service.queue.job(other).submitted().request.job)
    table = [
        {
            "name": name,
            "value": shown(value),
            "other": shown(beside[name]) if name in beside else words.NONE,
            "differs": name not in beside or beside[name] != value,
        }
        for name, value in mine.items()
    ]
    request_text = folder.submitted().request.job.model_dump(mode="json", exclude={"config"})
    run = folder.run()
    return _tab(
        request,
        actor,
        "settings",
        head,
        table=table,
        other=other if other != "defaults" else "",
        request_text=[(name, shown(value)) for name, value in request_text.items()],
        words=" ".join(("scfae", *folder.submitted().request.job.words(folder.path))),
        environment=[] if run is None else environment_of(run),
    )


@router.get("/files")
def files(request: Request, service: AService, actor: Viewer, job_id: str) -> HTMLResponse:
    """Return the files, each to be downloaded."""
    folder = service.queue.job(job_id)
    found = artifacts(folder)
    total = sum(one.size_bytes for one in found)
    return _tab(request, actor, "files", head_of(service, folder), found=found, total=total)


@router.get("/history")
def history(request: Request, service: AService, actor: Viewer, job_id: str) -> HTMLResponse:
    """Return every change of the job's state, and who made it."""
    folder = service.queue.job(job_id)
    return _tab(
        request, actor, "history", head_of(service, folder), events=list(folder.history())[::-1]
    )


def head_of(service: Service, folder: JobFolder) -> Head:
    """Return the upper part of a job's page."""
    record = folder.record()
    row = row_of(service, record, service.queue.waiting() if record.state == "queued" else [])
    job = folder.submitted().request.job
    parent = None
    evaluation = _evaluation(folder)
    if record.parent:
        known = service.queue.names([record.parent])
        parent = known.get(record.parent, record.parent)
    return Head(
        job=record,
        row=row,
        sentence=sentence(record, row, evaluation),
        parent=parent,
        is_active=record.state not in ENDED,
        can_clone=record.kind in ("train", "sweep"),
        subject=getattr(job, "run", None),
        evaluation=evaluation,
    )


def sentence(record: JobRecord, row: Row, evaluation: dict[str, Any] | None) -> str:
    """Return one sentence on what a job is doing, or how it ended."""
    if record.state == "queued":
        place = f", number {row.place} in the queue" if row.place and row.place > 1 else ""
        again = f" {record.reason[:1].upper()}{record.reason[1:]}." if record.reason else ""
        return f"Waits for a worker{place}.{again}"
    best = row.progress.get("best")
    figure = "" if not best else f"{words.metric(best['metric'])} {words.figure(best['value'])}"
    if record.state in ACTIVE:
        parts = ["Starts" if record.state == "starting" else "At work"]
        if row.progress.get("epochs"):
            parts = [f"Epoch {row.progress['epoch']} of {row.progress['epochs']} done"]
        parts += [f"{figure} on validation at best"] if figure else []
        if row.pace.left_s is not None and row.pace.least_s is not None:
            low, high = words.duration(row.pace.least_s), words.duration(row.pace.most_s)
            between = "" if low == high else f" ({low} to {high})"
            parts.append(f"{words.duration(row.pace.left_s)} left{between}")
        if row.pace.waiting is not None and row.pace.waiting >= 0.02:
            parts.append(f"waiting for data {words.percent(row.pace.waiting)} of the time")
        return ", ".join(parts) + "."
    if record.state == "finished":
        if evaluation is not None and evaluation.get("headline"):
            return str(evaluation["headline"][0])
        return (
            f"Finished. {figure[:1].upper()}{figure[1:]} on validation." if figure else "Finished."
        )
    if record.state == "interrupted":
        return f"Interrupted: {record.reason}."
    word = {"failed": "Failed", "cancelled": "Cancelled"}[record.state]
    who = f": {record.reason}" if record.reason else ""
    reached = f" Reached {figure} on validation." if figure else ""
    return f"{word}{who}".rstrip(".") + "." + reached


def defaults() -> dict[str, Any]:
    """Return the default of every setting of a training that has one."""
    found: dict[str, Any] = {}
    for group in GROUPS.values():
        for name, field in group.model_fields.items():
            if not field.is_required():
                value = field.get_default(call_default_factory=True)
                found[name] = list(value) if isinstance(value, tuple) else value
    return found


def _evaluation(folder: JobFolder) -> dict[str, Any] | None:
    try:
        run = folder.run()
        return None if run is None else run.evaluation()
    except RunError:
        return None  # it is being written, or damaged: the files show it


def _tail(folder: JobFolder) -> str:
    text = log_part(folder, -_TAIL_BYTES, _TAIL_BYTES).text
    return "\n".join(text.splitlines()[-_TAIL_LINES:])


def _tab(request: Request, actor: Actor, tab: str, head: Head, **values: Any) -> HTMLResponse:
    return render(
        request,
        f"run_{tab}.html.j2",
        actor,
        here="runs",
        tab=tab,
        tabs=TABS,
        head=head,
        with_title=False,
        **values,
    )
