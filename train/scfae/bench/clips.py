"""Clips for the benchmark of extraction: moving pictures with sound, H.264 and AAC, from a seed."""

from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

WIDTH: Final = 320
HEIGHT: Final = 240
FRAME_RATE_HZ: Final = 25
SAMPLE_RATE_HZ: Final = 16_000
_SOUND_BLOCK = 1024


def write_clips(folder: Path, count: int, *, seconds: float, seed: int = 0) -> list[Path]:
    """Write clips into a folder; return their paths.

    Args:
        folder: Where.
        count: How many.
        seconds: Length of each.
        seed: Decides the contents.
    """
    paths = [folder / f"clip-{i:04d}.mp4" for i in range(count)]
    for number, path in enumerate(paths):
        _write(path, np.random.default_rng([seed, number]), seconds)
    return paths


def _write(path: Path, random: np.random.Generator, seconds: float) -> None:
    import av

    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=FRAME_RATE_HZ)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound: Any = container.add_stream("aac", rate=SAMPLE_RATE_HZ)
        sound.layout = "mono"
        # A textured picture that drifts, so that there is something to predict and to encode.
        texture = random.integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
        picture = texture.repeat(8, axis=0).repeat(8, axis=1)
        speed = random.integers(1, 6, 2)
        for i in range(round(seconds * FRAME_RATE_HZ)):
            pixels = np.roll(picture, tuple(i * speed), axis=(0, 1))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        times = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        pitch_hz = random.uniform(100, 300)
        wave = 0.3 * np.sin(2 * np.pi * pitch_hz * times) + 0.05 * random.standard_normal(
            len(times)
        )
        for start in range(0, len(wave), _SOUND_BLOCK):
            block = wave[None, start : start + _SOUND_BLOCK].astype(np.float32)
            frame_of_sound = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame_of_sound.sample_rate = SAMPLE_RATE_HZ
            frame_of_sound.pts = start
            frame_of_sound.time_base = Fraction(1, SAMPLE_RATE_HZ)
            container.mux(sound.encode(frame_of_sound))
        container.mux(sound.encode(None))
