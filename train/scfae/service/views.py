"""What the routes give back."""

from typing import Any

from pydantic import Field, JsonValue

from scfae.store.config import Frozen

from .estimate import Estimate
from .folder import JobFolder
from .jobs import JobRequest
from .record import HistoryEvent, JobRecord, Wish
from .states import State


class JobView(Frozen):
    """A job in a list.

    Attributes:
        id: 12 hexadecimal digits.
        kind: train, sweep, …
        name: What people call it.
        tags: Words to find it by.
        notes: Free text.
        parent: The job it was cloned from.
        actor: Who asked for it.
        state: Of the job.
        reason: Why it is in this state.
        wish: That someone wants it to end.
        priority: Higher ones start first.
        attempt: Times it was started.
        max_attempts: So many unplanned interruptions, and it has failed.
        submitted_s: Seconds since 1970; likewise the others.
        changed_s: When its state last changed.
        started_s: When its first process began.
        ended_s: When it ended.
        worker: Who has it.
        progress: step, total_steps, epoch, epochs, best; empty if unknown.
        about: Words of its settings.
    """

    id: str
    kind: str
    name: str
    tags: tuple[str, ...]
    notes: str
    parent: str | None
    actor: str
    state: State
    reason: str
    wish: Wish | None
    priority: int
    attempt: int
    max_attempts: int
    submitted_s: float
    changed_s: float
    started_s: float | None
    ended_s: float | None
    worker: str | None
    progress: dict[str, Any]
    about: str

    @classmethod
    def of(cls, record: JobRecord, folder: JobFolder) -> "JobView":
        """Return the view of a job; one that has ended needs no look at its run."""
        now = {} if record.ended_s is not None else folder.progress()
        return cls(progress=now or progress_of(record), **_shared(record))


class JobDetail(JobView):
    """A job by itself.

    Attributes:
        request: What was asked, every default filled in.
        history: Every change since.
        words: The command that does it.
    """

    request: JobRequest
    history: tuple[HistoryEvent, ...]
    words: tuple[str, ...]

    @classmethod
    def whole(cls, folder: JobFolder) -> "JobDetail":
        """Return all that is known of a job."""
        record, request = folder.record(), folder.submitted().request
        return cls(
            progress=folder.progress() or progress_of(record),
            request=request,
            history=tuple(folder.history()),
            words=("scfae", *request.job.words(folder.path)),
            **_shared(record),
        )


class JobList(Frozen):
    """A page of jobs.

    Attributes:
        jobs: The newest first.
        cursor: Where the next page begins; null after the last.
        counts: Jobs in each state, of all.
    """

    jobs: tuple[JobView, ...]
    cursor: str | None
    counts: dict[str, int]


class Edit(Frozen):
    """What may be changed of a job; what is not given stays."""

    name: str | None = Field(default=None, max_length=200)
    tags: tuple[str, ...] | None = Field(default=None, max_length=20)
    notes: str | None = Field(default=None, max_length=20_000)
    priority: int | None = Field(default=None, ge=-100, le=100)


class Ask(Frozen):
    """Why something is asked for.

    Attributes:
        reason: In words; kept in the history.
        now: cancel: stop at once, without a checkpoint.
    """

    reason: str = Field(default="", max_length=1000)
    now: bool = False


class CloneAsk(Frozen):
    """A job like another.

    Attributes:
        name: The new one's; the other's if not given.
        config: Settings that differ, flat, e.g. `{"lr": 0.001}`; for trainings and sweeps.
    """

    name: str | None = Field(default=None, max_length=200)
    config: dict[str, JsonValue] = Field(default_factory=dict)


class Checked(Frozen):
    """A request looked at, but not submitted.

    Attributes:
        problems: What is wrong with it, a sentence each; with none it can be submitted.
        notes: What a person should know of the data.
        facts: Sizes: samples of each split, parameters, bytes of features.
        estimate: What it will take, where it is a training or a sweep that can be submitted.
        settings: What differs from the defaults, flat.
        yaml: The same as a file for `scfae train`.
        command: The same as a command.
        curl: The same as a request.
    """

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    facts: dict[str, int] = Field(default_factory=dict)
    estimate: Estimate | None = None
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    yaml: str = ""
    command: str = ""
    curl: str = ""


class LogPart(Frozen):
    """A part of a log.

    Attributes:
        text: Whole lines, or what there is at the end.
        offset: Where it begins, in bytes.
        next_offset: Where the next part begins.
        size_bytes: Of the whole log.
    """

    text: str
    offset: int
    next_offset: int
    size_bytes: int


def log_part(folder: JobFolder, offset: int, limit: int) -> LogPart:
    """Return a part of a job's log.

    Args:
        folder: The job's.
        offset: Where to begin; from the end if negative.
        limit: Most bytes.
    """
    with open(folder.log_path, "rb") as file:
        size = file.seek(0, 2)
        begin = max(0, size + offset) if offset < 0 else min(offset, size)
        file.seek(begin)
        data = file.read(limit)
    if begin + len(data) < size:  # more follows: end with a line, if there is one
        data = data[: data.rfind(b"\n") + 1] or data
    text = data.decode("utf-8", "replace")
    return LogPart(text=text, offset=begin, next_offset=begin + len(data), size_bytes=size)


def progress_of(record: JobRecord) -> dict[str, Any]:
    """Return how far a job was when it last ended; its line is for the page of jobs alone."""
    return {name: value for name, value in record.summary.items() if name != "spark"}


def _shared(record: JobRecord) -> dict[str, Any]:
    names = JobView.model_fields.keys() - {"progress"}
    return {name: getattr(record, name) for name in names}
