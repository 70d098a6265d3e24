"""One decode of one file, feeding every recipe: containers by PyAV, images by Pillow.

Every class of odd file has a rule: what is no regular file is refused before it is opened (a named
pipe would hang), cover art is no video, damage inside a file costs the packets it hits, frames
without a time get one by interpolation, rotation is applied, and what is lost is said in seconds.

Rules for sound: the default stream, resampled by libswresample, then the mean of all channels.
Rules for pictures: the default stream, converted to RGB by libswscale; an image's EXIF orientation
is applied and transparency is drawn on black.
"""

import math
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from scfae.store.atomic import sha256_file
from scfae.store.errors import DecodeError, MediaError, MediaNotFound
from scfae.store.receipt import Status

from .limits import Limits
from .manifest import media_kind
from .recipe import AudioChunk, Cutter, Recipe, StreamInfo, VideoFrame, Window

_QUARTER_TURNS = {0: 0, 90: 1, 180: 2, 270: 3}
# A container that ends this much before its header's promise has lost something.
_LOST_S = 0.5
_LOST_SHARE = 0.05


@dataclass(slots=True)
class Fate:
    """What became of one file for one encoder.

    Attributes:
        status: ok, partial, missing or failed.
        reason: Why, for everything but ok.
        windows: The encoder's inputs, in order; none for missing and failed.
    """

    status: Status = "ok"
    reason: str | None = None
    windows: list[Window] = field(default_factory=list)


Part = dict[str, list[Window]]
"""Windows of one file by recipe name, sent ahead so that memory does not grow with the file."""

Emit = Callable[[Part], None]
_PART_BYTES = 16 << 20


@dataclass(slots=True)
class Decoded:
    """One file, decoded once: the end of it, where parts were sent ahead.

    Attributes:
        fates: By recipe name.
        sha256: Of the file; None if it cannot be read.
        duration_s: Of what was decoded; None if nothing was.
    """

    fates: dict[str, Fate]
    sha256: str | None = None
    duration_s: float | None = None


def decode(
    path: str | Path,
    recipes: Mapping[str, Recipe],
    limits: Limits | None = None,
    *,
    emit: Emit | None = None,
) -> Decoded:
    """Decode a file once and cut it for every recipe.

    Args:
        path: A video, a sound or an image.
        recipes: By name, e.g. of the column.
        limits: The file's bounds; its time limit is the caller's to enforce.
        emit: Receives windows whenever some megabytes have come together; what it received is not
            in the result.

    Returns:
        A fate for every recipe. Nothing is raised for a bad file.
    """
    path = Path(path)
    try:
        check_regular(path)
    except MediaError as error:
        return Decoded({name: Fate("failed", str(error)) for name in recipes})
    try:
        digest = sha256_file(path)
    except OSError as error:
        reason = f"cannot be read ({error.strerror}): {path}"
        return Decoded({name: Fate("failed", reason) for name in recipes})
    try:
        fates, duration_s = _decode(path, recipes, limits or Limits(), emit)
    except MediaError as error:
        return Decoded({name: Fate("failed", str(error)) for name in recipes}, digest)
    return Decoded(fates, digest, duration_s)


def media_sha256(path: Path) -> str | None:
    """Return the digest of a media file, None if it is not a regular file that can be read."""
    try:
        check_regular(path)
        return sha256_file(path)
    except (MediaError, OSError):
        return None


def check_regular(path: Path) -> None:
    """Check that a path is a regular file that holds something.

    Raises:
        MediaNotFound: If it is not there.
        DecodeError: If it is a folder, a pipe, a device, or empty.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise MediaNotFound(f"file not found: {path}") from None
    except OSError as error:
        raise DecodeError(f"cannot be opened ({error.strerror}): {path}") from None
    except ValueError:  # a zero byte
        raise DecodeError(f"no file can have this path: {str(path)!r}") from None
    if not stat.S_ISREG(status.st_mode):
        raise DecodeError(f"not a regular file: {path}")
    if status.st_size == 0:
        raise DecodeError(f"the file is empty: {path}")


def _decode(
    path: Path, recipes: Mapping[str, Recipe], limits: Limits, emit: Emit | None
) -> tuple[dict[str, Fate], float | None]:
    if media_kind(path) == "image":
        return _decode_image(path, recipes, limits), None
    return _Container(path, recipes, limits, emit=emit).run()


def _decode_image(path: Path, recipes: Mapping[str, Recipe], limits: Limits) -> dict[str, Fate]:
    from .picture import read_picture

    fates = {}
    pixels = read_picture(path, limits)
    for name, recipe in recipes.items():
        if recipe.kind == "audio":
            fates[name] = Fate("missing", "an image has no sound")
            continue
        cutter = recipe.begin(StreamInfo("image"))
        windows = cutter.push(VideoFrame(pixels, 0.0, 0.0)) + cutter.end()
        fates[name] = Fate(windows=windows)
    return fates


class _Container:
    """Decodes one container: both streams in one pass, packet by packet."""

    def __init__(
        self,
        path: Path,
        recipes: Mapping[str, Recipe],
        limits: Limits,
        *,
        emit: Emit | None = None,
    ) -> None:
        self._path = path
        self._emit = emit
        self._limits = limits
        self._recipes = recipes
        self._cutters: dict[str, Cutter] = {}
        self._windows: Part = {name: [] for name in recipes}
        self._has_windows = dict.fromkeys(recipes, False)
        self._held_bytes = 0
        self._pending: VideoFrame | None = None
        self._damaged_packets = {"video": 0, "audio": 0}
        self._seen_s: dict[str, tuple[float, float]] = {}
        self._refused: dict[str, str] = {}
        self._frame_s = 0.04

    def run(self) -> tuple[dict[str, Fate], float | None]:
        """Return each recipe's fate, and the decoded duration in seconds."""
        try:
            container = av.open(str(self._path), mode="r", metadata_errors="ignore")
        except av.error.FFmpegError as error:
            raise DecodeError(f"not readable as media ({_why(error)}): {self._path}") from None
        with container:
            streams = self._streams(container)
            if streams:
                self._read(container, streams)
        fates = {name: self._fate(name, streams) for name in self._recipes}
        ends = [end - start for start, end in self._seen_s.values()]
        return fates, max(ends, default=None)

    def _streams(self, container: Any) -> dict[str, Any]:
        """Return the stream of each kind that a recipe wants."""
        wanted = {"audio" if r.kind == "audio" else "video" for r in self._recipes.values()}
        found = {}
        for kind in sorted(wanted):
            candidates = [
                stream
                for stream in getattr(container.streams, kind)
                # Cover art is a "video" of one picture.
                if not stream.disposition & av.stream.Disposition.attached_pic
                and stream.codec_context is not None
            ]
            default = [s for s in candidates if s.disposition & av.stream.Disposition.default]
            if candidates:
                found[kind] = (default or candidates)[0]
                found[kind].codec_context.thread_count = 1
        return found

    def _read(self, container: Any, streams: dict[str, Any]) -> None:
        rates = {}
        for name, recipe in self._recipes.items():
            kind = "audio" if recipe.kind == "audio" else "video"
            if kind not in streams:
                continue
            rate = streams[kind].average_rate if kind == "video" else None
            info = StreamInfo(recipe.kind, float(rate) if rate else None, recipe.sample_rate_hz)
            self._cutters[name] = recipe.begin(info)
            if recipe.sample_rate_hz is not None and kind == "audio":
                rates[recipe.sample_rate_hz] = _Resampler(recipe.sample_rate_hz)
        if "video" in streams and streams["video"].average_rate:
            self._frame_s = 1.0 / float(streams["video"].average_rate)
        kinds = {stream.index: kind for kind, stream in streams.items()}
        for packet in self._packets(container, list(streams.values())):
            kind = kinds[packet.stream.index]
            if kind in self._refused:
                continue
            for frame in self._frames(packet, kind):
                if kind == "video":
                    self._video(frame)
                else:
                    self._audio(frame, rates)
        if self._pending is not None:
            self._push_video(self._pending)
        for rate, resampler in rates.items():
            self._push_audio(rate, resampler.flush())
        for name, cutter in self._cutters.items():
            self._keep(name, cutter.end())

    def _packets(self, container: Any, streams: list[Any]) -> Iterator[Any]:
        packets = container.demux(streams)
        while True:
            try:
                yield next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError:
                # The container itself breaks off: what came before stands.
                for kind in self._damaged_packets:
                    self._damaged_packets[kind] += 1
                return

    def _frames(self, packet: Any, kind: str) -> list[Any]:
        try:
            return list(packet.decode())
        except av.error.EOFError:
            return []
        except av.error.FFmpegError:
            self._damaged_packets[kind] += 1
            return []

    def _video(self, frame: Any) -> None:
        if frame.width * frame.height > self._limits.max_pixels:
            self._refused["video"] = f"a frame of {frame.width} x {frame.height} is too large"
            return
        # PyAV hands out a view into padded lines where the width is odd.
        pixels = np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
        # Rotation metadata says how far to turn counter-clockwise; the pixels come unturned.
        turns = _QUARTER_TURNS.get(round(getattr(frame, "rotation", 0)) % 360, 0)
        if turns:
            pixels = np.ascontiguousarray(np.rot90(pixels, turns))
        start_s = None if frame.pts is None else float(frame.pts * frame.time_base)
        last = self._pending
        if start_s is None or (last is not None and start_s <= last.start_s):
            # No time, or one that jumps back: it follows the last frame.
            start_s = 0.0 if last is None else last.start_s + self._frame_s
        if last is not None:
            self._push_video(VideoFrame(last.pixels, last.start_s, start_s))
        duration = getattr(frame, "duration", 0) or 0
        length_s = float(duration * frame.time_base) if duration else self._frame_s
        self._pending = VideoFrame(pixels, start_s, start_s + length_s)

    def _push_video(self, frame: VideoFrame) -> None:
        self._extend("video", frame.start_s, frame.end_s)
        for name, cutter in self._cutters.items():
            if self._recipes[name].kind != "audio":
                self._keep(name, cutter.push(frame))

    def _audio(self, frame: Any, resamplers: Mapping[int, "_Resampler"]) -> None:
        for rate, resampler in resamplers.items():
            try:
                chunks = resampler.push(frame)
            except (av.error.FFmpegError, ValueError):
                self._damaged_packets["audio"] += 1
                continue
            self._push_audio(rate, chunks)

    def _push_audio(self, rate: int, chunks: list[AudioChunk]) -> None:
        for chunk in chunks:
            if not np.isfinite(chunk.samples).all():
                self._refused["audio"] = "the sound holds NaN or infinity"
                return
            self._extend("audio", chunk.start_s, chunk.start_s + len(chunk.samples) / rate)
            for name, cutter in self._cutters.items():
                if self._recipes[name].sample_rate_hz == rate:
                    self._keep(name, cutter.push(chunk))

    def _keep(self, name: str, windows: list[Window]) -> None:
        for window in windows:
            self._windows[name].append(window)
            self._has_windows[name] = True
            self._held_bytes += window.array.nbytes
            if self._emit is not None and self._held_bytes >= _PART_BYTES:
                self._emit(self._windows)
                self._windows = {name: [] for name in self._recipes}
                self._held_bytes = 0

    def _extend(self, kind: str, start_s: float, end_s: float) -> None:
        first, last = self._seen_s.get(kind, (start_s, end_s))
        self._seen_s[kind] = (min(first, start_s), max(last, end_s))

    def _fate(self, name: str, streams: Mapping[str, Any]) -> Fate:
        kind = "audio" if self._recipes[name].kind == "audio" else "video"
        if kind not in streams:
            return Fate("missing", f"no {kind} stream")
        if kind in self._refused:
            return Fate("failed", f"{self._refused[kind]}: {self._path}")
        damaged = self._damaged_packets[kind]
        windows = self._windows[name]
        if kind not in self._seen_s:
            if damaged:
                return Fate("failed", f"no {kind} could be decoded: {self._path}")
            return Fate("missing", f"the {kind} stream is empty")
        if not self._has_windows[name]:
            return Fate("missing", f"the {kind} is too short for one window")
        lost = self._lost(kind, streams[kind])
        if damaged or lost:
            packets = f"{damaged} damaged packets" if damaged else ""
            return Fate("partial", ", ".join(filter(None, [packets, lost])), windows)
        return Fate(windows=windows)

    def _lost(self, kind: str, stream: Any) -> str:
        """Return what is missing at the end by the stream's own header, empty if nothing is."""
        if not stream.duration or stream.time_base is None:
            return ""
        promised_s = float(stream.duration * Fraction(stream.time_base))
        start, end = self._seen_s[kind]
        decoded_s = end - start
        if promised_s - decoded_s <= max(_LOST_S, _LOST_SHARE * promised_s):
            return ""
        return f"{decoded_s:.2f} s of {promised_s:.2f} s decoded"


class _Resampler:
    """libswresample to mono float32 at one rate, with the time of every chunk."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._resampler: Any = None
        self._layout: tuple[Any, ...] = ()
        self._next_s: float | None = None

    def push(self, frame: Any) -> list[AudioChunk]:
        """Return the sound of a decoded frame."""
        layout = (frame.format.name, frame.layout.name, frame.sample_rate)
        chunks = []
        if layout != self._layout:
            # Format, channels or rate change in mid-stream: begin anew where this left off.
            chunks = self.flush()
            # Channels are kept here: libswresample's own mix to mono is 3 dB too loud for floats.
            self._resampler = av.AudioResampler("fltp", frame.layout.name, self._rate_hz)
            self._layout = layout
        if self._next_s is None:
            start = 0.0 if frame.pts is None else float(frame.pts * frame.time_base)
            self._next_s = start if math.isfinite(start) else 0.0
        # Times are counted from the first sample: gaps in pts of a few samples are rounding.
        frame.pts = None
        return chunks + self._take(self._resampler.resample(frame))

    def flush(self) -> list[AudioChunk]:
        """Return what the filter still holds."""
        if self._resampler is None:
            return []
        resampler, self._resampler = self._resampler, None
        return self._take(resampler.resample(None))

    def _take(self, frames: list[Any]) -> list[AudioChunk]:
        chunks = []
        for frame in frames:
            samples = frame.to_ndarray().mean(axis=0, dtype=np.float32)
            if len(samples) and self._next_s is not None:
                chunks.append(AudioChunk(samples, self._next_s))
                self._next_s += len(samples) / self._rate_hz
        return chunks


def _why(error: av.error.FFmpegError) -> str:
    return str(error.strerror or type(error).__name__)
