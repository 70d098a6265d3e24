"""`scfae runs`, `logs`, `cancel` and `resume`: the jobs of a training service."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from .arguments import parse, print_json, say

if TYPE_CHECKING:
    from scfae.service.views import JobView

POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class ServiceFlags:
    """Which service."""

    url: str | None = None
    """Where it is; $SCFAE_SERVICE, or this machine, if not given. A token: $SCFAE_TOKEN."""
    json: bool = False
    """As one JSON document on stdout."""


@dataclass(frozen=True, kw_only=True)
class RunsArguments(ServiceFlags):
    """List the jobs of a service, the newest first, or one of them with its history."""

    job: Annotated[str | None, tyro.conf.Positional] = None
    """One job's id; all if not given."""
    state: str | None = None
    """Only jobs in this state."""
    q: str = ""
    """Only jobs in which all of these words are found."""
    filter: str = ""
    """Only jobs of which all of these comparisons are true."""
    limit: int = 50
    """At most so many."""


@dataclass(frozen=True, kw_only=True)
class LogsArguments(ServiceFlags):
    """Print what a job's processes have printed."""

    job: Annotated[str, tyro.conf.Positional]
    """The job's id."""
    follow: bool = False
    """Go on until the job has ended."""


@dataclass(frozen=True, kw_only=True)
class CancelArguments(ServiceFlags):
    """Have a job save and stop."""

    job: Annotated[str, tyro.conf.Positional]
    """The job's id."""
    now: bool = False
    """Stop it at once, without a checkpoint."""
    reason: str = ""
    """Why; kept in its history."""


@dataclass(frozen=True, kw_only=True)
class ResumeArguments(ServiceFlags):
    """Queue a failed or cancelled job again; it goes on from its last checkpoint."""

    job: Annotated[str, tyro.conf.Positional]
    """The job's id."""
    reason: str = ""
    """Why; kept in its history."""


def run(argv: Sequence[str]) -> int:
    """Run `scfae runs`; return its exit status."""
    example = (
        "  scfae runs --state running\n"
        "  scfae runs --filter 'lr<1e-3 seed=3 metric>0.8'\n"
        "  scfae runs 3f2a9c01b7de"
    )
    flags = parse(RunsArguments, "scfae runs", argv, example)

    from scfae.service.client import Client

    with Client(flags.url) as client:
        if flags.job is None:
            page = client.page(state=flags.state, q=flags.q, where=flags.filter, limit=flags.limit)
            if flags.json:
                print_json(page.model_dump(mode="json"))
            for job in () if flags.json else page.jobs:
                print(line_of(job))
            return 0
        detail = client.get(flags.job)
    if flags.json:
        print_json(detail.model_dump(mode="json"))
        return 0
    print(line_of(detail))
    print("  " + " ".join(detail.words))
    for event in detail.history:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time_s))
        what = event.details.get("state", event.type)
        print(f"  {when}  {what}, by {event.actor}" + (f": {event.reason}" if event.reason else ""))
    return 0


def run_logs(argv: Sequence[str]) -> int:
    """Run `scfae logs`; return its exit status."""
    flags = parse(LogsArguments, "scfae logs", argv, "  scfae logs 3f2a9c01b7de --follow")

    from scfae.service.client import Client
    from scfae.service.states import ENDED

    offset = 0
    with Client(flags.url) as client:
        while True:
            has_ended = not flags.follow or client.get(flags.job).state in ENDED
            part = client.log(flags.job, offset=offset)
            if flags.json:
                print_json(part.model_dump(mode="json"))
                return 0
            sys.stdout.write(part.text)
            sys.stdout.flush()
            offset = part.next_offset
            if has_ended and offset >= part.size_bytes:
                return 0
            if not part.text:
                time.sleep(POLL_S)


def run_cancel(argv: Sequence[str]) -> int:
    """Run `scfae cancel`; return its exit status."""
    flags = parse(CancelArguments, "scfae cancel", argv, "  scfae cancel 3f2a9c01b7de")

    from scfae.service.client import Client

    with Client(flags.url) as client:
        return _told(client.cancel(flags.job, reason=flags.reason, now=flags.now), flags.json)


def run_resume(argv: Sequence[str]) -> int:
    """Run `scfae resume`; return its exit status."""
    flags = parse(ResumeArguments, "scfae resume", argv, "  scfae resume 3f2a9c01b7de")

    from scfae.service.client import Client

    with Client(flags.url) as client:
        return _told(client.resume(flags.job, reason=flags.reason), flags.json)


def line_of(job: "JobView") -> str:
    """Return a job in one line."""
    step, total = job.progress.get("step"), job.progress.get("total_steps")
    parts = [job.id, f"{job.state:<11}", f"{job.kind:<13}", job.name or "-"]
    if step is not None and total is not None:
        parts.append(f"step {step} of {total}")
    best = job.progress.get("best")
    if best:
        parts.append(f"{best['metric']} {best['value']:.4f}")
    if job.wish and job.state not in ("finished", "failed", "cancelled"):
        parts.append(f"({job.wish} asked for)")
    return "  ".join(parts + ([f"({job.reason})"] if job.reason else []))


def _told(job: "JobView", wants_json: bool) -> int:
    if wants_json:
        print_json(job.model_dump(mode="json"))
    else:
        say(line_of(job))
    return 0
