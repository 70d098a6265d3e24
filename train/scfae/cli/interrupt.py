"""Ctrl-C and SIGTERM: stop at the next safe point, say how to go on, end with 130 or 143."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn


class Stopped(Exception):
    """A command was stopped by a signal; the text says how to resume.

    Args:
        message: One sentence with the command that goes on from here.
        signum: The signal, for the exit status 128 + signum.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.signum = signum


def signal_of(stop: KeyboardInterrupt) -> signal.Signals:
    """Return the signal that an interrupt stands for: Ctrl-C's, if it names none."""
    return signal.Signals(stop.args[0] if stop.args else signal.SIGINT)


@contextmanager
def resumable(place: str | Path, kept: str = "shards") -> Iterator[None]:
    """Do work that the same command goes on with, and say so where Ctrl-C or SIGTERM stops it.

    Args:
        place: Where finished work lies.
        kept: What it is.

    Raises:
        Stopped: A signal came.
    """
    raise_on_sigterm()
    try:
        yield
    except KeyboardInterrupt as stop:
        signum = signal_of(stop)
        raise Stopped(
            f"stopped by {signum.name}; finished {kept} are in {place}. Run the same command again "
            "to go on.",
            signum,
        ) from None


def end_at_once(stop: Stopped) -> NoReturn:
    """End this process with what a stop has to say, and no further clean-up.

    Taking the interpreter apart costs two seconds of processor time where torch was imported, which
    on a busy machine is more than the few that whoever stops a service waits. For commands that
    have put everything in order already, and left nothing to `atexit`.
    """
    print(f"scfae: {stop}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(128 + stop.signum)


def raise_on_sigterm() -> None:
    """Let SIGTERM take the same way out as Ctrl-C: unwinding, with children stopped."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signum)
