"""Progress on stderr: a tqdm bar on a terminal, one line every 30 seconds elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

LINE_EVERY_S = 30.0
_MOST_CHARS = 80


class Progress:
    """A callable `(done, total, text)` that shows how far a command is.

    Args:
        what: The noun of the work, e.g. `extract`.
        unit: What is counted, e.g. `files`.
    """

    def __init__(self, what: str, unit: str) -> None:
        self._what = what
        self._unit = unit
        self._bar: tqdm[Any] | None = None
        self._is_terminal = sys.stderr.isatty()
        self._last_line_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, done: int, total: int, text: str = "") -> None:
        """Show that `done` of `total` units are finished; `text` is what happens now."""
        if self._is_terminal:
            bar = self._bar
            if bar is None or bar.total != total:
                if bar is not None:
                    bar.close()
                bar = tqdm(total=total, desc=self._what, unit=self._unit, leave=False)
                self._bar = bar
            bar.set_postfix_str(text[:_MOST_CHARS], refresh=False)
            bar.update(done - bar.n)
        elif time.monotonic() - self._last_line_s >= LINE_EVERY_S:
            self._last_line_s = time.monotonic()
            print(f"{self._what}: {done}/{total} {self._unit} {text}".rstrip(), file=sys.stderr)
