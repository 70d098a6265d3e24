"""Events of runs that go on: each file is read on from where it was, and not anew for each look."""

import json
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .stream import lines_from

MOST_EVENTS: Final = 50_000
_KEPT: Final = ("type", "step", "epoch", "time", "val", "speed")


@dataclass
class _Read:
    inode: int
    offset: int = 0
    events: list[Mapping[str, Any]] = field(default_factory=list)


class Events:
    """What lists show of events, of many runs.

    Args:
        most: So many events are kept, those of the runs looked at last.
    """

    def __init__(self, most: int = MOST_EVENTS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._files: dict[Path, _Read] = {}

    def of(self, path: Path) -> list[Mapping[str, Any]]:
        """Return the events of a run, without superseded ones and without what no list shows.

        Args:
            path: events.jsonl; it need not be there yet.
        """
        with self._lock:
            known = self._files.pop(path, None)
            try:
                status = path.stat()
            except FileNotFoundError:
                return []
            if known is None or known.inode != status.st_ino or known.offset > status.st_size:
                known = _Read(status.st_ino)
            while lines := list(lines_from(path, known.offset)):
                for line, after in lines:
                    known.offset = after
                    _add(known, json.loads(line, object_pairs_hook=_with_shared_names))
            self._files[path] = known
            while len(self._files) > 1 and self._count() > self._most:
                del self._files[next(iter(self._files))]
            return list(known.events)

    def _count(self) -> int:
        return sum(len(one.events) for one in self._files.values())


def _with_shared_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Names of figures are half of what an event takes in memory, and the same in each.
    return {sys.intern(name): value for name, value in pairs}


def _add(known: _Read, event: Mapping[str, Any]) -> None:
    if event["type"] == "resumed":
        # What was logged beyond its step is lived through again; see `read_events`.
        known.events = [one for one in known.events if one["step"] <= event["step"]]
    known.events.append({name: event[name] for name in _KEPT if name in event})
