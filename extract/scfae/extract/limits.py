"""Bounds on one media file, so that no file can stop or exhaust an extraction."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may take.

    Attributes:
        timeout_s: Wall time to decode it, all encoders' windows included.
        max_pixels: Pixels of one picture; larger ones are refused before they are decoded.
        max_file_pixels: Pixels of all pictures of a file together; None for no limit.
        max_memory_bytes: Memory that decoding it may add to the child's; None for no limit.
    """

    timeout_s: float = 60.0
    max_pixels: int = 100_000_000
    max_file_pixels: int | None = None
    max_memory_bytes: int | None = 4 << 30


class PixelBudget:
    """Counts the pixels of a file against its limits.

    Args:
        limits: Those of the file.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._spent = 0

    def refusal(self, width: int, height: int, *, count: int = 1) -> str | None:
        """Return why so many pictures more of this size are too many; None if they are not."""
        if width * height > self._limits.max_pixels:
            return (
                f"a picture of {width} x {height} is too large "
                f"({self._limits.max_pixels} pixels, --max-pixels)"
            )
        self._spent += count * width * height
        limit = self._limits.max_file_pixels
        if limit is not None and self._spent > limit:
            return f"its pictures have more than {limit} pixels together (--max-file-pixels)"
        return None
