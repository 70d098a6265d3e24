"""Media made on the spot by PyAV's own encoders: whole files, odd files and broken ones.

Frame `i` of a video is grey `frame_level(i)` with a white top left quarter, so that which frame was
decoded, and which way up, can be read off the pixels. Sound is a sine of 440 Hz. Encoders are not
bit-reproducible: compare what is decoded, never the files.
"""

import os
import struct
import wave
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

MILLISECOND = Fraction(1, 1000)
TONE_HZ = 440.0
_IDENTITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
# (x, y) -> (-y, x) with y downwards: what was top left is shown top right.
_TURNS = {
    90: struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000),
    180: struct.pack(">9i", -0x10000, 0, 0, 0, -0x10000, 0, 0, 0, 0x40000000),
    270: struct.pack(">9i", 0, -0x10000, 0, 0x10000, 0, 0, 0, 0, 0x40000000),
}


def frame_level(index: int) -> int:
    """Return the grey of frame `index`, far enough from its neighbours' to survive the codec."""
    return 30 + (index * 37) % 160


def picture(index: int, width: int = 64, height: int = 48) -> npt.NDArray[np.uint8]:
    """Return frame `index` as uint8 `[height, width, 3]`."""
    pixels = np.full((height, width, 3), frame_level(index), dtype=np.uint8)
    pixels[: height // 2, : width // 2] = 255
    return pixels


def tone(seconds: float, rate_hz: int, channels: int = 1) -> npt.NDArray[np.float32]:
    """Return a sine as float32 `[channels, samples]`, the same in every channel."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    sine = 0.5 * np.sin(2 * np.pi * TONE_HZ * time_s)
    return np.tile(sine.astype(np.float32), (channels, 1))


def write_clip(
    path: Path,
    *,
    frames: int = 25,
    fps: int = 25,
    size: tuple[int, int] = (64, 48),
    times_ms: Sequence[int] | None = None,
    video: bool = True,
    sound_s: float | None = 1.0,
    sound_starts_s: float = 0.0,
    rate_hz: int = 48_000,
    layout: str = "stereo",
    container: str | None = None,
) -> Path:
    """Write H.264 and AAC.

    Args:
        path: The suffix names the container unless `container` does.
        frames: How many pictures.
        fps: Their rate.
        size: Width and height.
        times_ms: When each picture is shown, instead of `fps`.
        video: Whether there are pictures.
        sound_s: Length of the sound; None for none.
        sound_starts_s: Time of its first sample.
        rate_hz: Its rate.
        layout: mono, stereo, 5.1.
        container: Format name of FFmpeg.
    """
    with av.open(str(path), "w", format=container) as output:
        pictures = output.add_stream("libx264", rate=fps) if video else None
        if pictures is not None:
            pictures.width, pictures.height, pictures.pix_fmt = *size, "yuv420p"
            pictures.codec_context.thread_count = 1
            pictures.options = {"preset": "ultrafast", "g": "10"}
            pictures.codec_context.time_base = MILLISECOND
        sound = None
        if sound_s is not None:
            sound = output.add_stream("aac", rate=rate_hz, layout=layout)
        if pictures is not None:
            shown = times_ms or [round(1000 * i / fps) for i in range(frames)]
            for i, time_ms in enumerate(shown):
                frame = av.VideoFrame.from_ndarray(picture(i, *size), format="rgb24")
                frame.pts, frame.time_base = time_ms, MILLISECOND
                output.mux(pictures.encode(frame))
            output.mux(pictures.encode(None))
        if sound is not None and sound_s is not None:
            channels = len(av.AudioLayout(layout).channels)
            samples = tone(sound_s, rate_hz, channels)
            for start in range(0, samples.shape[1], 1024):
                part = np.ascontiguousarray(samples[:, start : start + 1024])
                chunk = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
                chunk.sample_rate = rate_hz
                chunk.pts = start + round(sound_starts_s * rate_hz)
                chunk.time_base = Fraction(1, rate_hz)
                output.mux(sound.encode(chunk))
            output.mux(sound.encode(None))
    return path


def write_wav(path: Path, seconds: float = 1.0, rate_hz: int = 16_000, channels: int = 1) -> Path:
    """Write a 16-bit sine."""
    samples = (tone(seconds, rate_hz, channels).T * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.tobytes())
    return path


def write_float_wav(path: Path, samples: npt.NDArray[np.float32], rate_hz: int = 16_000) -> Path:
    """Write mono samples as 32-bit floats, whatever they are."""
    data = samples.astype("<f4").tobytes()
    form = struct.pack("<HHIIHH", 3, 1, rate_hz, rate_hz * 4, 4, 32)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def write_covered_mp3(path: Path) -> Path:
    """Write an MP3 with cover art, which FFmpeg presents as a video stream of one picture."""
    cover = path.with_suffix(".cover.jpg")
    Image.fromarray(picture(0)).save(cover)
    with av.open(str(path), "w", format="mp3", options={"id3v2_version": "0"}) as output:
        stream = output.add_stream("libmp3lame", rate=44_100, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(1.0, 44_100), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 44_100, 0, Fraction(1, 44_100)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    body = b"\0image/jpeg\0\x03\0" + cover.read_bytes()
    tag = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    size = bytes((len(tag) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\0\0" + size + tag + path.read_bytes())
    cover.unlink()
    return path


def write_rotated(path: Path, degrees: int = 90) -> Path:
    """Write a clip whose header says to show it turned clockwise."""
    content = write_clip(path, sound_s=None).read_bytes()
    track = content.index(b"tkhd")
    place = content.index(_IDENTITY, track)
    path.write_bytes(content[:place] + _TURNS[degrees] + content[place + len(_IDENTITY) :])
    return path


def write_changing_size(path: Path) -> Path:
    """Write a transport stream of ten frames of 64 x 48, then ten of 96 x 64."""
    parts = [path.with_suffix(f".{i}.ts") for i in range(2)]
    for part, size in zip(parts, ((64, 48), (96, 64)), strict=True):
        write_clip(part, frames=10, size=size, sound_s=None)
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()
    return path


def write_png_claiming(path: Path, width: int, height: int) -> Path:
    """Write a PNG of a few bytes whose header claims any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def write_exif_rotated(path: Path) -> Path:
    """Write a 64 x 48 JPEG to be shown turned by 90 degrees clockwise (orientation 6)."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(0)).save(path, exif=exif, quality=95)
    return path


def write_pipe(path: Path) -> Path:
    """Make a named pipe that nobody writes to: opening it never returns."""
    os.mkfifo(path)
    return path


def keep_share(path: Path, share: float) -> Path:
    """Cut a file off."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def move_index_first(path: Path, write: Callable[..., Path], **options: Any) -> Path:
    """Write an mp4 with its index in front, so that a cut costs frames and not the whole file."""
    write(path, **options)
    first = path.with_suffix(".first.mp4")
    with (
        av.open(str(path)) as source,
        av.open(str(first), "w", options={"movflags": "faststart"}) as output,
    ):
        streams = {s.index: output.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                output.mux(packet)
    first.replace(path)
    return path


def flip_bytes(path: Path, start_share: float, end_share: float, every: int = 97) -> Path:
    """Invert every n-th byte between two shares of a file."""
    content = bytearray(path.read_bytes())
    for place in range(int(len(content) * start_share), int(len(content) * end_share), every):
        content[place] ^= 0xFF
    path.write_bytes(bytes(content))
    return path
