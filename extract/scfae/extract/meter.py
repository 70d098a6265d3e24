"""How far an extraction is and what it waits for: files, clips a second, shares of time, failures.

The consumer's wall time is split into three: waiting for decoded windows, forward passes, and
writing shards. A large share of the first says that more `--workers` would help.
"""

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from .decoder_pool import Message

Progress = Callable[[int, int, str], None]
"""Receives (files done, files in all, what happens now)."""


class Stopwatch:
    """Adds up the time spent in its `with` blocks.

    Attributes:
        seconds: So far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._begun_s = 0.0

    def __enter__(self) -> Self:
        self._begun_s = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds += time.perf_counter() - self._begun_s


class Meter:
    """Counts and times an extraction in one process.

    Args:
        progress: Told after every file.
        total: Files in all.

    Attributes:
        num_files: Files decoded.
        num_failed: Files that failed for some column.
        num_windows: Windows encoded, over all columns.
        decode: Time spent waiting for the decoders.
        forward: Time spent in forward passes, copies to and from the device included.
        write: Time spent committing shards.
    """

    def __init__(self, progress: Progress | None = None, total: int = 0) -> None:
        self._progress = progress
        self.total = total
        self.num_files = 0
        self.num_failed = 0
        self.num_windows = 0
        self.decode = Stopwatch()
        self.forward = Stopwatch()
        self.write = Stopwatch()
        self._begun_s = time.perf_counter()

    def waiting_for_decoders(self, messages: Iterator[Message]) -> Iterator[Message]:
        """Yield what the decoders give, timing how long each takes to come."""
        while True:
            with self.decode:
                message = next(messages, None)
            if message is None:
                return
            yield message

    def count_file(self, sample: str, *, has_failed: bool) -> None:
        """Take note of a file that is done, and tell of it."""
        self.num_files += 1
        self.num_failed += has_failed
        if self._progress is not None:
            self._progress(self.num_files, max(self.total, self.num_files), self.text())

    def seconds(self) -> dict[str, float]:
        """Return the time spent waiting for the decoders, in forward passes, and writing."""
        return {
            "decode": self.decode.seconds,
            "forward": self.forward.seconds,
            "write": self.write.seconds,
        }

    def text(self) -> str:
        """Return clips a second, shares of time, failures and the time left, in one line."""
        spent_s = max(time.perf_counter() - self._begun_s, 1e-9)
        parts = [f"{self.num_windows / spent_s:.1f} clips/s"]
        known_s = sum(self.seconds().values()) or 1.0
        shares = [f"{name} {part_s / known_s:.0%}" for name, part_s in self.seconds().items()]
        parts.append(" ".join(shares))
        if self.num_failed:
            parts.append(f"{self.num_failed} failed")
        if self.num_files and self.total > self.num_files:
            left_s = spent_s / self.num_files * (self.total - self.num_files)
            parts.append(f"{duration(left_s)} left")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return a duration for people.

    >>> duration(42.4), duration(125), duration(3 * 3600 + 125)
    ('42 s', '2 min 5 s', '3 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
