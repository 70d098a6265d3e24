"""What a stream needs of a view, whether its rows are in a store or in memory.

Shapes: N samples, M modalities, T rows, D features a row.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .order import Booleans, Integers


class Labels(Protocol):
    """One label of every sample: `values [N]`, int64 or float; `classes` name codes of strings."""

    @property
    def values(self) -> npt.NDArray[Any]:
        """Integers, floats (null is NaN) or the codes of strings (null is -1)."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """What the codes stand for, None for numbers."""

    @property
    def kind(self) -> str:
        """`int`, `float` or `str`."""

    @property
    def present(self) -> Booleans:
        """Which samples have the label `[N]`."""


class SampleView(Protocol):
    """What a stream reads: samples by position 0 .. N-1, each with rows of several modalities."""

    def __len__(self) -> int: ...

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in the order of the user, which is the order of masks' columns."""

    @property
    def dims(self) -> Mapping[str, int]:
        """Features a row, D, of each modality."""

    @property
    def ids(self) -> npt.NDArray[Any]:
        """Sample ids `[N]`, strings."""

    @property
    def indices(self) -> npt.NDArray[Any]:
        """Places in the store `[N]`; samples of one shard lie together, in file order."""

    @property
    def shard_of(self) -> npt.NDArray[Any]:
        """Shard number of each sample `[N]`."""

    @property
    def group_of(self) -> Integers:
        """Number of each sample's group `[N]`; a sample without one is a group of its own."""

    @property
    def available(self) -> Booleans:
        """Which modalities a sample has `[N, M]`, i.e. T > 0."""

    @property
    def fingerprint(self) -> str:
        """Changes when samples, columns or their contents change."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels this view was asked for."""

    def lengths(self, modality: str, /) -> npt.NDArray[Any]:
        """Rows of each sample, T, `[N]`."""

    def rows(self, i: int, modality: str, /) -> npt.NDArray[Any]:
        """Rows `[T, D]` of the sample at position `i`, float16 or float32."""

    def read_rows(self, i: int, modality: str, out: npt.NDArray[Any], /, *, first: int = 0) -> None:
        """Read rows `first` to `first + len(out)` of a sample into `out`, of the stored dtype.

        Raises:
            CorruptShard: If the shard's file is damaged.
            ValueError: If `out` does not fit the sample.
        """

    def read_batch(
        self,
        positions: Integers,
        modality: str,
        /,
        *,
        out: npt.NDArray[Any],
        at: Integers,
        counts: Integers,
        first: Integers | None = None,
    ) -> None:
        """Read the samples at `positions [B]` into `out [R, D]`; see Column.read_batch."""

    @property
    def is_fetched(self) -> bool:
        """Whether rows come from elsewhere, so that it pays to say which will be wanted."""

    def will_read(self, windows: Sequence[Sequence[int]], /) -> None:
        """Take note of the shards that will be read, window by window."""

    def dtype(self, modality: str, /) -> np.dtype[Any]:
        """Type of a modality's stored rows, float16 or float32."""

    def label(self, name: str, /) -> Labels:
        """One label of every sample."""


def group_numbers(groups: Iterable[str | None]) -> npt.NDArray[np.int64]:
    """Return a number for each group's name, by first appearance; None is always a new one."""
    numbers: dict[str | int, int] = {}
    named = (place if name is None else name for place, name in enumerate(groups))
    found = [numbers.setdefault(name, len(numbers)) for name in named]
    return np.array(found, dtype=np.int64)
