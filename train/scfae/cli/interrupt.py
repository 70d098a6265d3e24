"""Ctrl-C and SIGTERM: stop at the next safe point, say how to go on, end with 130 or 143."""

import signal
from types import FrameType


class Stopped(Exception):
    """A command was stopped by a signal; the text says how to resume.

    Args:
        message: One sentence with the command that goes on from here.
        signum: The signal, for the exit status 128 + signum.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.signum = signum


def stopped_import(stop: KeyboardInterrupt, store: str) -> Stopped:
    """Return what to raise when Ctrl-C or SIGTERM came while shards of a store were written."""
    signum = int(stop.args[0]) if stop.args else int(signal.SIGINT)
    return Stopped(
        f"stopped by {signal.Signals(signum).name}; finished shards are in {store}. Run the same "
        "command again to go on.",
        signum,
    )


def raise_on_sigterm() -> None:
    """Let SIGTERM take the same way out as Ctrl-C: unwinding, with children stopped."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signum)
