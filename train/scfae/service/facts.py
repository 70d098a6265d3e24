"""What jobs can be narrowed by, and where that is looked up.

- a field of the job: `actor`, `name`, `tag`, `kind`, `state`, `parent`, `worker`, and the numbers
  `priority` and `attempt`;
- a figure of its run: `metric` is the best of the figure that selects, which may also be called by
  its own name (`accuracy`); `step` and `epoch` are how far it is;
- a setting, with its group or without (`optim.lr`, `lr`), or an entry of one (`options.hidden`,
  `columns.video`); of a sweep every value of its grid and every seed counts. Paths are known by
  their last part too. `!=` is true of jobs that have the setting.

Settings never change, so they are rows of a table, by name and value, written with the job's row.
Fields and figures are in the job's record.
"""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final, NamedTuple, get_args

from scfae.train.setting_problems import suggest
from scfae.train.settings import GROUP_OF, GROUPS

from .filters import Term
from .jobs import Job, JobRequest, SweepJob, TrainJob

WORDS: Final = ("actor", "name", "kind", "state", "parent", "worker", "tag")
NUMBERS: Final = ("priority", "attempt")
_BEST: Final = "$.summary.best.value"
_BEST_NAME: Final = "$.summary.best.metric"
FIGURES: Final = {"metric": _BEST, "step": "$.summary.step", "epoch": "$.summary.epoch"}
_WHOLE: Final = frozenset({"kind", "config", "grid", "seeds"})
"""Fields of jobs that are no settings, or hold them."""
SETTINGS: Final = frozenset(GROUP_OF) | (
    {name for one in get_args(get_args(Job)[0]) for name in one.model_fields} - _WHOLE
)
"""Of every kind of job."""
_LONGEST: Final = 1000
_GREATEST: Final = 1e300


class Fact(NamedTuple):
    """One value of a setting.

    Attributes:
        name: Of the setting, without its group.
        text: The value.
        number: The same as a number, if it is one.
    """

    name: str
    text: str
    number: float | None = None


class Condition(NamedTuple):
    """A term in SQL.

    Attributes:
        text: With a mark for each value.
        values: What the marks stand for.
    """

    text: str
    values: list[Any]


def facts_of(request: JobRequest) -> set[Fact]:
    """Return the settings of a job, value by value."""
    job = request.job
    given = job.model_dump(mode="json", exclude=set(_WHOLE))
    if isinstance(job, TrainJob | SweepJob):
        for name, group in job.config.items():
            given |= group if name in GROUPS and isinstance(group, dict) else {name: group}
    found = set(_spread(given))
    if isinstance(job, SweepJob):
        varied = {setting_name(name): values for name, values in job.grid.items()}
        varied |= {"seed": job.seeds} if job.seeds else {}
        found = {fact for fact in found if fact.name not in varied}
        found |= set(_spread(varied))
    return found


def setting_name(name: str) -> str:
    """Return the name of a setting without its group."""
    group, dot, rest = name.partition(".")
    is_grouped = dot and group in GROUPS and GROUP_OF.get(rest.partition(".")[0]) == group
    return rest if is_grouped else name


def put(connection: sqlite3.Connection, job_id: str, facts: Iterable[Fact]) -> None:
    """Write the settings of a job, in place of those that are there."""
    leave_out(connection, job_id)
    connection.executemany(
        "INSERT INTO facts (job, name, text, number) VALUES (?, ?, ?, ?)",
        [(job_id, *fact) for fact in facts],
    )


def leave_out(connection: sqlite3.Connection, job_id: str) -> None:
    """Strike the settings of a job."""
    connection.execute("DELETE FROM facts WHERE job = ?", [job_id])


def condition(
    connection: sqlite3.Connection, term: Term, live: Mapping[str, Mapping[str, Any]]
) -> Condition:
    """Return where a term is looked up.

    Args:
        connection: To the index.
        term: Of a filter.
        live: How far the runs are that go on, by job; the index has that of ended ones only.

    Raises:
        FilterError: No job can have what it names.
    """
    name = setting_name(term.name)
    if name in WORDS:
        return _word(term, name)
    if name in NUMBERS:
        return _number(term, f"json_extract(record, '$.{name}')")
    if name in FIGURES:
        return _figure(term, name, live)
    if name.partition(".")[0] in SETTINGS:
        return _setting(term, name)
    is_metric = connection.execute(
        f"SELECT 1 FROM jobs WHERE json_extract(record, '{_BEST_NAME}') = ? LIMIT 1", [name]
    ).fetchone()
    if is_metric or any(_best_name(progress) == name for progress in live.values()):
        return _figure(term, name, live)
    known = [*WORDS, *NUMBERS, *FIGURES, *SETTINGS]
    term.wrong(f"{term.name} is no setting, field or figure of a job.{suggest(name, known)}")


def _spread(value: object, name: str = "") -> Iterator[Fact]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _spread(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _spread(inner, name)
    elif isinstance(value, bool):
        yield Fact(name, "true" if value else "false")
    elif isinstance(value, int | float):
        yield Fact(name, str(value), float(value) if abs(value) < _GREATEST else None)
    else:
        text = "none" if value is None else str(value)[:_LONGEST]
        yield Fact(name, text)
        if "/" in text:
            yield Fact(name, PurePath(text).name)


def _word(term: Term, name: str) -> Condition:
    if term.is_order:
        term.wrong(f"{term.name} is a word: = or != is due.")
    if name == "tag":
        equals = "EXISTS (SELECT 1 FROM json_each(record, '$.tags') WHERE value = ? COLLATE NOCASE)"
    else:
        equals = f"coalesce(json_extract(record, '$.{name}'), '') = ? COLLATE NOCASE"
    return Condition(equals if term.op == "=" else f"NOT ({equals})", [term.value])


def _number(term: Term, place: str) -> Condition:
    if term.number is None:
        term.wrong(f"{term.name} is a number.")
    return Condition(f"{place} {term.op} ?", [term.number])


def _figure(term: Term, name: str, live: Mapping[str, Mapping[str, Any]]) -> Condition:
    text, values = _number(term, f"json_extract(record, '{FIGURES.get(name, _BEST)}')")
    if name not in FIGURES:
        text += f" AND json_extract(record, '{_BEST_NAME}') = ?"
        values.append(name)
    true = [job for job, progress in live.items() if _is_true(term, name, progress)]
    text = f"(id NOT IN ({_marks(live)}) AND {text} OR id IN ({_marks(true)}))"
    return Condition(text, [*live, *values, *true])


def _marks(values: Collection[object]) -> str:
    return ",".join("?" * len(values))


def _is_true(term: Term, name: str, progress: Mapping[str, Any]) -> bool:
    best = progress.get("best") or {}
    if name in ("step", "epoch"):
        found = progress.get(name)
    else:
        found = best.get("value") if name in ("metric", best.get("metric")) else None
    return found is not None and term.holds(float(found))


def _best_name(progress: Mapping[str, Any]) -> str | None:
    name: str | None = (progress.get("best") or {}).get("metric")
    return name


def _setting(term: Term, name: str) -> Condition:
    has = "id IN (SELECT job FROM facts WHERE name = ?"
    if term.is_order:
        return Condition(f"{has} AND number {term.op} ?)", [name, term.number])
    equals = f"{has} AND text = ? COLLATE NOCASE)"
    values: list[Any] = [name, term.value]
    if term.number is not None:
        equals = f"({equals} OR {has} AND number = ?))"
        values += [name, term.number]
    if term.op == "=":
        return Condition(equals, values)
    return Condition(f"({has}) AND NOT {equals})", [name, *values])
