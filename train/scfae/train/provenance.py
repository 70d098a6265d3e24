"""Where a run's input came from and how it was set, as facts for a page."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from .runs import RunFolder

_KEYS: Final = (
    "encoder",
    "weights",
    "weights_sha256",
    "licence",
    "dim",
    "dtype",
    "rows_per_second",
    "recipe",
    "versions",
    "compute",
    "fingerprint",
)


def columns_of(run: RunFolder) -> list[dict[str, Any]]:
    """Return each modality's column with all that is known of it."""
    return [
        {
            "modality": modality,
            "name": info.name,
            "is_random": info.is_random,
            "facts": _column_facts(info.model_dump(mode="json")),
            "fingerprint": info.fingerprint,
        }
        for modality, info in run.columns.items()
    ]


def columns_of_all(names: Sequence[str], runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    """Return the columns of several runs, each once, with the runs that read it.

    Args:
        names: What the page calls the runs.
        runs: The runs.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    readers: dict[tuple[str, str], list[str]] = {}
    for name, run in zip(names, runs, strict=True):
        for column in columns_of(run):
            key = (column["modality"], column["fingerprint"])
            found.setdefault(key, column)
            readers.setdefault(key, []).append(name)
    return [
        {**column, "facts": [("read by", ", ".join(readers[key])), *column["facts"]]}
        for key, column in found.items()
    ]


def settings_of(run: RunFolder, without: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return a run's settings by group.

    Args:
        run: The run.
        without: Settings to leave out.
    """
    groups = [
        {
            "name": name,
            "rows": [(key, shown(value)) for key, value in group.items() if key not in without],
        }
        for name, group in run.config.model_dump(mode="json").items()
    ]
    return [group for group in groups if group["rows"]]


def environment_of(run: RunFolder) -> list[tuple[str, str]]:
    """Return versions, machine and threads."""
    record = run.read("environment.json")
    return [(name, shown(value)) for name, value in record.items() if value not in (None, {}, [])]


def shown(value: Any) -> str:
    """Return a plain JSON value as text."""
    if isinstance(value, dict):
        return ", ".join(f"{key} = {shown(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, list):
        return " ".join(shown(inner) for inner in value) or "none"
    return "none" if value is None else str(value)


def _column_facts(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key, shown(info[key])) for key in _KEYS if info[key] not in (None, {}, [])]
