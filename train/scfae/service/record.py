"""What is known of a job: its request, and every change since, folded into one record."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from scfae.store.config import Frozen

from .jobs import JobRequest
from .states import DEADLINE_S, State

Wish = Literal["cancel", "kill"]
"""cancel: save and stop; kill: stop at once."""


class Process(Frozen):
    """A process, told from any other that gets its number later.

    Attributes:
        pid: Its number, which is its group's too.
        start: When it began, in clock ticks since the machine's start.
        machine: Host, boot and space of process numbers.
    """

    pid: int
    start: int
    machine: str


class HistoryEvent(Frozen):
    """One line of history.jsonl.

    Attributes:
        seq: Counts the job's events from 1.
        time_s: Seconds since 1970.
        actor: Who did it: a person, a token's name or `worker:ID`.
        type: state: it moved; edit: name, tags, notes or priority; wish: someone wants it to end;
            adopt: another worker looks after its process.
        reason: Why, in words.
        details: What belongs to the type.
    """

    seq: int
    time_s: float
    actor: str
    type: Literal["state", "edit", "wish", "adopt"]
    reason: str = ""
    details: dict[str, Any] = Field(default_factory=dict)


class Submitted(Frozen):
    """What job.json holds.

    Attributes:
        id: Of the job.
        actor: Who asked.
        time_s: When.
        key: The request's Idempotency-Key.
        request: What was asked, checked, with every default filled in.
        asked: Digest of the request as it came, to tell the same from another under one key.
    """

    id: str
    actor: str
    time_s: float
    key: str | None = None
    request: JobRequest
    asked: str


class JobRecord(Frozen):
    """A job as it is now.

    Attributes:
        id: 12 hexadecimal digits.
        kind: train, sweep, …
        name: What people call it.
        tags: Words to find it by.
        notes: Free text.
        parent: The job it was cloned from.
        actor: Who asked for it.
        state: See `states`.
        reason: Why it is in this state.
        priority: Higher ones start first.
        attempt: Times it was started.
        losses: Unplanned interruptions since a person last queued it.
        max_attempts: So many losses, and it has failed.
        submitted_s: Seconds since 1970; likewise the others.
        changed_s: When its state last changed.
        queued_s: Its place among jobs of the same priority.
        started_s: When its first process began.
        ended_s: When it ended; None if it has not.
        deadline_s: When its state must have passed; None for states that may last.
        wish: That someone wants it to end.
        wished_s: Since when.
        worker: Who has it.
        slot: Which of the worker's slots.
        process: Its process, or its last.
        summary: How far it was when it last ended: step, total_steps, best.
        seq: Of its last event.
        about: Words of its settings, to find it by.
        key: The request's Idempotency-Key.
    """

    id: str
    kind: str
    name: str
    tags: tuple[str, ...]
    notes: str = ""
    parent: str | None = None
    actor: str
    state: State = "queued"
    reason: str = ""
    priority: int
    attempt: int = 0
    losses: int = 0
    max_attempts: int
    submitted_s: float
    changed_s: float
    queued_s: float
    started_s: float | None = None
    ended_s: float | None = None
    deadline_s: float | None = None
    wish: Wish | None = None
    wished_s: float | None = None
    worker: str | None = None
    slot: int | None = None
    process: Process | None = None
    summary: dict[str, Any] = Field(default_factory=dict)
    seq: int = 0
    about: str = ""
    key: str | None = None


def fold(submitted: Submitted, events: Iterable[HistoryEvent]) -> JobRecord:
    """Return the record of a job from its request and its history."""
    request = submitted.request
    record = JobRecord(
        id=submitted.id,
        kind=request.job.kind,
        name=request.name,
        tags=request.tags,
        parent=request.parent,
        actor=submitted.actor,
        priority=request.priority,
        max_attempts=request.max_attempts,
        submitted_s=submitted.time_s,
        changed_s=submitted.time_s,
        queued_s=submitted.time_s,
        about=request.job.about,
        key=submitted.key,
    )
    for event in events:
        record = apply(record, event)
    return record


def apply(record: JobRecord, event: HistoryEvent) -> JobRecord:
    """Return a record after one more event."""
    details = event.details
    update: dict[str, Any] = {"seq": event.seq}
    if event.type == "edit":
        update |= {k: tuple(v) if k == "tags" else v for k, v in details.items()}
    elif event.type == "wish":
        update |= {"wish": details["wish"], "wished_s": event.time_s}
    elif event.type == "adopt":
        update |= {"worker": details["worker"], "slot": details["slot"]}
    else:
        update |= _moved(record, event)
    return JobRecord.model_validate(record.model_dump() | update)


def _moved(record: JobRecord, event: HistoryEvent) -> dict[str, Any]:
    details, state = event.details, event.details["state"]
    passing_s = DEADLINE_S.get(state)
    update: dict[str, Any] = {
        "state": state,
        "reason": event.reason,
        "changed_s": event.time_s,
        "deadline_s": None if passing_s is None else event.time_s + passing_s,
        "ended_s": None,
    }
    if state == "starting":
        update |= {"attempt": record.attempt + 1}
        update |= {"worker": details["worker"], "slot": details["slot"], "process": None}
    elif state == "running":
        update |= {"process": details["process"]}
        update |= {"started_s": record.started_s or event.time_s}
    elif state == "queued":
        update |= {"worker": None, "slot": None, "wish": None, "wished_s": None}
        if details.get("is_renewed"):  # by a person: it goes to the end, with no losses
            update |= {"losses": 0, "queued_s": event.time_s}
    else:
        update |= {"summary": details.get("summary", record.summary)}
        if state == "interrupted":
            update |= {"losses": record.losses + (not details.get("is_planned", False))}
        else:
            update |= {"ended_s": event.time_s, "wish": None, "wished_s": None}
    return update
