"""Several runs of a sweep at a time, each in a process and a process group of its own.

Ctrl-C on a terminal reaches the sweep alone, which asks every run to stop at a checkpoint. Where
the sweep is killed, its runs see their stdin close and stop too.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from ..loop import Progress
from ..processors import sharing_environment
from ..stopping import StopSignals
from .folder import SweepFolder, is_done
from .plan import Cell
from .running import LOGS, SweepInterrupted, Tell, wait_until_free

POLL_S = 0.05


class Child:
    """A process that runs one cell.

    Args:
        sweep: Whose run it is; takes the log.
        cell: The run.
        bootstrap: As for `run_cell`.
        gpu: The only GPU that it sees; None leaves that as it is.
    """

    def __init__(
        self, sweep: SweepFolder, cell: Cell, bootstrap: int | None, gpu: str | None
    ) -> None:
        self.cell = cell
        environment = sharing_environment()
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        (sweep.path / LOGS).mkdir(exist_ok=True)
        with open(sweep.path / LOGS / f"{cell.name}.log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "scfae.train.sweeps.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        config = cell.config.model_dump(mode="json")
        order = {"name": cell.name, "config": config, "bootstrap": bootstrap}
        with suppress(BrokenPipeError):  # it has died already: `poll` and `failure` tell
            self._stdin.write(json.dumps(order).encode() + b"\n")
            self._stdin.flush()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def poll(self) -> bool:
        """Return whether it has ended."""
        return self._process.poll() is not None

    def signal(self, signum: int) -> None:
        """Send a signal to the process and what it has started."""
        if not self.poll():
            os.killpg(self._process.pid, signum)

    def failure(self) -> str | None:
        """Wait for it; return why it failed, or None."""
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            lines = stdout.read().splitlines()
        status = self._process.wait()
        with suppress(BrokenPipeError):
            self._stdin.close()  # not earlier: to the child that means that the sweep is gone
        if status == 0:
            return None
        try:
            return str(json.loads(lines[-1])["failure"])
        except (IndexError, ValueError, KeyError, TypeError):
            how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"
            return f"its process ended with {how}; see {LOGS}/{self.cell.name}.log."


def run_side_by_side(
    sweep: SweepFolder,
    cells: Sequence[Cell],
    *,
    jobs: int,
    bootstrap: int | None,
    stop: StopSignals,
    tell: Tell,
    progress: Progress | None,
) -> None:
    """Run what is not done of the cells, so many at a time.

    Raises:
        SweepInterrupted: A signal came.
    """
    waiting = deque(cell for cell in cells if not is_done(cell, evaluated=bootstrap is not None))
    done = len(cells) - len(waiting)
    gpus = visible_gpus() if any(cell.config.loop.device != "cpu" for cell in waiting) else ()
    running: dict[int, Child] = {}  # by slot
    try:
        while waiting or running:
            if stop.signum is not None:
                break
            for slot in range(jobs):
                if slot not in running and waiting:
                    cell = waiting.popleft()
                    wait_until_free(cell)
                    gpu = gpus[slot % len(gpus)] if len(gpus) > 1 else None
                    running[slot] = Child(sweep, cell, bootstrap, gpu)
            for slot in [slot for slot, child in running.items() if child.poll()]:
                child = running.pop(slot)
                failure = child.failure()
                sweep.note_failure(child.cell.name, failure)
                tell(child.cell, failure)
                done += 1
            if progress is not None:
                names = ", ".join(child.cell.name for child in running.values())
                progress(done, len(cells), names)
            time.sleep(POLL_S)
        for child in running.values():
            child.signal(signal.SIGTERM)
        for child in running.values():
            child.failure()
    finally:  # a second Ctrl-C: no checkpoint is waited for
        for child in running.values():
            child.signal(signal.SIGKILL)
    if stop.signum is not None and (waiting or running):
        raise SweepInterrupted(stop.signum, sweep.path)


def visible_gpus() -> tuple[str, ...]:
    """Return the GPUs that this process may use, by the names that a child's environment takes."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(word.strip() for word in named.split(",") if word.strip())
    import torch

    return tuple(map(str, range(torch.cuda.device_count())))
