"""One process that predicts, kept from one question to the next; never the server's own.

Loading encoders takes seconds and their memory is large, so a model stays loaded until another one
is asked for, or nobody asks for a while. A question that crashes the process, hangs it, or makes it
grow beyond its bound costs that question alone.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from scfae.store.errors import PredictionFailed, ServiceBusy, named_error
from scfae.train.processors import sharing_environment

_POLL_S = 0.2
_AT_ONCE_S = 0.5
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class PredictLimits:
    """What predicting may take.

    Attributes:
        start_s: Seconds to load a model, without its encoders.
        answer_s: Seconds of one question; the first about media loads the encoders too.
        idle_s: Seconds without a question until the process ends.
        memory_bytes: Of the process; by default half of the machine's.
        waiting: Questions that may wait for their turn.
    """

    start_s: float = 120.0
    answer_s: float = 300.0
    idle_s: float = 300.0
    memory_bytes: int = field(
        default_factory=lambda: os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES // 2
    )
    waiting: int = 4


class Predictors:
    """Asks the process that predicts, and begins and ends it.

    Args:
        log: File for what it prints.
        limits: Its bounds.
        is_stopping: Whether the server is about to end; nobody is waited for then.
    """

    def __init__(
        self,
        log: Path,
        limits: PredictLimits | None = None,
        *,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._log, self._is_stopping = log, is_stopping
        self._limits = limits or PredictLimits()
        self._turn = threading.Lock()
        self._count = threading.Lock()
        self._asking = 0
        self._child: _Child | None = None
        self._timer: threading.Timer | None = None

    def ask(self, run: Path, sha256: str, question: dict[str, Any]) -> dict[str, Any]:
        """Return the answer of a run's model; one question at a time.

        Args:
            run: The run folder.
            sha256: Of its checkpoint, as it was promoted.
            question: See `predictor_child.answered`.

        Raises:
            ServiceBusy: Too many wait.
            PredictionFailed: The process died, hung or grew too large.
            ScfaeError: What the process says is wrong with run or question.
        """
        with self._count:
            if self._asking > self._limits.waiting:
                raise ServiceBusy(
                    f"{self._asking} predictions are asked for already: try again in a while."
                )
            self._asking += 1
        try:
            with self._turn:
                return self._ask((str(run), sha256), question)
        finally:
            with self._count:
                self._asking -= 1

    def close(self) -> None:
        """End the process; a question that it is at fails."""
        child = self._child
        if child is not None:
            child.kill()
        with self._turn:
            self._end()

    def _ask(self, model: tuple[str, str], question: dict[str, Any]) -> dict[str, Any]:
        if self._timer is not None:
            self._timer.cancel()
        try:
            answer = self._answer_of(model, question)
        except BaseException:
            self._end()
            raise
        if answer.get("is_last"):
            self._end()
            return _raise_failure(answer)
        self._timer = threading.Timer(self._limits.idle_s, self._end_if_idle)
        self._timer.daemon = True
        self._timer.start()
        return _raise_failure(answer)

    def _answer_of(self, model: tuple[str, str], question: dict[str, Any]) -> dict[str, Any]:
        child, asked_s = self._child, time.monotonic()
        if child is not None and child.model == model and child.is_alive():
            try:
                child.send(question)
                return child.answer(self._limits.answer_s, self._bounds)
            except PredictionFailed:
                # It may have died before it was asked, and nobody could see it yet.
                if child.is_alive() or time.monotonic() - asked_s > _AT_ONCE_S:
                    raise
        self._end()
        self._child = child = _Child(model, self._log)
        _raise_failure(child.answer(self._limits.start_s, self._bounds))
        child.send(question)
        return child.answer(self._limits.answer_s, self._bounds)

    def _bounds(self, child: "_Child") -> str | None:
        """Return why a process cannot go on, or None."""
        if self._is_stopping():
            return "the server is about to end"
        if child.memory_bytes() > self._limits.memory_bytes:
            return f"the process took more than {self._limits.memory_bytes >> 20} MB of memory"
        return None

    def _end_if_idle(self) -> None:
        if self._turn.acquire(blocking=False):
            try:
                self._end()
            finally:
                self._turn.release()

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.close()


class _Child:
    """The process.

    Args:
        model: Run folder and digest of its checkpoint.
        log: File for what it prints; begun anew.
    """

    def __init__(self, model: tuple[str, str], log: Path) -> None:
        self.model = model
        self._ours, theirs = Pipe(duplex=True)
        with open(log, "wb") as file:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "scfae.service.predictor_child",
                    str(theirs.fileno()),
                    str(os.getpid()),
                    *model,
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=sharing_environment(),
                start_new_session=True,
            )
        theirs.close()

    def is_alive(self) -> bool:
        """Return whether it runs."""
        return self._process.poll() is None

    def send(self, question: dict[str, Any]) -> None:
        """Ask it.

        Raises:
            PredictionFailed: It has died.
        """
        try:
            self._ours.send_bytes(json.dumps(question).encode())
        except OSError:
            raise self._died() from None

    def answer(
        self, within_s: float, is_beyond: Callable[["_Child"], str | None]
    ) -> dict[str, Any]:
        """Wait for its answer.

        Args:
            within_s: For how long.
            is_beyond: Why not to wait any longer, or None.

        Raises:
            PredictionFailed: None came.
        """
        until = time.monotonic() + within_s
        try:
            while not self._ours.poll(_POLL_S):
                if (why := is_beyond(self)) is not None:
                    raise PredictionFailed(f"no prediction: {why}.")
                if time.monotonic() > until:
                    raise PredictionFailed(f"no prediction within {within_s:g} s.")
            document: dict[str, Any] = json.loads(self._ours.recv_bytes())
        except (EOFError, OSError):
            raise self._died() from None
        return document

    def memory_bytes(self) -> int:
        """Return what it takes of memory, in bytes."""
        try:
            pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):  # it has ended, or this is no Linux
            return 0
        return int(pages) * _PAGE_BYTES

    def kill(self) -> None:
        """End it and what it has started."""
        if self.is_alive():
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Wait for its end."""
        self._process.wait()
        self._ours.close()

    def _died(self) -> PredictionFailed:
        self.kill()
        status = self._process.wait()
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        return PredictionFailed(f"the process that predicts died ({how}).")


def _raise_failure(answer: dict[str, Any]) -> dict[str, Any]:
    if "failure" in answer:
        raise named_error(str(answer["failure"]), str(answer["detail"]))
    return answer
