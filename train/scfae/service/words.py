"""Times, sizes and figures in the words of the pages."""

import time
from datetime import UTC, datetime
from typing import Final

from scfae.train.figures import title

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
NONE: Final = "\N{EN DASH}"
"""What stands where there is nothing to say."""


def ago(seconds: float | None, *, now_s: float | None = None) -> str:
    """Return how long ago a time was, e.g. `3 min ago`.

    Args:
        seconds: Since 1970.
        now_s: The present; the clock's if not given.
    """
    if seconds is None:
        return NONE
    passed_s = (time.time() if now_s is None else now_s) - seconds
    return "now" if passed_s < 1 else f"{duration(passed_s, parts=1)} ago"


def exactly(seconds: float | None) -> str:
    """Return a time to the second, in UTC."""
    if seconds is None:
        return NONE
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float | None, *, parts: int = 2) -> str:
    """Return a stretch of time by its largest units, e.g. `2 h 5 min`.

    Args:
        seconds: Its length.
        parts: Units, at most.
    """
    if seconds is None:
        return NONE
    said: list[tuple[int, str]] = []
    left = max(0, round(seconds))
    for length, unit in _UNITS:
        count, left = divmod(left, length)
        if count or (said and len(said) < parts):
            said.append((count, unit))
        if len(said) == parts:
            break
    return " ".join(f"{count} {unit}" for count, unit in said if count) or "0 s"


def size(count: float | None) -> str:
    """Return a number of bytes, e.g. `1.4 MB`; a MB is 1,000,000 bytes."""
    if count is None:
        return NONE
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def figure(value: object) -> str:
    """Return a figure with three digits that mean something."""
    if value is None:
        return NONE
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or value == int(value):
        return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3g}"
    return f"{value:.3f}" if 0.01 <= abs(value) < 1000 else f"{value:.3g}"


def percent(share: float | None) -> str:
    """Return a share as whole percents."""
    return NONE if share is None else f"{100 * share:.0f} %"


def metric(name: str) -> str:
    """Return what a figure is called on a page, e.g. `balanced accuracy`."""
    return title(name)
