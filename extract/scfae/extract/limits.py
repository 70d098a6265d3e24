"""Bounds on one media file, so that no file can stop or exhaust an extraction."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may take.

    Attributes:
        timeout_s: Wall time to decode it, all encoders' windows included.
        max_pixels: Pixels of one picture; larger ones are refused before they are decoded.
    """

    timeout_s: float = 60.0
    max_pixels: int = 100_000_000
