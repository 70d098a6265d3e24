"""Sound files of every sample format, written byte by byte."""

import struct
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

SampleFormat = Literal["u8", "s16", "s24", "s32", "f32", "f64"]
BITS: Final = {"u8": 8, "s16": 16, "s24": 24, "s32": 32, "f32": 32, "f64": 64}


def pcm(samples: npt.NDArray[np.float64], form: SampleFormat) -> bytes:
    """Return sound `[channels, samples]` in [-1, 1) as interleaved bytes, rounded to the format."""
    flat = samples.T.ravel()
    if form in ("f32", "f64"):
        return flat.astype("<f4" if form == "f32" else "<f8").tobytes()
    bits = BITS[form]
    scale = float(1 << (bits - 1))
    whole = np.clip(np.round(flat * scale), -scale, scale - 1).astype("<i8")
    if form == "u8":
        return (whole + 128).astype("u1").tobytes()
    return whole.view("u1").reshape(-1, 8)[:, : bits // 8].tobytes()


def write_pcm(
    path: Path, samples: npt.NDArray[np.float64], form: SampleFormat, rate_hz: int = 16_000
) -> Path:
    """Write sound `[channels, samples]` as a WAV of a sample format."""
    data = pcm(samples, form)
    channels, wide = len(samples), BITS[form] // 8
    tag = 3 if form in ("f32", "f64") else 1
    head = struct.pack(
        "<HHIIHH", tag, channels, rate_hz, rate_hz * channels * wide, channels * wide, BITS[form]
    )
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head
    body += b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path
