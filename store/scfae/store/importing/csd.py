"""CMU-MultimodalSDK computational sequences: HDF5 with `NAME/data/ID/{features,intervals}`.

One `.csd` holds one modality of a data set; its intervals are seconds of the video. Aligned
sequences are named `ID[3]`: those of one video are one group.

Shapes: features `[T, D]`, intervals `[T, 2]`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..atomic import sha256_file
from ..errors import ImportRefused, ManifestError
from ..sample_row import SampleRow
from .arrays import read_all
from .hdf5 import open_tried
from .limits import check_ids
from .source import Rows, SameDim, UnusableSample, check_numbers, rows_shape

_SEGMENT = re.compile(r"(.+)\[\d+\]")


class CsdSource:
    """A computational sequence as a source; see `Source`.

    Args:
        path: The `.csd` file.
        max_bytes: What it may unpack to; None is 20 times its size, at least 1 GiB.

    Raises:
        ManifestError: If it holds no sequence.
        ImportRefused: If anything in it cannot be taken.
    """

    kind = "csd"
    labels: Mapping[str, SampleRow]

    def __init__(self, path: Path, *, max_bytes: int | None = None) -> None:
        self._path = path
        self._archive = open_tried(path, max_bytes)
        try:
            self._prefix = self._find()
            self.sha256 = sha256_file(path)
            self.notices: list[str] = []
            self._read_headers()
        except BaseException:
            self._archive.close()
            raise
        groups = {name: match[1] for name in self.ids if (match := _SEGMENT.fullmatch(name))}
        self.labels = {name: SampleRow(name, group=group) for name, group in groups.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._archive.close()

    def sample(self, name: str) -> Rows:
        """Return a sample's features and intervals; see `Source`."""
        rows = read_all(self._archive.array(f"{self._prefix}{name}/features"))
        intervals = f"{self._prefix}{name}/intervals"
        times = read_all(self._archive.array(intervals)) if intervals in self._there else None
        if rows.ndim == 1:
            rows = rows[None] if times is None or len(times) != len(rows) else rows[:, None]
        if times is not None and times.shape != (len(rows), 2):
            raise UnusableSample(
                f"its intervals are {list(times.shape)} for features {list(rows.shape)}"
            )
        return Rows(rows, times)

    def rows_between(self, name: str, start_s: float, end_s: float) -> Rows:
        """Return the rows of a sample that overlap a stretch of time; see `sample`.

        Args:
            name: Its id.
            start_s: Where the stretch begins, in seconds of the video.
            end_s: Where it ends.

        Raises:
            UnusableSample: If it has no intervals, or they do not fit.
        """
        intervals = f"{self._prefix}{name}/intervals"
        if intervals not in self._there:
            raise UnusableSample("its rows have no intervals to cut it by")
        array = self._archive.array(f"{self._prefix}{name}/features")
        times = read_all(self._archive.array(intervals))
        if len(array.shape) != 2 or times.shape != (array.shape[0], 2):
            raise UnusableSample(
                f"its intervals are {list(times.shape)} for features {list(array.shape)}"
            )
        keep = np.flatnonzero((times[:, 1] > start_s) & (times[:, 0] < end_s))
        if not len(keep):
            return Rows(np.empty((0, array.shape[1]), dtype=array.dtype), times[:0])
        rows = array.read(int(keep[0]), int(keep[-1]) + 1)
        return Rows(rows[keep - keep[0]], times[keep])

    def sample_sha256(self, name: str) -> str | None:
        """Return None: a sample has no file of its own."""
        return None

    def _find(self) -> str:
        """Return the path of the one group `NAME/data/`."""
        tops = {
            f"{parts[0]}/data/"
            for name in self._archive.names
            if len(parts := name.split("/")) >= 4 and parts[1] == "data"
        }
        if len(tops) != 1:
            raise ManifestError(
                f"{self._path}: holds {len(tops)} sequences NAME/data/ID/features where a .csd "
                "holds one."
            )
        return tops.pop()

    def _read_headers(self) -> None:
        self._there = set(self._archive.names)
        ids = [
            name[len(self._prefix) : -len("/features")]
            for name in self._archive.names
            if name.startswith(self._prefix) and name.endswith("/features")
        ]
        if not ids:
            raise ManifestError(f"{self._path}: no sequence in it has features.")
        self.ids = check_ids(ids, self._path)
        same = SameDim()
        for name in ids:
            where = f"{self._path}, {name!a}"
            array = self._archive.array(f"{self._prefix}{name}/features")
            same.add(where, self._dim(name, array.shape, where), array.dtype)
            intervals = f"{self._prefix}{name}/intervals"
            if intervals in self._there:
                check_numbers(self._archive.array(intervals).dtype, f"{where}, intervals")
        self.dim: int = same.dim
        self.dtype: np.dtype[Any] = same.dtype

    def _dim(self, name: str, shape: tuple[int, ...], where: str) -> int:
        intervals = f"{self._prefix}{name}/intervals"
        if len(shape) == 1 and intervals in self._there:
            times = self._archive.array(intervals)
            if times.shape[:1] == shape:
                return 1
        if not shape:
            raise ImportRefused(f"{where}: features are a single number, not [T, D].")
        return rows_shape(shape, where)[1]
