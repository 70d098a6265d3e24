"""By which name trackers know a run, whatever its folder is called: kept in `trackers.json`."""

import uuid
from typing import Any

from ..runs import RunFolder, write_json

FILE = "trackers.json"


def identity(run: RunFolder) -> dict[str, Any]:
    """Return the run's record for trackers: `id`, the same for every attempt of the run."""
    if (run.path / FILE).is_file():
        return run.read(FILE)
    record = {"id": uuid.uuid4().hex}
    write_json(run.path / FILE, record)
    return record


def note(run: RunFolder, **details: Any) -> None:
    """Keep something beside the run's id."""
    write_json(run.path / FILE, identity(run) | details)
