"""What a run tells of itself while it is trained, told by one of the processes that train it."""

from typing import Any

from .board import Board
from .runs import EventLog, RunFolder


class Journal:
    """Writes events.jsonl, state.json and TensorBoard's files.

    Args:
        run: The folder.
        is_silent: Write nothing: another process does.
        purge_step: TensorBoard hides what an earlier attempt wrote from this step on.
    """

    def __init__(self, run: RunFolder, *, is_silent: bool, purge_step: int) -> None:
        self._run = run
        self._log = None if is_silent else EventLog(run.path / "events.jsonl")
        self._board = None if is_silent else Board(run.path / "tensorboard", purge_step=purge_step)

    def event(self, kind: str, *, step: int, epoch: int, **details: Any) -> None:
        """Append an event."""
        if self._log is not None:
            self._log.append(kind, step=step, epoch=epoch, **details)

    def figures(self, step: int, figures: dict[str, Any]) -> None:
        """Draw the figures of an epoch."""
        if self._board is not None:
            self._board.write(step, figures)

    def state(self, state: str, **details: Any) -> None:
        """Write down whether the run goes on, and how far it is."""
        if self._log is not None:
            self._run.write_state(state, **details)

    def close(self) -> None:
        """Write what is left."""
        if self._board is not None:
            self._board.close()
