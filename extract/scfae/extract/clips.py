"""The recipe of VideoMAE V2: clips of 16 frames at a rate, as its evaluation takes them.

Apart from the network, since it runs in the decoding children. Index rules are those of upstream's
`dataset/datasets.py` in validation: a clip spans `frames x rate` consecutive frames, of which those
at `linspace(first, end, frames)`, rounded down and kept below the end, are taken (so the steps are
4, 4, 4, 5, …). A video no longer than one span takes `linspace(0, L, L // rate)`, then its last
frame again and again: of 10 frames that is 0, 9, 9, …, as upstream has it.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .cutters import TIME_SLACK_S, FrameClock, PrepareFrame
from .recipe import MediaKind, StreamInfo, VideoFrame, Window
from .runs import shorten_and_crop, squash_and_crop

Indices = npt.NDArray[np.int64]
Resize = Literal["crop", "squash"]
Taken = tuple[npt.NDArray[np.uint8], float, float]
SIDE = 224


def span_indices(first: int, end: int, frames: int) -> Indices:
    """Return the frames that a clip of frames `first <= i < end` takes, `[frames]`."""
    index: Indices = np.clip(np.linspace(first, end, frames), first, end - 1).astype(np.int64)
    return index


def short_indices(length: int, frames: int, rate: int) -> Indices:
    """Return the frames that a video of `length <= frames * rate` gives, `[frames]`."""
    true = np.linspace(0, length, num=length // rate)
    index = np.concatenate([true, np.full(frames - len(true), length)])
    taken: Indices = np.clip(index, 0, length - 1).astype(np.int64)
    return taken


class ClipCutter:
    """Clips, uint8 `[3, frames, H, W]`; one row each, from its first to its last taken frame.

    Without a stride: the one centred clip of the video. With one: a clip every `stride` frames, or
    every `stride_s` seconds (from the first frame shown at or after that time); frames at the end
    that no clip covers give a last clip that ends with the last frame.

    The centre is known from `num_frames`; where the video turns out to end before it, its last
    frames make the clip. Without `num_frames` half of the video is held.

    Args:
        frames: Frames a clip takes.
        rate: Frames from one taken to the next, about.
        stride: Frames from one clip to the next.
        stride_s: Seconds from one clip to the next.
        fps: Frames a second to count in; None counts the video's own.
        num_frames: Of the video, as its container says; None if unknown.
        prepare: From a picture `[H, W, 3]` to the model's size `[3, h, w]`.
    """

    def __init__(
        self,
        frames: int,
        rate: int,
        *,
        stride: int | None,
        stride_s: float | None,
        fps: float | None,
        num_frames: int | None,
        prepare: PrepareFrame,
    ) -> None:
        self._frames = frames
        self._rate = rate
        self._span = frames * rate
        self._stride = stride
        self._stride_s = stride_s
        self._clock = FrameClock(fps)
        self._prepare = prepare
        self._is_centred = stride is None and stride_s is None
        self._centre = None if num_frames is None else self._centre_of(num_frames)
        self._held: deque[Taken] = deque()
        self._count = 0  # frames so far
        self._covered = 0  # the first frame after the last clip
        self._starts: deque[int] = deque()  # clips begun and not complete
        self._next_s = 0.0  # when the next one is due, from the first frame

    def push(self, frame: VideoFrame) -> list[Window]:
        """Return the clips that this frame completes."""
        due = self._clock.due(frame)
        if not due or (self._is_centred and self._covered):
            return []
        windows = []
        taken = (self._prepare(frame.pixels), frame.start_s, frame.end_s)
        for time_s in due:
            self._begin(time_s)
            self._held.append(taken)
            self._count += 1
            while self._starts and self._starts[0] + self._span <= self._count:
                windows.append(self._cut(self._starts.popleft()))
            self._forget()
        return windows

    def end(self) -> list[Window]:
        """Return the clip of a short video, of an uncovered tail, or of an unannounced centre."""
        if self._covered >= self._count or (self._is_centred and self._covered):
            return []
        if self._count <= self._span:
            return [self._window(short_indices(self._count, self._frames, self._rate))]
        if self._is_centred and self._centre is None:
            return [self._cut(self._centre_of(self._count))]
        return [self._cut(self._count - self._span)]

    def _centre_of(self, num_frames: int) -> int:
        return (self._span + num_frames) // 2 - self._span

    def _begin(self, time_s: float) -> None:
        """Note whether a clip starts with this frame, number `count`, taken for a time."""
        if self._stride is not None:
            is_first = self._count % self._stride == 0
        elif self._stride_s is not None:
            since_s = time_s - (self._clock.first_s or 0.0) + TIME_SLACK_S
            is_first = since_s >= self._next_s
            if is_first:
                # A clip is skipped where it would begin at the same frame as the one before.
                self._next_s = (math.floor(since_s / self._stride_s) + 1) * self._stride_s
        else:
            is_first = self._centre is not None and self._count == max(0, self._centre)
        if is_first:
            self._starts.append(self._count)

    def _forget(self) -> None:
        """Let go of frames that no clip can need."""
        keep_from = self._count - self._span  # a last clip may reach back
        if self._is_centred and self._centre is None:
            keep_from = min(keep_from, self._centre_of(self._count))
        while self._held and self._count - len(self._held) < keep_from:
            self._held.popleft()

    def _cut(self, first: int) -> Window:
        self._covered = first + self._span
        return self._window(span_indices(first, first + self._span, self._frames))

    def _window(self, indices: Indices) -> Window:
        before = self._count - len(self._held)
        taken = [self._held[int(i) - before] for i in indices]
        array = np.stack([pixels for pixels, _, _ in taken], axis=1)
        return Window(array, np.array([[taken[0][1], taken[-1][2]]], dtype=np.float64))


@dataclass(frozen=True, slots=True)
class ClipRecipe:
    """Clips of a video; the attributes are those of `ClipCutter`, and how pictures are resized.

    Attributes:
        resize: `crop`: the short side to 224, then the centre; `squash`: the whole picture.
    """

    frames: int
    rate: int
    stride: int | None
    stride_s: float | None
    fps: float | None
    resize: Resize
    kind: MediaKind = "video"
    sample_rate_hz: None = None

    @property
    def wants_num_frames(self) -> bool:
        """The frames of a video are to be counted before it is decoded."""
        return self.stride is None and self.stride_s is None

    def begin(self, info: StreamInfo, /) -> ClipCutter:
        """Return a cutter for one stream."""
        return ClipCutter(
            self.frames,
            self.rate,
            stride=self.stride,
            stride_s=self.stride_s,
            fps=self.fps,
            num_frames=info.num_frames,
            prepare=crop_picture if self.resize == "crop" else squash_picture,
        )


def crop_picture(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the central 224 x 224 after the short side is brought to 224, `[3, 224, 224]`.

    The long side is rounded down and the crop's offset to even, as upstream does; a picture whose
    short side is 224 is not resampled.
    """
    return shorten_and_crop(pixels, short=SIDE, side=SIDE)


def squash_picture(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the whole picture at 224 x 224, its shape not kept, `[3, 224, 224]`."""
    return squash_and_crop(pixels, height=SIDE, width=SIDE, side=SIDE)
