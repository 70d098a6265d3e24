"""A tracker in a thread of its own: it may be slow or break, and the run does not feel it."""

import logging
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any

from . import Tracker, flat_figures

logger = logging.getLogger("scfae.train")

PATIENCE_S = 30.0
"""How long the end of a run waits for what a tracker has not sent yet."""


class Background:
    """Hands figures to a tracker, in order, without waiting for it.

    Args:
        name: Of the tracker, for the warning.
        begin: Makes it; called in the thread.
    """

    def __init__(self, name: str, begin: Callable[[], Tracker]) -> None:
        self._name, self._begin = name, begin
        self._queue: SimpleQueue[tuple[int, dict[str, float]] | str] = SimpleQueue()
        self._has_failed = False
        # A daemon: a server that never answers must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name=f"scfae-{name}", daemon=True)
        self._thread.start()

    def figures(self, step: int, figures: Mapping[str, Any]) -> None:
        """Send the figures of an epoch, some time."""
        if not self._has_failed:
            self._queue.put((step, flat_figures(figures)))

    def close(self, state: str) -> None:
        """Send what is left and the run's state; give up after a while."""
        self._queue.put(state)
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            self._warn(f"it took longer than {PATIENCE_S:.0f} s to send the last figures")

    def _work(self) -> None:
        try:
            tracker = self._begin()
            while not isinstance(item := self._queue.get(), str):
                tracker.figures(*item)
            tracker.end(item)
        except (Exception, SystemExit) as error:  # third parties raise what they like
            self._warn(f"{type(error).__name__}: {' '.join(str(error).split())}")

    def _warn(self, why: str) -> None:
        if self._has_failed:
            return
        self._has_failed = True
        logger.warning(
            f"{self._name} does not get this run's figures any more ({why}); the run goes on, and "
            "they are in events.jsonl."
        )
