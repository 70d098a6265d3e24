"""Windows, stride and frame rate of encoders of clips and of sound, as options in seconds.

An encoder that reads runs of frames takes `CLIP_OPTIONS`; one that reads runs of sound takes
`SOUND_OPTIONS`. What the user gave in seconds becomes frames or samples here, once, and goes into
the recipe as such, so that the column records what was cut.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from scfae.store.errors import ConfigError

from .cutters import FrameWindows, PrepareFrame, SoundWindows
from .options import Option

_SECONDS = Option(None, float, least=0.001)

CLIP_OPTIONS: Final = {
    "fps": Option(None, float, least=0.001),
    "window_s": _SECONDS,
    "stride": Option(None, int, least=1),
    "stride_s": _SECONDS,
}
"""Frames a second to take, or how long a window is; frames or seconds to the next window."""

SOUND_OPTIONS: Final = {
    "window_s": _SECONDS,
    "stride": Option(None, int, least=1),
    "stride_s": _SECONDS,
}
"""How long a window is; samples or seconds to the next."""


@dataclass(frozen=True, slots=True)
class ClipWindows:
    """How a video is cut into runs of frames; plain data for a recipe.

    Attributes:
        frames: Frames a window.
        fps: Frames a second to take; None takes every frame.
        stride: Frames from one window to the next; None goes by `stride_s`.
        stride_s: Seconds from one window to the next.
    """

    frames: int
    fps: float | None
    stride: int | None
    stride_s: float | None

    @classmethod
    def of(
        cls, encoder: str, values: Mapping[str, Any], *, frames: int, stride: int | None = None
    ) -> "ClipWindows":
        """Return the windows that options ask for.

        Args:
            encoder: Name of the encoder, for errors.
            values: The options in force, those of `CLIP_OPTIONS` among them.
            frames: Frames a window, as the network reads them.
            stride: Frames to the next window if no option says; None is one window.

        Raises:
            ConfigError: If two options say the same thing.
        """
        _only_one(encoder, values, "fps", "window_s")
        _only_one(encoder, values, "stride", "stride_s")
        fps = values["fps"]
        if values["window_s"] is not None:
            fps = frames / values["window_s"]
        if values["stride_s"] is not None:
            return cls(frames, fps, None, values["stride_s"])
        return cls(frames, fps, values["stride"] or stride or frames, None)

    @classmethod
    def recorded(cls, recipe: Mapping[str, Any]) -> "ClipWindows":
        """Return the windows that a column recorded."""
        return cls(recipe["frames"], recipe["fps"], recipe.get("stride"), recipe.get("stride_s"))

    @property
    def recipe(self) -> dict[str, Any]:
        """What a column records."""
        stride = {"stride": self.stride} if self.stride_s is None else {"stride_s": self.stride_s}
        return {"fps": self.fps, "frames": self.frames, **stride}

    @property
    def rows_per_second(self) -> float | None:
        """Windows a second; None where it depends on the video's frame rate."""
        if self.stride_s is not None:
            return 1.0 / self.stride_s
        return None if self.fps is None or self.stride is None else self.fps / self.stride

    def cutter(self, prepare: PrepareFrame) -> FrameWindows:
        """Return a cutter whose pictures are prepared by a function."""
        return FrameWindows(
            self.frames, self.stride, fps=self.fps, stride_s=self.stride_s, prepare=prepare
        )


@dataclass(frozen=True, slots=True)
class SoundRuns:
    """How sound is cut into runs of one length; plain data for a recipe.

    Attributes:
        length: Samples a window.
        stride: Samples from one window to the next.
        sample_rate_hz: Of the sound.
        shortest: Samples below which there is no window.
    """

    length: int
    stride: int
    sample_rate_hz: int
    shortest: int

    @classmethod
    def of(
        cls,
        encoder: str,
        values: Mapping[str, Any],
        *,
        length: int,
        sample_rate_hz: int,
        shortest: int,
    ) -> "SoundRuns":
        """Return the windows that options ask for.

        Args:
            encoder: Name of the encoder, for errors.
            values: The options in force, those of `SOUND_OPTIONS` among them.
            length: Samples a window if no option says.
            sample_rate_hz: Of the sound.
            shortest: The least that the network can read.

        Raises:
            ConfigError: If two options say the same thing, or a window is too short.
        """
        _only_one(encoder, values, "stride", "stride_s")
        if values["window_s"] is not None:
            length = round(values["window_s"] * sample_rate_hz)
        if length < shortest:
            raise ConfigError(
                f"{encoder}: option window_s must be at least {shortest / sample_rate_hz:g}, "
                f"not {values['window_s']:g}."
            )
        stride = values["stride"] or length
        if values["stride_s"] is not None:
            stride = max(1, round(values["stride_s"] * sample_rate_hz))
        return cls(length, stride, sample_rate_hz, shortest)

    @classmethod
    def recorded(cls, recipe: Mapping[str, Any], *, shortest: int) -> "SoundRuns":
        """Return the windows that a column recorded."""
        return cls(recipe["samples"], recipe["stride"], recipe["sample_rate_hz"], shortest)

    @property
    def recipe(self) -> dict[str, Any]:
        """What a column records."""
        return {"samples": self.length, "stride": self.stride}

    @property
    def rows_per_second(self) -> float:
        """Windows a second."""
        return self.sample_rate_hz / self.stride

    def cutter(self, *, is_repeated: bool = True) -> SoundWindows:
        """Return a cutter; short sound is repeated, or else a window of its own length."""
        return SoundWindows(
            self.length,
            self.stride,
            sample_rate_hz=self.sample_rate_hz,
            shortest=self.shortest,
            is_repeated=is_repeated,
        )


def _only_one(encoder: str, values: Mapping[str, Any], first: str, second: str) -> None:
    if values[first] is not None and values[second] is not None:
        raise ConfigError(f"{encoder}: give {first} or {second}, not both.")
