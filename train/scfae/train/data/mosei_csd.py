"""CMU-SDK computational sequences of CMU-MOSEI: labels by segment, features cut to the segments.

`All Labels/data/VIDEO/{features [S, 7], intervals [S, 2]}` says of each of a video's S segments
sentiment and six emotions. The other `.csd` hold a video's rows over its whole length
(`NAME/data/VIDEO/…`); the rows of a segment are those that overlap it, as in the SDK's alignment,
on the video's own clock. Sequences that are cut already are named `VIDEO[k]` and taken as they are.

Folds are the SDK's `cmu_mosei_std_folds.py`, three lists of videos; the file is parsed, not run.
"""

import ast
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import numpy as np

from scfae.store import SampleRow
from scfae.store.errors import ManifestError
from scfae.store.importing import Rows, open_source
from scfae.store.importing.csd import CsdSource

LABELS: Final = ("sentiment", "happy", "sad", "anger", "surprise", "disgust", "fear")
_FOLDS: Final = {"train": "train", "valid": "val", "test": "test"}


class Segment(NamedTuple):
    """A stretch of a video that has a label; seconds of the video."""

    video: str
    number: int
    start_s: float
    end_s: float
    labels: dict[str, float]

    @property
    def id(self) -> str:
        """Its name, as the SDK gives it."""
        return f"{self.video}[{self.number}]"

    def row(self, split: str | None) -> SampleRow:
        """Return it as a sample; the video is the group."""
        return SampleRow(
            self.id,
            split=split,
            group=self.video,
            labels={**self.labels, "order": self.number},
            duration_s=self.end_s - self.start_s,
        )


def open_csd(path: Path) -> CsdSource:
    """Return a computational sequence; use it in a `with` block.

    Raises:
        ManifestError: If it is none.
    """
    source = open_source(path, modality="any")
    if not isinstance(source, CsdSource):
        raise ManifestError(f"{path}: is no .csd.")
    return source


def read_segments(path: Path) -> list[Segment]:
    """Return the labelled segments of `CMU_MOSEI_Labels.csd`, in order.

    Raises:
        ManifestError: If it does not hold 7 labels a segment, with intervals.
    """
    segments = []
    with open_csd(path) as source:
        if source.dim != len(LABELS):
            raise ManifestError(
                f"{path}: has {source.dim} labels a segment; CMU-MOSEI's are {', '.join(LABELS)}."
            )
        for name in source.ids:
            rows, times = source.sample(name)
            if times is None:
                raise ManifestError(f"{path}, {name!a}: has no intervals, so no segments.")
            video, first = _parts(name)
            for i, (values, (start_s, end_s)) in enumerate(zip(rows, times, strict=True)):
                labels = dict(zip(LABELS, map(float, values), strict=True))
                segments.append(Segment(video, first + i, float(start_s), float(end_s), labels))
    return segments


def read_folds(path: Path) -> dict[str, str]:
    """Return the split of each video from the SDK's fold file.

    Raises:
        ManifestError: If it does not assign `standard_{train,valid,test}_fold`, or a video is in
            two of them.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError, ValueError) as error:
        raise ManifestError(f"{path}: cannot be read as a file of folds ({error}).") from None
    lists: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                lists[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue  # something computed; the folds are plain lists
    split: dict[str, str] = {}
    for fold, name in _FOLDS.items():
        videos = lists.get(f"standard_{fold}_fold")
        if not isinstance(videos, list) or not all(isinstance(one, str) for one in videos):
            raise ManifestError(f"{path}: has no list standard_{fold}_fold.")
        for video in videos:
            if split.setdefault(video, name) != name:
                raise ManifestError(f"{path}: the video {video!a} is in two folds.")
    return split


class SegmentSource:
    """A computational sequence cut to segments, as a source; see `scfae.store.importing.Source`.

    Args:
        path: The `.csd`.
        segments: The segments of the store, by id.
    """

    kind = "csd-segments"
    labels: Mapping[str, SampleRow]

    def __init__(self, path: Path, segments: Mapping[str, Segment]) -> None:
        self._source = open_csd(path)
        there = set(self._source.ids)
        self._segments = segments
        self._is_cut = not there.isdisjoint(segments)
        self.labels = {}
        self.notices = list(self._source.notices)
        self.ids = [
            name for name, one in segments.items() if (name if self._is_cut else one.video) in there
        ]
        self.sha256 = self._source.sha256
        self.dim: int = self._source.dim
        self.dtype: np.dtype[Any] = self._source.dtype
        self.unlabelled = sorted(
            there - (set(segments) if self._is_cut else {one.video for one in segments.values()})
        )

    def __enter__(self) -> Self:
        self._source.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._source.__exit__(kind, error, trace)

    def sample(self, name: str) -> Rows:
        """Return the rows of a segment."""
        if self._is_cut:
            return self._source.sample(name)
        one = self._segments[name]
        return self._source.rows_between(one.video, one.start_s, one.end_s)

    def sample_sha256(self, name: str) -> str | None:
        """Return None: a segment has no file of its own."""
        return None


def _parts(name: str) -> tuple[str, int]:
    """Return the video and the number of its first segment: 3 of `VIDEO[3]`, else 0."""
    video, bracket, number = name.partition("[")
    if bracket and number.rstrip("]").isdecimal():
        return video, int(number.rstrip("]"))
    return name, 0
