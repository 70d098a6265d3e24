"""Questions side by side, each in a process of its own that goes through all of its runs.

Runs here take a second or two, less than a process takes to start, so it is questions that share
the machine. Ctrl-C and SIGTERM reach the study alone, which asks every question to stop at a
checkpoint; where the study is killed, its questions see that and stop too.
"""

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from typing import Any

from ..stopping import StopSignals

POLL_S = 0.2
Progress = Callable[[int, int, str], None]
Report = Callable[[int, str], None]
"""Receives (runs done, what happens now)."""
Work = Callable[..., None]
"""A function of a module, called with its arguments and a `Report`."""


def run_side_by_side(
    work: Work, arguments: Sequence[tuple[Any, ...]], *, jobs: int, progress: Progress, total: int
) -> int | None:
    """Call a function with each of some arguments, so many at a time, each in a process.

    What one of them raises stays in its process, on stderr: whoever reads what was done says so.

    Args:
        work: Of a module, so that a process can find it.
        arguments: Of each call.
        jobs: Calls at a time.
        progress: Receives (runs done, runs in all, what happens now).
        total: Runs in all.

    Returns:
        The signal that came, or None.
    """
    context = multiprocessing.get_context("spawn")
    heard: multiprocessing.Queue[tuple[int, int, str]] = context.Queue()
    waiting = [
        context.Process(target=_child, args=(work, one, number, heard), daemon=True)
        for number, one in enumerate(arguments)
    ]
    running: list[BaseProcess] = []
    done: dict[int, int] = {}
    with StopSignals() as stop:
        try:
            while (waiting or running) and stop.signum is None:
                while waiting and len(running) < jobs:
                    waiting[0].start()
                    running.append(waiting.pop(0))
                try:
                    number, count, text = heard.get(timeout=POLL_S)
                except queue.Empty:
                    running = [one for one in running if one.is_alive()]
                else:
                    done[number] = count
                    progress(sum(done.values()), total, text)
        finally:
            for one in running:
                one.terminate()
            for one in running:
                one.join()
    return stop.signum


def _child(
    work: Work,
    arguments: tuple[Any, ...],
    number: int,
    heard: "multiprocessing.Queue[tuple[int, int, str]]",
) -> None:
    os.setsid()  # Ctrl-C on a terminal is the study's, which passes it on once
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    work(*arguments, lambda count, text: heard.put((number, count, text)))


def _stop_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
