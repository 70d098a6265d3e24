"""One container, decoded once by PyAV: both streams in one pass, packet by packet.

A damaged packet costs itself; a container that breaks off keeps what came before. Pictures are
converted to RGB by libswscale and turned as the rotation metadata says.
"""

import errno
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import numpy.typing as npt

from scfae.store.errors import DecodeError

from .av_file import open_av
from .clock import PictureClock, SoundClock
from .decoders import DecoderName, Unsuited, pictures
from .fates import Emit, Fate
from .feeder import Feeder
from .frame_count import count_frames
from .limits import Limits, PixelBudget
from .losses import Losses
from .recipe import AudioChunk, Recipe, VideoFrame
from .resampling import Resampler
from .streams import Choice, choose, frame_length_s, losses

_QUARTER_TURNS = {0: 0, 90: 1, 180: 2, 270: 3}

Pixels = npt.NDArray[np.uint8]


class Container:
    """Decodes one file for all its recipes.

    Args:
        path: A regular file.
        recipes: By name.
        limits: The file's bounds.
        emit: Receives windows ahead of the end; None keeps them.
        decoder: Who decodes pictures.
    """

    def __init__(
        self,
        path: Path,
        recipes: Mapping[str, Recipe],
        limits: Limits,
        *,
        emit: Emit | None = None,
        decoder: DecoderName = "pyav",
    ) -> None:
        self._path = path
        self._decoder = decoder
        self._limits = limits
        self._recipes = recipes
        self._feeder = Feeder(recipes, emit)
        self._chosen: dict[str, Choice] = {}
        self._losses: dict[str, Losses] = {}
        self._refused: dict[str, str] = {}
        self._pixels = PixelBudget(limits)
        self._frames: PictureClock[tuple[Pixels, bool]] = PictureClock(0.04)
        self._pending: VideoFrame | None = None
        self._sounds = SoundClock()
        self._resamplers: dict[int, Resampler] = {}

    def run(self) -> tuple[dict[str, Fate], float | None]:
        """Return each recipe's fate, and the decoded duration in seconds.

        Raises:
            DecodeError: If it cannot be opened.
        """
        try:
            container = open_av(self._path)
        except av.error.FFmpegError as error:
            raise DecodeError(f"not readable as media ({_why(error)}): {self._path}") from None
        with container:
            for kind in sorted(self._feeder.kinds):
                choice = choose(container, kind)
                if choice is not None:
                    self._begin(container, kind, choice)
            if self._chosen:
                self._read(container)
        fates = {name: self._fate(name) for name in self._recipes}
        spans = [one.span_s for one in self._losses.values()]
        return fates, max((span[1] - span[0] for span in spans if span), default=None)

    def _begin(self, container: Any, kind: str, choice: Choice) -> None:
        stream = choice.stream
        self._chosen[kind] = choice
        account = self._losses[kind] = losses(container, stream)
        end_s = None
        if account.promised_s is not None:
            end_s = (account.start_s or 0.0) + account.promised_s
        stream.codec_context.thread_count = 1  # parallel over files instead
        if kind == "video":
            # The decoder itself refuses what is far larger, before it takes memory for it: as
            # damage, since damage is what such a size in mid-stream mostly is.
            stream.codec_context.options = {"max_pixels": str(4 * self._limits.max_pixels)}
            context = stream.codec_context
            why = self._pixels.refusal(context.width, context.height, count=0)
            if why is not None:
                self._refused[kind] = why
            self._frames = PictureClock(frame_length_s(stream), end_s)
            is_asked = self._feeder.wants_num_frames
            self._feeder.begin(
                kind,
                float(stream.average_rate) if stream.average_rate else None,
                count_frames(self._path, stream.index) if is_asked else None,
            )
        else:
            self._sounds = SoundClock(end_s)
            self._feeder.begin(kind)

    def _read(self, container: Any) -> None:
        kinds = {
            choice.stream.index: kind
            for kind, choice in self._chosen.items()
            if kind == "audio" or self._decoder == "pyav"
        }
        if "video" in self._chosen and self._decoder != "pyav":
            try:
                self._foreign_pictures(self._chosen["video"])
            except Unsuited as error:
                self._refused["video"] = f"{error}; use --decoder pyav"
        for packet in self._packets(container, list(kinds)):
            kind = kinds[packet.stream.index]
            if kind in self._refused:
                continue
            for frame in self._decode(packet, kind):
                if kind == "video":
                    self._picture(frame)
                else:
                    self._sound(frame)
        self._show(self._frames.flush())
        if self._pending is not None:
            self._feeder.push_picture(self._pending)
        for rate_hz, resampler in self._resamplers.items():
            self._hear(rate_hz, resampler.flush())
        self._feeder.end()

    def _packets(self, container: Any, indices: list[int]) -> Iterator[Any]:
        if not indices:
            return
        packets = container.demux([container.streams[index] for index in indices])
        while True:
            try:
                yield next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError as error:
                _check_memory(error)
                for index in indices:
                    self._losses[container.streams[index].type].breaks_off = True
                return

    def _decode(self, packet: Any, kind: str) -> list[Any]:
        try:
            return list(packet.decode())
        except av.error.EOFError:
            return []
        except av.error.FFmpegError as error:
            _check_memory(error)
            length_s = float(packet.duration * packet.time_base) if packet.duration else 0.0
            self._losses[kind].hurt(length_s)
            return []

    def _foreign_pictures(self, choice: Choice) -> None:
        if self._decoder == "decord" and choice.candidates > 1:
            raise Unsuited(
                f"decord cannot be told which of {choice.candidates} video streams to take"
            )
        if "video" in self._refused:
            return
        first = self._first_picture(choice.stream.index)
        shift_s: float | None = None
        for shown in pictures(self._decoder, self._path, choice.stream.index):
            if shown.pixels is None:
                self._losses["video"].hurt(shown.length_s or 0.0)
                continue
            height, width = shown.pixels.shape[:2]
            why = self._pixels.refusal(width, height)
            if shift_s is None:
                # decord counts from the first picture, wherever that lies.
                shift_s = 0.0 if first is None else first[1] - shown.start_s
                if why is None and first is not None and not np.array_equal(first[0], shown.pixels):
                    raise Unsuited(f"{self._decoder} gives another first picture than PyAV")
            if why is not None:
                self._refused["video"] = why
                return
            start_s = shown.start_s + shift_s
            self._show(self._frames.push((shown.pixels, False), start_s, shown.length_s))

    def _first_picture(self, stream: int) -> tuple[Pixels, float] | None:
        """Return the first picture by PyAV and its time; None if it has none with a time."""
        try:
            with open_av(self._path) as container:
                for frame in container.decode(container.streams[stream]):
                    time_s = _time_s(frame)
                    return None if time_s is None else (_upright(frame), time_s)
        except av.error.FFmpegError as error:
            _check_memory(error)
        return None

    def _picture(self, frame: Any) -> None:
        why = self._pixels.refusal(frame.width, frame.height)
        if why is not None:
            self._refused["video"] = why
            return
        length_s = float(frame.duration * frame.time_base) if frame.duration else None
        held = (_upright(frame), bool(frame.is_corrupt))
        self._show(self._frames.push(held, _time_s(frame), length_s))

    def _show(self, placed: list[tuple[tuple[Pixels, bool], float, float]]) -> None:
        for (pixels, is_flawed), start_s, length_s in placed:
            last = self._pending
            if last is not None:
                self._feeder.push_picture(VideoFrame(last.pixels, last.start_s, start_s))
            self._pending = VideoFrame(pixels, start_s, start_s + length_s)
            self._losses["video"].see(start_s, start_s + length_s, is_flawed=is_flawed)

    def _sound(self, frame: Any) -> None:
        account = self._losses["audio"]
        length_s = frame.samples / frame.sample_rate
        span = account.span_s
        start_s = self._sounds.place(_time_s(frame), length_s, is_hurt=account.is_hurt)
        if not self._resamplers:
            rates = self._feeder.rates_hz
            self._resamplers = {rate_hz: Resampler(rate_hz, start_s) for rate_hz in rates}
        is_gap = span is not None and start_s > span[1] + 1e-9
        account.see(start_s, start_s + length_s, is_flawed=bool(frame.is_corrupt))
        for rate_hz, resampler in self._resamplers.items():
            if is_gap:
                self._hear(rate_hz, resampler.silence(start_s))
            try:
                chunks = resampler.push(frame)
            except (av.error.FFmpegError, ValueError) as error:
                _check_memory(error)
                account.hurt(length_s)
                continue
            self._hear(rate_hz, chunks)

    def _hear(self, rate_hz: int, chunks: Iterable[AudioChunk]) -> None:
        for chunk in chunks:
            if not np.isfinite(chunk.samples).all():
                self._refused["audio"] = "the sound holds NaN or infinity"
                return
            self._feeder.push_sound(rate_hz, chunk)

    def _fate(self, name: str) -> Fate:
        kind = "audio" if self._recipes[name].kind == "audio" else "video"
        if kind not in self._chosen:
            return Fate("missing", f"no {kind} stream")
        if kind in self._refused:
            return Fate("failed", f"{self._refused[kind]}: {self._path}")
        account = self._losses[kind]
        lost = account.reason()
        if account.span_s is None:
            if lost:
                return Fate("failed", f"no {kind} could be decoded: {self._path}")
            return Fate("missing", f"the {kind} stream is empty")
        if not self._feeder.has_fed(name):
            return Fate("missing", f"the {kind} is too short for one window")
        windows = self._feeder.windows(name)
        said = [text for text in (lost, self._chosen[kind].note) if text]
        return Fate("partial" if lost else "ok", "; ".join(said) or None, windows)


def _upright(frame: Any) -> Pixels:
    """Return a frame as RGB `[H, W, 3]`, turned as its metadata says."""
    # PyAV hands out a view into padded lines where the width is odd.
    pixels = np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
    # Rotation metadata says how far to turn counter-clockwise; the pixels come unturned.
    turns = _QUARTER_TURNS.get(round(getattr(frame, "rotation", 0)) % 360, 0)
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def _time_s(frame: Any) -> float | None:
    return None if frame.pts is None else float(frame.pts * frame.time_base)


def _check_memory(error: Exception) -> None:
    """Raise MemoryError for what is no damage but a limit."""
    if getattr(error, "errno", None) == errno.ENOMEM:
        raise MemoryError from None


def _why(error: av.error.FFmpegError) -> str:
    return str(error.strerror or type(error).__name__)
