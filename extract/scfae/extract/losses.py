"""What of a stream was lost, in seconds: before its first frame, between frames, at its end."""

from dataclasses import dataclass

# What headers promise is rounded; some only guess it from the size of the file.
_LOST_S = 0.5
_LOST_SHARE = 0.05
_LEAST_S = 2e-3
_EXACT = ("mov", "mp4", "matroska", "webm", "wav", "flac")


@dataclass(slots=True)
class Losses:
    """Counts what one stream should have given and did not.

    Attributes:
        start_s: Where it begins by its header; None if unknown.
        promised_s: How long it is by its header; None if unknown.
        tolerance_s: What may be missing without damage.
        packets: Damaged packets.
        breaks_off: The container ended in the middle.
    """

    start_s: float | None = None
    promised_s: float | None = None
    tolerance_s: float = _LOST_S
    packets: int = 0
    breaks_off: bool = False
    _first_s: float | None = None
    _last_s: float = 0.0
    _at_start_s: float = 0.0
    _between_s: float = 0.0
    _flawed_s: float = 0.0
    _pending_s: float = 0.0
    _is_hurt: bool = False

    @classmethod
    def of(cls, start_s: float | None, promised_s: float | None, container: str) -> "Losses":
        """Return the losses of a stream to be read from a format of FFmpeg."""
        tolerance_s = _LOST_S
        if promised_s is not None and not set(container.split(",")) & set(_EXACT):
            tolerance_s = max(_LOST_S, _LOST_SHARE * promised_s)
        return cls(start_s, promised_s, tolerance_s)

    @property
    def is_hurt(self) -> bool:
        """Whether something was lost since the last frame."""
        return self._is_hurt

    @property
    def span_s(self) -> tuple[float, float] | None:
        """First start and last end of what was decoded; None if nothing was."""
        return None if self._first_s is None else (self._first_s, self._last_s)

    def hurt(self, length_s: float) -> None:
        """Count a packet that gave nothing, of some length."""
        self.packets += 1
        self._pending_s += length_s
        self._is_hurt = True

    def see(self, start_s: float, end_s: float, *, is_flawed: bool = False) -> None:
        """Count a frame; `is_flawed` if the decoder made up what was missing in it."""
        if self._first_s is None:
            self._first_s = start_s
            if self._is_hurt:
                known = None if self.start_s is None else start_s - self.start_s
                self._at_start_s = max(0.0, self._pending_s if known is None else known)
        elif self._is_hurt:
            self._between_s += max(0.0, start_s - self._last_s)
        if is_flawed:
            self._flawed_s += end_s - start_s
        self._last_s = max(self._last_s, end_s)
        self._is_hurt, self._pending_s = False, 0.0

    def reason(self) -> str:
        """Return what was lost, empty if nothing was."""
        at_end_s = self._at_end_s()
        places = {
            "at the start": self._at_start_s,
            "in the middle": self._between_s,
            "at the end": at_end_s,
        }
        lost = [f"{s:.2f} s {where}" for where, s in places.items() if s >= _LEAST_S]
        said = [f"lost {', '.join(lost)}"] if lost else []
        if self._flawed_s >= _LEAST_S:
            said.append(f"{self._flawed_s:.2f} s of it damaged")
        if self.packets:
            said.append(f"{self.packets} damaged packets")
        if self.breaks_off and not said:
            said.append("the file breaks off")
        if said and self.span_s is not None:
            decoded_s = self._last_s - self.span_s[0] - self._between_s
            whole = "" if self.promised_s is None else f" of {self.promised_s:.2f} s"
            said.append(f"{decoded_s:.2f} s{whole} decoded")
        return "; ".join(said)

    def _at_end_s(self) -> float:
        if self.promised_s is None or self._first_s is None:
            return self._pending_s
        left_s = self.promised_s - (self._last_s - self._first_s) - self._at_start_s
        if left_s > self.tolerance_s or self._is_hurt or self.breaks_off:
            return max(left_s, self._pending_s)
        return 0.0
