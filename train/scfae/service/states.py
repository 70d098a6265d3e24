"""The states of a job, which may follow which, and how long those that pass may last.

```
queued -> starting -> running -> finished
   ^         |           |----> failed
   |         |           |----> cancelled
   |         v           v
   +----- interrupted <--+        the process went without an end of its own
```
"""

from typing import Final, Literal, get_args

from scfae.store.errors import JobStateError

State = Literal["queued", "starting", "running", "finished", "failed", "cancelled", "interrupted"]
STATES: Final = get_args(State)

ENDED: Final[frozenset[State]] = frozenset({"finished", "failed", "cancelled"})
"""Nothing more happens by itself."""
ACTIVE: Final[frozenset[State]] = frozenset({"starting", "running"})
"""A worker has it."""

_NEXT: Final[dict[State, frozenset[State]]] = {
    "queued": frozenset({"starting", "cancelled", "failed"}),
    "starting": frozenset({"running", "interrupted", "failed", "cancelled"}),
    "running": frozenset({"finished", "failed", "cancelled", "interrupted"}),
    "interrupted": frozenset({"queued", "failed", "cancelled"}),
    "failed": frozenset({"queued"}),
    "cancelled": frozenset({"queued"}),
    "finished": frozenset(),
}

DEADLINE_S: Final[dict[State, float]] = {"starting": 30.0, "interrupted": 60.0}
"""How long a state that passes by itself may last before a worker ends it."""

STARTED_S: Final = 10.0
"""So long a process may take to say that it is there, when the worker that began it has gone."""


def check_move(job: str, before: State, after: State) -> None:
    """Check that a state may follow another.

    Raises:
        JobStateError: It may not; names both.
    """
    if after not in _NEXT[before]:
        raise JobStateError(f"job {job} is {before}; it cannot become {after}.")
