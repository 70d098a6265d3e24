"""How long the steps of an epoch took, and how much of that they waited for data."""

import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
_END: Any = object()


class Speed:
    """Times the steps of an epoch; those of an earlier attempt are not in it."""

    def __init__(self) -> None:
        self._steps = 0
        self._seconds = self._waiting_s = 0.0

    def timed(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches; what passes until the next is asked for is a step."""
        source = iter(batches)
        while True:
            asked_s = time.perf_counter()
            batch = next(source, _END)
            if batch is _END:
                return
            came_s = time.perf_counter()
            yield batch
            self._steps += 1
            self._waiting_s += came_s - asked_s
            self._seconds += time.perf_counter() - asked_s

    def take(self) -> dict[str, float]:
        """Return `steps`, `seconds` and `waiting_s`, and begin again."""
        figures = {"steps": self._steps, "seconds": self._seconds, "waiting_s": self._waiting_s}
        self._steps, self._seconds, self._waiting_s = 0, 0.0, 0.0
        return figures
