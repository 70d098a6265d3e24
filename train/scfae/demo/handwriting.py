"""Real handwriting: scikit-learn's bundled 1,797 digits, drawn as stills and as moving clips."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 160, 120  # 4:3, what R(2+1)D's 171x128 resize keeps in shape
SIZES_PX = (52, 84)
GRAIN = 12.0  # standard deviation of the sensor's noise in grey levels
_INK_LEVELS = 16.0  # the data set counts ink from 0 to 16


@dataclass(frozen=True, slots=True)
class Handwriting:
    """The bundled digits.

    Attributes:
        images: float32 `[1797, 8, 8]`, ink from 0 to 1.
        digits: int64 `[1797]`, what was written.
    """

    images: npt.NDArray[np.float32]
    digits: npt.NDArray[np.int64]


def load_handwriting() -> Handwriting:
    """Return the digits that scikit-learn ships (UCI optical recognition of digits)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return Handwriting(
        images=(bunch.images / _INK_LEVELS).astype(np.float32),
        digits=bunch.target.astype(np.int64),
    )


def draw(
    ink: npt.NDArray[np.float32],
    *,
    size_px: int,
    left_px: float,
    top_px: float,
    angle_deg: float,
    paper: int,
    generator: np.random.Generator,
) -> Pixels:
    """Return one picture of a digit, uint8 `[HEIGHT, WIDTH, 3]`: light ink on dark paper.

    Args:
        ink: float32 `[8, 8]` from 0 to 1.
        size_px: Side of the drawn digit.
        left_px: Its left edge.
        top_px: Its upper edge.
        angle_deg: Its rotation, counter-clockwise.
        paper: Grey level of the background, 0-255.
        generator: Of the grain.
    """
    digit = Image.fromarray((ink * 255).astype(np.uint8)).resize(
        (size_px, size_px), Image.Resampling.BICUBIC
    )
    digit = digit.rotate(angle_deg, resample=Image.Resampling.BILINEAR)
    canvas = Image.new("L", (WIDTH, HEIGHT), paper)
    canvas.paste(240, (round(left_px), round(top_px)), mask=digit)
    grey = np.asarray(canvas) + generator.normal(0.0, GRAIN, size=(HEIGHT, WIDTH))
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def draw_still(ink: npt.NDArray[np.float32], generator: np.random.Generator) -> Pixels:
    """Return one still of a digit at a random place, size and angle."""
    size = int(generator.integers(*SIZES_PX))
    return draw(
        ink,
        size_px=size,
        left_px=float(generator.uniform(0, WIDTH - size)),
        top_px=float(generator.uniform(0, HEIGHT - size)),
        angle_deg=float(generator.uniform(-10, 10)),
        paper=int(generator.integers(10, 60)),
        generator=generator,
    )


def draw_clip(
    ink: npt.NDArray[np.float32], num_frames: int, generator: np.random.Generator
) -> list[Pixels]:
    """Return a digit that drifts across the picture, `num_frames` pictures."""
    size = int(generator.integers(*SIZES_PX))
    room = np.array([WIDTH - size, HEIGHT - size], dtype=np.float64)
    start, end = generator.uniform(0, 1, size=(2, 2)) * room
    tilt_from, tilt_to = generator.uniform(-12, 12, size=2)
    paper = int(generator.integers(10, 60))
    frames = []
    for progress in np.linspace(0.0, 1.0, num_frames):
        left, top = start + (end - start) * progress
        frames.append(
            draw(
                ink,
                size_px=size,
                left_px=float(left),
                top_px=float(top),
                angle_deg=float(tilt_from + (tilt_to - tilt_from) * progress),
                paper=paper,
                generator=generator,
            )
        )
    return frames
