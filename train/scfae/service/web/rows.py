"""Lines of the list of runs, and what was typed to find them."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

from scfae.store.errors import FilterError

from ..context import Service
from ..filters import Term, read_filter, split_filter
from ..folder import JobFolder
from ..jobs import SweepJob, TrainJob
from ..pace import Pace
from ..record import JobRecord
from ..states import ACTIVE, STATES, State

KINDS: Final = ("train", "sweep", "evaluate", "extract", "derive", "predict-batch", "reproduce")
_WIDTH, _HEIGHT, _MARGIN = 84, 22, 2


@dataclass(frozen=True)
class Search:
    """What was typed: `state:running kind:train mosei lr<1e-3`.

    Attributes:
        states: After `state:`.
        kinds: After `kind:`.
        terms: Comparisons.
        words: The others, which all must be found.
        complaints: What of it cannot be used, a sentence each.
    """

    states: tuple[State, ...] = ()
    kinds: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()
    words: str = ""
    complaints: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> "Search":
        """Return what a text asks for."""
        states: list[Any] = []
        kinds, words, complaints = [], [], []
        typed, comparisons = split_filter(text)
        for word in typed:
            field, colon, value = word.partition(":")
            if not colon or field not in ("state", "kind"):
                words.append(word)
            elif field == "state" and value in STATES:
                states.append(value)
            elif field == "kind" and value in KINDS:
                kinds.append(value)
            elif value:
                complaints.append(f"{word}: there is no such state or kind.")
        terms: tuple[Term, ...] = ()
        try:
            terms = read_filter(comparisons)
        except FilterError as error:
            complaints.append(f"{error}")
        return cls(tuple(states), tuple(kinds), terms, " ".join(words), tuple(complaints))


@dataclass(frozen=True)
class Row:
    """A line of the list.

    Attributes:
        job: As the index has it.
        title: Its name, or what it does.
        about: Its settings in few words.
        progress: step, total_steps, best …; empty if unknown.
        done: Share of the steps that are done; None if unknown.
        pace: How fast it goes.
        spark: Points of its line, for an SVG polyline.
        place: Its place in the queue, from 1; None if it does not wait.
    """

    job: JobRecord
    title: str
    about: str
    progress: dict[str, Any]
    done: float | None
    pace: Pace
    spark: str
    place: int | None


def row_of(service: Service, record: JobRecord, waiting: list[str]) -> Row:
    """Return the line of a job; one that has ended needs no look at its folder.

    Args:
        service: That has it.
        record: Of the job.
        waiting: Ids of the jobs that wait, in order.
    """
    folder = JobFolder(service.queue.runs / record.id)  # it may be deleted meanwhile
    is_active = record.state in ACTIVE
    progress = folder.progress() if is_active else record.summary
    pace = folder.pace() if is_active else Pace(spark=tuple(record.summary.get("spark", ())))
    total = progress.get("total_steps")
    return Row(
        job=record,
        title=record.name or f"{record.kind} {record.id}",
        about=short(record),
        progress=progress,
        done=progress.get("step", 0) / total if total else None,
        pace=pace,
        spark=polyline(pace.spark),
        place=waiting.index(record.id) + 1 if record.id in waiting else None,
    )


def short(record: JobRecord) -> str:
    """Return the settings of a job in few words: paths by their last part."""
    return " · ".join(PurePath(word).name or word for word in record.about.split())


def settings_of(job: object) -> dict[str, Any]:
    """Return the settings of a training or sweep by their own names; of others, none."""
    flat: dict[str, Any] = {}
    if isinstance(job, TrainJob | SweepJob):
        for group in job.config.values():
            flat |= group if isinstance(group, dict) else {}
    return flat


def polyline(values: tuple[float | None, ...]) -> str:
    """Return a line's points, scaled to a small box; empty for less than two."""
    told = [(i, value) for i, value in enumerate(values) if value is not None]
    if len(told) < 2:
        return ""
    low, high = min(value for _, value in told), max(value for _, value in told)
    across = (_WIDTH - 2 * _MARGIN) / (len(values) - 1)
    span = (high - low) or 1.0
    return " ".join(
        f"{_MARGIN + i * across:.1f},{_HEIGHT - _MARGIN - (v - low) / span * (_HEIGHT - 4):.1f}"
        for i, v in told
    )
