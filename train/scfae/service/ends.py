"""How a job ended, told from what its process left."""

from dataclasses import dataclass

from .folder import JobFolder
from .record import JobRecord
from .states import ENDED, State

_SIGNALLED = (130, 143)


@dataclass(frozen=True)
class End:
    """The end of an attempt.

    Attributes:
        state: finished, failed, cancelled or interrupted.
        reason: In words.
        is_planned: An interruption that someone asked for, which does not count as a loss.
    """

    state: State
    reason: str = ""
    is_planned: bool = False


class Ending:
    """Tells whether a job has ended; reads its history again only when that has grown.

    Args:
        folder: Of the job.
    """

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder
        self._size, self._state = -1, ""

    def __call__(self) -> str | None:
        """Return the state of a job that has ended, else None."""
        try:
            size = (self._folder.path / "history.jsonl").stat().st_size
        except FileNotFoundError:
            size = 0
        if size != self._size:
            self._size, self._state = size, self._folder.record().state
        return self._state if self._state in ENDED else None


def end_of(record: JobRecord, folder: JobFolder) -> End:
    """Return how an attempt ended whose process has gone."""
    status = folder.exit_status(record.attempt)
    if status == 0 or (status is None and record.kind == "train" and folder.is_run_finished()):
        return End("finished")
    if record.wish is not None:
        how = "with a checkpoint" if status in _SIGNALLED else "at once"
        return End("cancelled", f"stopped {how}, as asked")
    if status is None:
        return End("interrupted", "its process went without a word: killed, or out of memory")
    if status in _SIGNALLED:
        return End("interrupted", "its process was asked to stop", is_planned=True)
    said = folder.last_line().removeprefix("scfae: ")
    return End("failed", said or f"exit status {status}")


def after_interruption(record: JobRecord) -> End:
    """Return what becomes of an interrupted job: queued again, or failed after too many losses."""
    if record.wish is not None:
        return End("cancelled", "stopped, as asked")
    if record.losses >= record.max_attempts:
        return End("failed", f"{record.losses} interruptions; the last: {record.reason}")
    return End("queued", "goes on from its last checkpoint")
