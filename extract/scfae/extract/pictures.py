"""The recipe of encoders of single pictures: frames at a rate, or one still."""

from dataclasses import dataclass
from typing import Final

from .cutters import FrameSampler, PrepareFrame
from .options import Option
from .recipe import MediaKind, StreamInfo

PICTURE_OPTIONS: Final = {
    "fps": Option(5.0, float, least=0.001),
    "modality": Option(None, str, choices=("video", "image")),
}
"""Rows a second of video, and the only kind of media to read where a sample has both."""


@dataclass(frozen=True, slots=True)
class PictureRecipe:
    """One window a picture, uint8 `[3, H, W]`.

    Attributes:
        kind: video or image.
        fps: Pictures a second of video.
        prepare: From a picture `[H, W, 3]` to the model's size; a function of a module, since the
            recipe is pickled.
    """

    kind: MediaKind
    fps: float
    prepare: PrepareFrame
    sample_rate_hz: None = None

    def begin(self, info: StreamInfo, /) -> FrameSampler:
        """Return a cutter for one stream."""
        return FrameSampler(self.fps, self.prepare, is_image=info.kind == "image")
