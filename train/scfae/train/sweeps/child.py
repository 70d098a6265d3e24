"""Runs of a sweep in a process of their own: `python -m scfae.train.sweeps.child`, by `children`.

Orders come as JSON lines on stdin, each is answered by one on stdout; what is printed goes to the
log that the order names. When stdin closes, the sweep is gone, or has no more: then a run that is
under way is asked to stop, which leaves a checkpoint. After a failure the process ends.
"""

import io
import json
import os
import queue
import signal
import sys
import threading
import traceback
from typing import Any

from scfae.store.errors import ScfaeError


class Orders:
    """What stdin asks for, read beside the runs, so that its end is noticed at once."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_running = self._is_closed = False
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> dict[str, Any] | None:
        """Return the next order, None when there are no more, or nobody waits for it any longer."""
        with self._lock:
            self._is_running = False
        line = self._lines.get()
        with self._lock:
            if self._is_closed:  # a sweep that was killed while this process began
                return None
            self._is_running = True
        order: dict[str, Any] = json.loads(line)
        return order

    def _read(self) -> None:
        lines = io.BufferedReader(io.FileIO(0, closefd=False))
        while line := lines.readline():
            self._lines.put(line)
        with self._lock:
            self._is_closed = True
            if self._is_running:
                os.kill(os.getpid(), signal.SIGTERM)
        self._lines.put(b"")


def main() -> int:
    """Run the cells that stdin names; return the exit status."""
    answers = os.fdopen(os.dup(1), "w")
    orders = Orders()
    while (order := orders.next()) is not None:
        _log_to(order["log"])

        from ..config import load_config
        from ..runs import Interrupted
        from .plan import Cell
        from .running import run_cell, sentence

        failure = None
        try:
            config = load_config(None, order["config"])
            run_cell(Cell(order["name"], {}, config.loop.seed, config), order["bootstrap"])
        except Interrupted as stop:
            print(stop, file=sys.stderr)
            return 128 + stop.signum
        except Exception as error:
            if not isinstance(error, ScfaeError):
                traceback.print_exc()
            failure = sentence(error)
        print(json.dumps({"failure": failure}), file=answers, flush=True)
        if failure is not None:
            return 1
    return 0


def _log_to(path: str) -> None:
    """Let all that is printed from now on, by whatever language, go to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


if __name__ == "__main__":
    sys.exit(main())
