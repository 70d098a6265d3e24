"""Several runs of a sweep at a time, in processes with a process group each.

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
from pathlib import Path

from ..loop import Progress
from ..processors import sharing_environment
from ..stopping import StopSignals
from .folder import SweepFolder, is_done
from .plan import Cell
from .running import LOGS, SweepInterrupted, Tell, wait_until_free

POLL_S = 0.05


class Child:
    """A process that runs cells, one after the other: starting one takes seconds.

    It ends with the first cell that fails, so that nothing of that is left to the next.

    Args:
        logs: Folder for what is printed in each, made if needed.
        bootstrap: As for `run_cell`.
        gpu: The only GPU that it sees; None leaves that as it is.
    """

    def __init__(self, logs: Path, bootstrap: int | None, gpu: str | None) -> None:
        self._logs = logs
        logs.mkdir(exist_ok=True)
        self._bootstrap = bootstrap
        self._read = b""
        environment = sharing_environment()
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scfae.train.sweeps.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdout.fileno(), False)

    def run(self, cell: Cell) -> None:
        """Have it run a cell; it has none now."""
        self.cell, self._read = cell, b""
        order = {
            "name": cell.name,
            "config": cell.config.model_dump(mode="json"),
            "bootstrap": self._bootstrap,
            "log": str(self._logs / f"{cell.name}.log"),
        }
        with suppress(BrokenPipeError):  # it has died already: `poll` and `failure` tell
            self._stdin.write(json.dumps(order).encode() + b"\n")
            self._stdin.flush()

    def poll(self) -> bool:
        """Return whether its cell has ended, well or not."""
        has_ended = self.has_ended()
        self._read += self._stdout.read() or b""
        return has_ended or self._read.endswith(b"\n")

    def has_ended(self) -> bool:
        """Return whether the process has ended: it takes no more cells."""
        return self._process.poll() is not None

    def signal(self, signum: int) -> None:
        """Send a signal to the process and what it has started."""
        if not self.has_ended():
            os.killpg(self._process.pid, signum)

    def failure(self) -> str | None:
        """Wait for its cell to end; return why it failed, or None."""
        while not self.poll():
            time.sleep(POLL_S)
        try:
            found = json.loads(self._read)["failure"]
        except (ValueError, KeyError, TypeError):
            self.end()
            status = self._process.returncode
            how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"
            return f"its process ended with {how}; see {self._logs.name}/{self.cell.name}.log."
        if found is None:
            return None
        self.end()
        return str(found)

    def end(self) -> None:
        """Tell it that no more cells come, and wait for it."""
        with suppress(BrokenPipeError):
            self._stdin.close()  # not earlier: in a run that means that the sweep is gone
        self._process.wait()
        self._stdout.close()


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
    children: dict[int, Child] = {}  # by slot
    running: dict[int, Child] = {}
    try:
        while waiting or running:
            if stop.signum is not None:
                break
            for slot in range(jobs):
                if slot not in running and waiting:
                    cell = waiting.popleft()
                    wait_until_free(cell)
                    if slot not in children or children[slot].has_ended():
                        gpu = gpus[slot % len(gpus)] if len(gpus) > 1 else None
                        children[slot] = Child(sweep.path / LOGS, bootstrap, gpu)
                    running[slot] = children[slot]
                    running[slot].run(cell)
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
        for child in children.values():
            child.end()
    finally:  # a second Ctrl-C: no checkpoint is waited for
        for child in children.values():
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
