"""Which streams of a container are read, and what their headers promise.

The default stream of a kind is taken, else the first; cover art, a "video" of one picture, never.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import av.stream

from .losses import Losses

_UNKNOWN_BYTES = 0xFFFF_FFFF
STREAM_RULE: Final = "the default stream of its kind, else the first; no cover art"


@dataclass(frozen=True, slots=True)
class Choice:
    """The stream of one kind that is read.

    Attributes:
        stream: PyAV's.
        note: Which of several it is; None if there is one.
        candidates: How many there are.
    """

    stream: Any
    note: str | None
    candidates: int


def choose(container: Any, kind: str) -> Choice | None:
    """Return the stream of a kind, video or audio; None if there is none."""
    candidates = [
        stream
        for stream in getattr(container.streams, kind)
        if not stream.disposition & av.stream.Disposition.attached_pic
        and stream.codec_context is not None
    ]
    if not candidates:
        return None
    default = [s for s in candidates if s.disposition & av.stream.Disposition.default]
    chosen = (default or candidates)[0]
    note = None
    if len(candidates) > 1:
        number = candidates.index(chosen) + 1
        why = "the default" if default else "none is the default"
        note = f"{kind} stream {number} of {len(candidates)} was taken ({why})"
    return Choice(chosen, note, len(candidates))


def frame_length_s(stream: Any) -> float:
    """Return the length of a picture by the stream's average rate."""
    return 1.0 / float(stream.average_rate) if stream.average_rate else 0.04


def losses(container: Any, stream: Any) -> Losses:
    """Return the account of a stream, with what its header promises."""
    start_s = _seconds(stream.start_time, stream.time_base)
    return Losses.of(start_s, _promised_s(container, stream), container.format.name)


def _promised_s(container: Any, stream: Any) -> float | None:
    known = _seconds(stream.duration, stream.time_base)
    if known:
        return known + _cut_off_wav_s(container, stream)
    tag = stream.metadata.get("DURATION")  # Matroska, where it ends: "00:00:02.021000000"
    if tag:
        try:
            hours, minutes, seconds = tag.split(":")
            end_s = (int(hours) * 60 + int(minutes)) * 60 + float(seconds)
        except ValueError:
            return None
        return end_s - (_seconds(stream.start_time, stream.time_base) or 0.0)
    # The container's is that of its longest stream, so it speaks of one only.
    if len(container.streams) == 1 and container.duration:
        return float(Fraction(container.duration, av.time_base))
    return None


def _cut_off_wav_s(container: Any, stream: Any) -> float:
    """Return how much of a WAV is not there: FFmpeg itself goes by the size of the file."""
    rate = stream.codec_context.bit_rate
    if container.format.name != "wav" or not rate:
        return 0.0
    path = Path(container.name)
    with path.open("rb") as file:
        head = file.read(8)
    promised = 8 + int.from_bytes(head[4:], "little")
    if head[:4] != b"RIFF" or promised >= _UNKNOWN_BYTES:  # as written to a pipe
        return 0.0
    return max(0, promised - path.stat().st_size) * 8 / float(rate)


def _seconds(value: int | None, time_base: Any) -> float | None:
    if value is None or time_base is None:
        return None
    return float(value * Fraction(time_base))
