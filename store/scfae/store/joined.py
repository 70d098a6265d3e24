"""Columns side by side: `A+B` gives the rows of A and of B as one, their features concatenated.

They must have the same rows of every sample that both have (`scfae store derive --resample` brings
one onto the clock of the other). A sample that lacks one of them has no rows: half a row cannot be
shown to a model.

Shapes: N samples, T rows, D features of all parts.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .column import ColumnInfo
from .config import digest
from .errors import SchemaMismatch
from .lazy import lazy_property
from .reader import Column

JOINT = "+"
"""Between the names of columns that are read side by side."""
_ENCODER = "joined:"


def is_joined(info: ColumnInfo) -> bool:
    """Return whether a description is of columns side by side."""
    return info.encoder.startswith(_ENCODER)


def parts_of(info: ColumnInfo) -> list[ColumnInfo]:
    """Return the columns of the store that a description stands for: itself, if it is one."""
    if not is_joined(info):
        return [info]
    return [ColumnInfo.model_validate(part) for part in info.compute["parts"]]


def medium_of(info: ColumnInfo) -> str:
    """Return what a column is read from: encoders of images see the frames of videos, too."""
    return "pictures" if info.modality in ("image", "video") else info.modality


class JoinedColumn:
    """Columns of one store read as one; see this module. It is nowhere stored.

    Args:
        parts: At least two columns of one medium.

    Raises:
        SchemaMismatch: They are of several media, or one is named twice.
    """

    def __init__(self, parts: Sequence[Column]) -> None:
        self.parts = tuple(parts)
        self.info = _describe([part.info for part in parts])

    def __len__(self) -> int:
        return len(self.parts[0])

    @property
    def num_shards(self) -> int:
        """Shards of the store, S."""
        return self.parts[0].num_shards

    @property
    def missing_shards(self) -> list[int]:
        """Shards that are not extracted yet of one of them."""
        return sorted({shard for part in self.parts for shard in part.missing_shards})

    @property
    def is_complete(self) -> bool:
        """Every shard of each is extracted."""
        return all(part.is_complete for part in self.parts)

    @lazy_property
    def content_sha256(self) -> str:
        """Digest of all rows and times of all parts."""
        return digest([part.content_sha256 for part in self.parts])

    @lazy_property
    def lengths(self) -> npt.NDArray[np.int32]:
        """Rows of each sample, T, `[N]`; 0 where one of them has none.

        Raises:
            SchemaMismatch: They have other numbers of rows of a sample.
        """
        first = self.parts[0].lengths
        has_all = first > 0
        for part in self.parts[1:]:
            has_all &= part.lengths > 0
        for part in self.parts[1:]:
            differ = np.flatnonzero(has_all & (part.lengths != first))
            if len(differ):
                names = self.parts[0].info.name, part.info.name
                rows = int(first[differ[0]]), int(part.lengths[differ[0]])
                raise SchemaMismatch(
                    f"columns '{names[0]}' and '{names[1]}' cannot stand side by side: they have "
                    f"other numbers of rows of {len(differ)} samples, such as {rows[0]} and "
                    f"{rows[1]}. Bring one onto the other's clock with `scfae store derive "
                    f"--resample {names[0]}`, or pool both, or give each a branch of its own."
                )
        return np.where(has_all, first, np.int32(0))

    def rows(self, index: int) -> npt.NDArray[Any]:
        """Return the rows `[T, D]` of a sample."""
        if not self.lengths[index]:
            return np.zeros((0, self.info.dim), dtype=self.info.dtype)
        return np.concatenate([part.rows(index) for part in self.parts], axis=1).astype(
            self.info.dtype, copy=False
        )

    def read_rows(self, index: int, out: npt.NDArray[Any], *, first: int = 0) -> None:
        """Read rows of a sample into a part of a batch; see `Column.read_rows`."""
        one = np.array([index], dtype=np.int64)
        counts = np.array([len(out)], dtype=np.int64)
        begin = np.array([first], dtype=np.int64)
        self.read_batch(one, out, at=np.zeros(1, dtype=np.int64), counts=counts, first=begin)

    def read_batch(
        self,
        indices: npt.NDArray[np.int64],
        out: npt.NDArray[Any],
        *,
        at: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64],
        first: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Read many samples into a batch; see `Column.read_batch`.

        Each part is read packed and copied into its features of `out`.
        """
        begins = np.cumsum(counts) - counts
        total = int(counts.sum())
        goes_to = np.repeat(at - begins, counts) + np.arange(total)
        feature = 0
        for part in self.parts:
            dim = part.info.dim
            packed = np.empty((total, dim), dtype=part.info.dtype)
            part.read_batch(indices, packed, at=begins, counts=counts, first=first)
            out[goes_to, feature : feature + dim] = packed
            feature += dim

    def times(self, index: int) -> npt.NDArray[np.float64]:
        """Return start and end of each row of a sample, by the first part's clock, `[T, 2]`."""
        times = self.parts[0].times(index)
        return times if self.lengths[index] else times[:0]

    def will_need(self, shards: Sequence[int]) -> None:
        """Ask the operating system to read the files of shards ahead."""
        for part in self.parts:
            part.will_need(shards)


def sources(columns: Sequence[Column | JoinedColumn]) -> Iterator[Column]:
    """Yield the columns that have files of their own."""
    for column in columns:
        yield from column.parts if isinstance(column, JoinedColumn) else (column,)


def _describe(parts: Sequence[ColumnInfo]) -> ColumnInfo:
    name = JOINT.join(part.name for part in parts)
    if len({medium_of(part) for part in parts}) > 1:
        modalities = dict.fromkeys(part.modality for part in parts)
        raise SchemaMismatch(
            f"'{name}': these are columns of {' and '.join(modalities)}; only those of one "
            "medium can stand side by side. Give each a branch of its own."
        )
    if len({part.name for part in parts}) < len(parts):
        raise SchemaMismatch(f"'{name}': a column stands beside itself; name each once.")
    rates = {part.rows_per_second for part in parts}
    licences = list(dict.fromkeys(part.licence for part in parts if part.licence))
    return ColumnInfo.create(
        name,
        parts[0].modality,
        encoder=_ENCODER + JOINT.join(part.encoder for part in parts),
        weights="of its parts",
        dim=sum(part.dim for part in parts),
        dtype="float16" if {part.dtype for part in parts} == {"float16"} else "float32",
        is_random=any(part.is_random for part in parts),
        rows_per_second=rates.pop() if len(rates) == 1 else None,
        licence=" and ".join(licences) or None,
        recipe={"parts": [part.fingerprint for part in parts]},
        compute={"parts": [part.model_dump(mode="json") for part in parts]},
    )
