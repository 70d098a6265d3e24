"""What became of one file: for each recipe its windows, or why there are none."""

from collections.abc import Callable
from dataclasses import dataclass, field

from scfae.store.receipt import Status

from .files import printable
from .recipe import Window


@dataclass(slots=True)
class Fate:
    """What became of one file for one encoder.

    Attributes:
        status: ok, partial, missing or failed.
        reason: Why, for everything but ok; of an ok file, which of several streams was taken.
        windows: The encoder's inputs, in order; none for missing and failed.
    """

    status: Status = "ok"
    reason: str | None = None
    windows: list[Window] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.reason is not None:
            self.reason = printable(self.reason)


Part = dict[str, list[Window]]
"""Windows of one file by recipe name, sent ahead so that memory does not grow with the file."""

Emit = Callable[[Part], None]


@dataclass(slots=True)
class Decoded:
    """One file, decoded once: the end of it, where parts were sent ahead.

    Attributes:
        fates: By recipe name.
        sha256: Of the file; None if it cannot be read.
        duration_s: Of what was decoded; None if nothing was.
    """

    fates: dict[str, Fate]
    sha256: str | None = None
    duration_s: float | None = None
