"""SIGTERM and Ctrl-C ask the loop to stop at its next step; a second one stops at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """While entered, remembers the first signal; only the main thread can listen.

    Attributes:
        signum: The signal that came, or None.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for one in SIGNALS:
                self._before[one] = signal.signal(one, self._stop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._put_back()

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        self._put_back()

    def _put_back(self) -> None:
        while self._before:
            one, handler = self._before.popitem()
            signal.signal(one, handler)
