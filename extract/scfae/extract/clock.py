"""When a frame is shown and when sound is heard, in seconds on the media's own clock.

Rules. A frame's time is its own presentation time, never a count times a rate. Frames before the
first known time lie one frame (or their own length) apart before it, at most `_HELD` of them; a
later frame without a time follows the last one. Time that runs back, as where two recordings were
joined, goes on from where it was. So does time that leaps beyond what the container promises;
every other leap is believed: a picture stays, sound is silent.
"""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

Held = TypeVar("Held")

CLOCK_RULE: Final = (
    "presentation times; none: one frame on; running back: goes on from the last; a gap: the "
    "picture stays, sound is silent"
)

_HELD = 8
_BEYOND_S = 10.0
# Without a promise, a leap may be as long as a speaker's slide is shown.
_LONGEST_S = 600.0
_LEAST_S = 1e-3
_HEARD_S = 0.1


@dataclass(slots=True)
class Timeline:
    """Maps a stream's own times to ones that never run back.

    Attributes:
        promised_end_s: Where the stream ends by its header; None if unknown.
        jumps: How often time ran back or leapt beyond the promise.
    """

    promised_end_s: float | None = None
    jumps: int = 0
    _offset_s: float = 0.0
    _raw_s: float | None = None

    def place(self, raw_s: float, expected_s: float | None) -> float:
        """Return the time of what says `raw_s` and would follow the last at `expected_s`."""
        time_s = raw_s + self._offset_s
        runs_back = self._raw_s is not None and raw_s < self._raw_s
        if expected_s is not None and (
            (runs_back and time_s < expected_s) or self._is_leap(time_s, expected_s)
        ):
            self.jumps += 1
            self._offset_s = expected_s - raw_s
            time_s = expected_s
        self._raw_s = raw_s
        return time_s

    def _is_leap(self, time_s: float, expected_s: float) -> bool:
        if self.promised_end_s is None:
            return time_s - expected_s > _LONGEST_S
        return time_s - max(expected_s, self.promised_end_s) > _BEYOND_S


class PictureClock(Generic[Held]):
    """Gives every picture of one stream its time.

    Args:
        frame_s: Length of a picture that has none of its own.
        promised_end_s: Where the stream ends by its header; None if unknown.
    """

    def __init__(self, frame_s: float, promised_end_s: float | None = None) -> None:
        self._frame_s = frame_s
        self.timeline = Timeline(promised_end_s)
        self._held: list[tuple[Held, float]] = []
        self._last_s: float | None = None
        self._next_s: float | None = None

    def push(
        self, one: Held, pts_s: float | None, length_s: float | None
    ) -> list[tuple[Held, float, float]]:
        """Return (picture, start, length) of every picture whose time is known now."""
        length_s = length_s or self._frame_s
        if self._last_s is None and pts_s is None and len(self._held) < _HELD:
            self._held.append((one, length_s))
            return []
        placed = self._release(pts_s)
        return [*placed, (one, self._start(pts_s, length_s), length_s)]

    def flush(self) -> list[tuple[Held, float, float]]:
        """Return the pictures that never had a time; they begin at 0."""
        return self._release(None)

    def _release(self, until_s: float | None) -> list[tuple[Held, float, float]]:
        held, self._held = self._held, []
        if not held:
            return []
        start_s = 0.0 if until_s is None else until_s - sum(length for _, length in held)
        placed = []
        for one, length_s in held:
            placed.append((one, self._start(start_s, length_s), length_s))
            start_s += length_s
        return placed

    def _start(self, pts_s: float | None, length_s: float) -> float:
        if pts_s is None:
            start_s = 0.0 if self._next_s is None else self._next_s
        else:
            start_s = self.timeline.place(pts_s, self._next_s)
        if self._last_s is not None:
            start_s = max(start_s, self._last_s + _LEAST_S)
        self._last_s, self._next_s = start_s, start_s + length_s
        return start_s


class SoundClock:
    """Says where each piece of one stream of sound lies; between two, silence or nothing.

    Pieces whose times differ from the count of samples by less than a tenth of a second follow
    each other: containers round times. After damage the times are taken as they are.

    Args:
        promised_end_s: Where the stream ends by its header; None if unknown.
    """

    def __init__(self, promised_end_s: float | None = None) -> None:
        self.timeline = Timeline(promised_end_s)
        self._next_s: float | None = None

    def place(self, pts_s: float | None, length_s: float, *, is_hurt: bool) -> float:
        """Return the start of a piece of sound, its time in seconds or None, its length."""
        if self._next_s is None:
            start_s = 0.0 if pts_s is None else self.timeline.place(pts_s, None)
        elif pts_s is None:
            start_s = self._next_s
        else:
            start_s = self.timeline.place(pts_s, self._next_s)
            if start_s - self._next_s < (_LEAST_S * 2 if is_hurt else _HEARD_S):
                start_s = self._next_s
        self._next_s = start_s + length_s
        return start_s
