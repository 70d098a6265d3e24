"""A folder with a file of every class of odd media, and what must become of each.

`FILES` says how each is made, and its status and a part of the reason in a column of pictures and
in one of speech. Damage overwrites a stretch of a file, so that packets are lost for sure.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from . import media_kit as kit
from .sound_kit import write_pcm

SPARSE_BYTES = 1 << 40


def tone(seconds: float = 0.3, rate_hz: int = 16_000, channels: int = 1) -> Any:
    return kit.tone(seconds, rate_hz, channels).astype(np.float64)


def write_pictures(
    path: Path,
    codec: str,
    pix_fmt: str = "yuv420p",
    *,
    size: tuple[int, int] = (64, 48),
    options: dict[str, str] | None = None,
) -> Path:
    """Write ten pictures by any encoder."""
    os.environ.setdefault("SVT_LOG", "0")  # else it prints pages
    policy = os.sched_getscheduler(0)
    try:
        _encode_pictures(path, codec, pix_fmt, size, options or {})
    finally:
        # To root, SVT-AV1 gives the thread that opens it the real-time class at its highest
        # priority: this process and all that it starts would keep the processors from others.
        os.sched_setscheduler(0, policy, os.sched_param(0))
    return path


def _encode_pictures(
    path: Path, codec: str, pix_fmt: str, size: tuple[int, int], options: dict[str, str]
) -> None:
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.thread_count = 1
        for i in range(10):
            frame = av.VideoFrame.from_ndarray(kit.picture(i, *size), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def write_sound(path: Path, codec: str, rate_hz: int = 48_000, form: str = "fltp") -> Path:
    """Write half a second of a tone by any encoder."""
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=rate_hz, layout="mono")
        samples = kit.tone(0.5, rate_hz)
        if form.startswith("s16"):
            samples = (samples * 32767).astype(np.int16)
        for start in range(0, samples.shape[1], 960):
            part = np.ascontiguousarray(samples[:, start : start + 960])
            frame = av.AudioFrame.from_ndarray(part, format=form, layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def write_two_streams(path: Path) -> Path:
    """Write two streams of pictures and two of sound; the second of each is the default."""
    parts = [kit.write_clip(path.with_suffix(f".{i}.tmp"), container="matroska") for i in range(2)]
    with ExitStack() as stack:
        output = stack.enter_context(av.open(str(path), "w"))
        sources = [stack.enter_context(av.open(str(part))) for part in parts]
        streams = [
            {s.index: output.add_stream_from_template(s) for s in source.streams}
            for source in sources
        ]
        for number, copies in enumerate(streams):
            for copy in copies.values():
                copy.disposition = av.stream.Disposition(number)  # 1 is the default
        for source, copies in zip(sources, streams, strict=True):
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = copies[packet.stream.index]
                    output.mux(packet)
    for part in parts:
        part.unlink()
    return path


def write_subtitled(path: Path) -> Path:
    """Write pictures, sound and a subtitle."""
    part = kit.write_clip(path.with_suffix(".tmp"), container="matroska")
    with av.open(str(part)) as source, av.open(str(path), "w") as output:
        text = output.add_stream("ass")
        text.codec_context.extradata = b"[Script Info]\nScriptType: v4.00+\n"
        streams = {s.index: output.add_stream_from_template(s) for s in source.streams}
        line = av.Packet(b"0,0,Default,,0,0,0,,hello")
        line.stream, line.pts, line.dts, line.duration = text, 0, 0, 500
        line.time_base = kit.MILLISECOND
        output.mux(line)
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                output.mux(packet)
    part.unlink()
    return path


def write_early(path: Path, early_s: float = 0.2) -> Path:
    """Write pictures and sound that begin before time 0, as a container keeps it."""
    part = kit.write_clip(path.with_suffix(".tmp.mkv"))
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(part)) as source, av.open(str(path), "w", options=options) as output:
        streams = {s.index: output.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                shift = round(early_s / packet.time_base)
                packet.pts = (packet.pts or 0) - shift
                packet.dts -= shift
                packet.stream = streams[packet.stream.index]
                output.mux(packet)
    part.unlink()
    return path


def write_joined(path: Path) -> Path:
    """Write a transport stream of two recordings: in the second, time begins anew."""
    parts = [kit.write_clip(path.with_suffix(f".{i}.ts")) for i in range(2)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()
    return path


def overwrite(path: Path, start_share: float, end_share: float) -> Path:
    """Put ones between two shares of a file: no decoder can read what was there."""
    content = bytearray(path.read_bytes())
    start, end = int(len(content) * start_share), int(len(content) * end_share)
    content[start:end] = b"\xff" * (end - start)
    path.write_bytes(bytes(content))
    return path


def long_clip(path: Path) -> Path:
    """Write four seconds with the index in front, so that damage hits frames."""
    return kit.move_index_first(path, kit.write_clip, frames=100, sound_s=4.0)


def media_start_share(path: Path) -> float:
    """Return where in an mp4 its frames begin."""
    content = path.read_bytes()
    return (content.index(b"mdat") + 4) / len(content)


def _damaged(start: float, end: float) -> Callable[[Path], object]:
    """Return a maker of a clip whose frames are damaged between two shares of them."""

    def make(path: Path) -> None:
        first = media_start_share(long_clip(path))
        overwrite(path, first + (1 - first) * start, first + (1 - first) * end)

    return make


def _image(mode: str, **options: Any) -> Callable[[Path], object]:
    return lambda path: Image.fromarray(kit.picture(1)).convert(mode).save(path, **options)


def _sixteen_bits(path: Path) -> None:
    Image.fromarray(np.full((48, 64), 0x8000, dtype=np.uint16)).save(path)


def _animation(path: Path) -> None:
    first, *others = (Image.fromarray(kit.picture(i)) for i in range(3))
    first.save(path, save_all=True, append_images=others)


def _cut_image(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    kit.keep_share(path, 0.5)


def _not_finite(value: float) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        samples = tone()
        samples[0, 9] = value
        write_pcm(path, samples, "f32")

    return make


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(SPARSE_BYTES)


def _unreadable(path: Path) -> None:
    kit.write_wav(path, 0.3)
    path.chmod(0)


def _mp4(**options: Any) -> Callable[[Path], object]:
    return lambda path: kit.write_clip(path, **{"frames": 10, "sound_s": 0.4} | options)


def _cut_wav(path: Path) -> None:
    kit.keep_share(kit.write_wav(path, 3.0), 0.6)


OK = ("ok", "")
NO_VIDEO = ("missing", "no video stream")
NO_SOUND = ("missing", "no audio stream")
NO_PICTURES = ("missing", "the sample has no video or image")
NO_SPEECH = ("missing", "the sample has no audio or video")
SHORT = ("missing", "too short")
Fates = tuple[tuple[str, str], tuple[str, str]]


def both(status: str, reason: str) -> Fates:
    return ((status, reason), (status, reason))


SOUND_OK: Fates = (NO_PICTURES, OK)
IMAGE_OK: Fates = (OK, NO_SPEECH)
PICTURES_OK: Fates = (OK, NO_SOUND)

Make = Callable[[Path], object]
FILES: dict[str, tuple[Make, Fates]] = {
    # Whole, in the containers and codecs of the field.
    "plain.mp4": (_mp4(), (OK, OK)),
    "matroska.mkv": (_mp4(), (OK, OK)),
    "quicktime.mov": (_mp4(), (OK, OK)),
    "broadcast.ts": (_mp4(), (OK, OK)),
    "silent.mp4": (_mp4(sound_s=None), PICTURES_OK),
    "heard.mp4": (_mp4(video=False), (NO_VIDEO, OK)),
    "vp8.webm": (lambda p: write_pictures(p, "libvpx"), PICTURES_OK),
    "vp9.webm": (lambda p: write_pictures(p, "libvpx-vp9"), PICTURES_OK),
    "av1.mkv": (lambda p: write_pictures(p, "libsvtav1", options={"preset": "12"}), PICTURES_OK),
    "hevc.mp4": (
        lambda p: write_pictures(p, "libx265", options={"x265-params": "log-level=none"}),
        PICTURES_OK,
    ),
    "mpeg4.avi": (lambda p: write_pictures(p, "mpeg4"), PICTURES_OK),
    "grey.mkv": (lambda p: write_pictures(p, "ffv1", "gray"), PICTURES_OK),
    "full-chroma.mp4": (lambda p: write_pictures(p, "libx264", "yuv444p"), PICTURES_OK),
    "ten-bit.mkv": (lambda p: write_pictures(p, "ffv1", "yuv420p10le"), PICTURES_OK),
    "odd-size.mkv": (
        lambda p: write_pictures(p, "ffv1", "yuv444p", size=(63, 47)),
        PICTURES_OK,
    ),
    "one-frame.mp4": (_mp4(frames=1, sound_s=None), PICTURES_OK),
    # Times, sizes and streams that are not as one thinks.
    "uneven.mkv": (_mp4(times_ms=[0, 40, 80, 500, 1500], sound_s=None), PICTURES_OK),
    "no-times.mp4": (_mp4(sound_s=None, container="h264"), PICTURES_OK),
    "early.mkv": (write_early, (OK, OK)),
    "edit-list.mp4": (write_early, (OK, OK)),
    "late-sound.mkv": (_mp4(frames=50, sound_starts_s=0.7), (OK, OK)),
    "rotated.mp4": (kit.write_rotated, PICTURES_OK),
    "changing-size.ts": (kit.write_changing_size, PICTURES_OK),
    "joined.ts": (write_joined, (OK, OK)),
    "cover.mkv": (kit.write_covered_mp3, (NO_VIDEO, OK)),
    "covered-song.mp3": (kit.write_covered_mp3, SOUND_OK),
    "two-streams.mkv": (
        write_two_streams,
        (
            ("ok", "video stream 2 of 2 was taken (the default)"),
            ("ok", "audio stream 2 of 2 was taken (the default)"),
        ),
    ),
    "subtitled.mkv": (write_subtitled, (OK, OK)),
    # Sound in every form.
    "eight-bit.wav": (lambda p: write_pcm(p, tone(), "u8"), SOUND_OK),
    "sixteen-bit.wav": (lambda p: write_pcm(p, tone(), "s16"), SOUND_OK),
    "twenty-four-bit.wav": (lambda p: write_pcm(p, tone(), "s24"), SOUND_OK),
    "thirty-two-bit.wav": (lambda p: write_pcm(p, tone(), "s32"), SOUND_OK),
    "float.wav": (lambda p: write_pcm(p, tone(), "f32"), SOUND_OK),
    "double.wav": (lambda p: write_pcm(p, tone(), "f64"), SOUND_OK),
    "surround.wav": (lambda p: write_pcm(p, tone(channels=6), "s16"), SOUND_OK),
    "telephone.wav": (lambda p: write_pcm(p, tone(rate_hz=8_000), "s16", 8_000), SOUND_OK),
    "studio.flac": (lambda p: write_sound(p, "flac", 96_000, "s16"), SOUND_OK),
    "song.mp3": (lambda p: write_sound(p, "libmp3lame", 44_100), SOUND_OK),
    "call.opus": (lambda p: write_sound(p, "libopus", form="flt"), SOUND_OK),
    "priming.m4a": (lambda p: write_sound(p, "aac"), SOUND_OK),
    "stream.aac": (lambda p: write_sound(p, "aac"), SOUND_OK),
    "nan.wav": (_not_finite(np.nan), (NO_PICTURES, ("failed", "NaN or infinity"))),
    "infinity.wav": (_not_finite(np.inf), (NO_PICTURES, ("failed", "NaN or infinity"))),
    "no-data.wav": (
        lambda p: kit.write_wav(p, 0.0),
        (NO_PICTURES, ("missing", "the audio stream is empty")),
    ),
    "blip.wav": (lambda p: kit.write_wav(p, 0.005), (NO_PICTURES, SHORT)),
    "cut-sound.wav": (_cut_wav, (NO_PICTURES, ("partial", "lost 1.20 s at the end"))),
    # Images.
    "still.png": (_image("RGB"), IMAGE_OK),
    "photo.jpg": (_image("RGB"), IMAGE_OK),
    "turned.jpg": (kit.write_exif_rotated, IMAGE_OK),
    "palette.png": (_image("P"), IMAGE_OK),
    "alpha.png": (_image("RGBA"), IMAGE_OK),
    "black-and-white.png": (_image("1"), IMAGE_OK),
    "print.jpg": (_image("CMYK"), IMAGE_OK),
    "deep.png": (_sixteen_bits, IMAGE_OK),
    "moving.gif": (_animation, IMAGE_OK),
    "bomb.png": (
        lambda p: kit.write_png_claiming(p, 60_000, 60_000),
        (("failed", "too large"), NO_SPEECH),
    ),
    "cut-photo.jpg": (_cut_image, (("failed", "not readable as an image"), NO_SPEECH)),
    "text-image.png": (
        lambda p: p.write_text("no picture"),
        (("failed", "not readable as an image"), NO_SPEECH),
    ),
    # Damaged.
    "cut.mp4": (
        lambda p: kit.keep_share(long_clip(p), 0.6),
        both("partial", "at the end"),
    ),
    "hurt-start.mp4": (_damaged(0.0, 0.1), both("partial", "at the start")),
    "hurt-middle.mp4": (_damaged(0.4, 0.6), both("partial", "in the middle")),
    "hurt-end.mp4": (_damaged(0.9, 1.0), both("partial", "at the end")),
    "headless.mp4": (
        lambda p: kit.keep_share(kit.write_clip(p), 0.5),
        both("failed", "not readable as media"),
    ),
    "empty.mp4": (lambda p: p.touch(), both("failed", "the file is empty")),
    "text.mp4": (
        lambda p: p.write_text("no film " * 200),
        both("failed", "not readable as media"),
    ),
    # No files at all.
    "sparse.mp4": (_sparse, both("failed", "were ever written")),
    "pipe.mp4": (kit.write_pipe, both("failed", "not a regular file")),
    "folder.mp4": (lambda p: p.mkdir(), both("failed", "not a regular file")),
    "loop.mp4": (lambda p: p.symlink_to(p), both("failed", "cannot be opened")),
    "dangling.mp4": (
        lambda p: p.symlink_to(p.with_name("nowhere.mp4")),
        both("failed", "file not found"),
    ),
    "unreadable.wav": (
        _unreadable,
        SOUND_OK
        if os.geteuid() == 0  # root may read it
        else (NO_PICTURES, ("failed", "cannot be read")),
    ),
    os.fsdecode(b"not-utf8-\xff.wav"): (lambda p: kit.write_wav(p, 0.3), SOUND_OK),
    "two\nlines.wav": (lambda p: kit.write_wav(p, 0.3), SOUND_OK),
}


def make_all(folder: Path) -> None:
    """Make every file."""
    for name, (make, _) in FILES.items():
        make(folder / name)
