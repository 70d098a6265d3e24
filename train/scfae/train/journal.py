"""What a run tells of itself while it is trained, told by one of the processes that train it."""

from collections.abc import Sequence
from typing import Any

from .board import Board
from .runs import EventLog, RunFolder
from .trackers import begin_trackers


class Journal:
    """Writes events.jsonl, state.json and TensorBoard's files, and feeds other trackers.

    Args:
        run: The folder.
        is_silent: Write nothing: another process does.
        purge_step: TensorBoard hides what an earlier attempt wrote from this step on.
        trackers: Where the figures go beside events.jsonl.
    """

    def __init__(
        self, run: RunFolder, *, is_silent: bool, purge_step: int, trackers: Sequence[str]
    ) -> None:
        self._run = run
        self._log = None if is_silent else EventLog(run.path / "events.jsonl")
        self._board = None
        if not is_silent and "tensorboard" in trackers:
            self._board = Board(run.path / "tensorboard", purge_step=purge_step)
        self._trackers = [] if is_silent else begin_trackers(tuple(trackers), run)
        self._state = "running"

    def event(self, kind: str, *, step: int, epoch: int, **details: Any) -> None:
        """Append an event."""
        if self._log is not None:
            self._log.append(kind, step=step, epoch=epoch, **details)

    def figures(self, step: int, figures: dict[str, Any]) -> None:
        """Draw the figures of an epoch."""
        if self._board is not None:
            self._board.write(step, figures)
        for tracker in self._trackers:
            tracker.figures(step, figures)

    def state(self, state: str, **details: Any) -> None:
        """Write down whether the run goes on, and how far it is."""
        self._state = state
        if self._log is not None:
            self._run.write_state(state, **details)

    def close(self) -> None:
        """Write what is left."""
        if self._board is not None:
            self._board.close()
        for tracker in self._trackers:
            tracker.close(self._state)
