"""Who decodes the pictures of videos: PyAV, or by choice decord or torchcodec.

The others give the same pictures at the same times where a file is whole. PyAV opens every file,
chooses its streams and decodes its sound in any case, and the first picture of the other must be
PyAV's own; images are Pillow's. What the others lack: decord chooses the stream itself (a file with
several is refused), does not turn pictures (refused, by the first one), gives no true times where
they are uneven, negative or cut by an edit list (refused), knows no AV1, and gives up somewhere
before a damaged frame, where depends on its threads (refused, so that the same file has the same
fate each time); it can hang on cut files, which the time limit ends.
"""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from scfae.store.errors import ConfigError

from .clock import CLOCK_RULE
from .recipe import MediaKind

DecoderName = Literal["pyav", "decord", "torchcodec"]
DECODERS: Final[tuple[DecoderName, ...]] = ("pyav", "decord", "torchcodec")
PACKAGES: Final[dict[str, str]] = {"pyav": "av", "decord": "decord", "torchcodec": "torchcodec"}
_LONGEST_S = 3600.0
_PICTURES_RULE: Final = (
    "the default stream, else the first, no cover art; RGB by the decoder; rotation applied"
)


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture that a decoder gave.

    Attributes:
        pixels: uint8 `[H, W, 3]`, RGB, upright; None for one that could not be decoded.
        start_s: Its presentation time.
        length_s: How long it is shown; None if the decoder does not know.
    """

    pixels: npt.NDArray[np.uint8] | None
    start_s: float
    length_s: float | None


class Unsuited(Exception):
    """A file that PyAV reads and the chosen decoder does not; the text says why."""


def check_decoder(name: str) -> None:
    """Check that a decoder can be used on this machine.

    Raises:
        ConfigError: If there is none of this name, its package is not installed, or it lacks
            FFmpeg's libraries; the message says what to install.
    """
    if name not in DECODERS:
        raise ConfigError(f"--decoder {name}: must be one of {', '.join(DECODERS)}.")
    if importlib.util.find_spec(PACKAGES[name]) is None:
        raise ConfigError(
            f"--decoder {name}: the package is not installed; pip install 'scfae[{name}]'."
        )
    if name == "torchcodec":
        torchcodec: Any = importlib.import_module("torchcodec")
        if torchcodec.ffmpeg_major_version is None:
            raise ConfigError(
                "--decoder torchcodec: finds no FFmpeg libraries that it can load; install FFmpeg "
                "(4 to 8, with shared libraries), or use --decoder pyav, which brings its own."
            )


def prepare(name: DecoderName) -> None:
    """Import a decoder, so that this is not the first file's time."""
    if name != "pyav":
        importlib.import_module(PACKAGES[name])


def rules(modality: str, decoder: DecoderName) -> dict[str, Any]:
    """Return what a column records of how media were decoded."""
    from .resampling import SOUND_RULE

    if modality == "audio":
        return {"sound": SOUND_RULE, "clock": CLOCK_RULE}
    return {"decoder": decoder, "pictures": _PICTURES_RULE, "clock": CLOCK_RULE}


def versions(kind: MediaKind | str, decoder: DecoderName) -> dict[str, str]:
    """Return the version of the package that decodes the pictures of a column."""
    if kind == "audio" or decoder == "pyav":
        return {}
    return {PACKAGES[decoder]: metadata.version(PACKAGES[decoder])}


def pictures(name: DecoderName, path: Path, stream: int) -> Iterator[Shown]:
    """Yield the pictures of a video by decord or torchcodec.

    Args:
        name: The decoder.
        path: The file.
        stream: Index of the stream in its container; decord takes its own choice.

    Raises:
        Unsuited: If its times cannot be true, or decord gives up at damage.
    """
    return _decord(path) if name == "decord" else _torchcodec(path, stream)


def _decord(path: Path) -> Iterator[Shown]:
    import decord

    try:
        reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        times = reader.get_frame_timestamp(range(len(reader)))
    except decord.DECORDError as error:
        _check_memory(error)
        yield Shown(None, 0.0, 0.0)
        return
    starts = times[:, 0]
    if not (
        (np.abs(times) < _LONGEST_S * 1e6).all() and (np.diff(starts, prepend=-1e-9) > 0).all()
    ):
        raise Unsuited("decord gives times that cannot be true")
    for start, end in times:
        try:
            pixels = reader.next().asnumpy()
        except (decord.DECORDError, StopIteration) as error:
            _check_memory(error)
            raise Unsuited("decord gives up at a damaged picture") from None
        yield Shown(pixels, float(start), _length_s(end - start))


def _torchcodec(path: Path, stream: int) -> Iterator[Shown]:
    torchcodec: Any = importlib.import_module("torchcodec.decoders")
    try:
        decoder = torchcodec.VideoDecoder(
            str(path), stream_index=stream, dimension_order="NHWC", num_ffmpeg_threads=1
        )
        count = len(decoder)
    except (RuntimeError, ValueError) as error:
        _check_memory(error)
        yield Shown(None, 0.0, 0.0)
        return
    length_s = 1.0 / (decoder.metadata.average_fps or 25.0)
    for number in range(count):
        try:
            frame = decoder.get_frame_at(number)
        except RuntimeError as error:
            _check_memory(error)
            yield Shown(None, 0.0, length_s)
            continue
        pixels = np.ascontiguousarray(frame.data.numpy())
        yield Shown(pixels, float(frame.pts_seconds), _length_s(frame.duration_seconds))


def _length_s(said: float) -> float | None:
    """Return a length that can be true; decord makes up that of a last picture without one."""
    return float(said) if 0.0 < said < _LONGEST_S else None


def _check_memory(error: Exception) -> None:
    """Raise MemoryError for what is no damage but a limit."""
    if "allocate" in str(error):
        raise MemoryError from None
