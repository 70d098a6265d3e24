"""A view: chosen samples with one column for each modality, zipped in lockstep.

Shapes: N samples of the view, M modalities, T rows, D features.
"""

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .config import digest
from .errors import SchemaMismatch, UnknownColumn
from .joined import JoinedColumn, sources
from .lazy import lazy_property
from .reader import Column, Fetched
from .sample_row import Label
from .samples import SampleTable


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One sample of a view.

    Attributes:
        id: Its id.
        features: For each modality float32 `[T, D]`; T = 0 is a missing modality.
        times: For each modality start and end of each row in seconds, float64 `[T, 2]`.
        labels: The labels the view was asked for; None is unknown.
    """

    id: str
    features: dict[str, npt.NDArray[np.float32]]
    times: dict[str, npt.NDArray[np.float64]]
    labels: dict[str, Label]


@dataclass(frozen=True, slots=True, eq=False)
class LabelColumn:
    """One label of every sample of a view.

    Attributes:
        values: `[N]`: int64, float64, or int64 codes of strings; unknown is -1, or NaN for floats.
        classes: What the codes stand for, sorted over the whole store; None for numbers.
        kind: `int`, `float` or `str`.
        present: Which samples have the label, bool `[N]`.
    """

    values: npt.NDArray[Any]
    classes: tuple[str, ...] | None
    kind: str
    present: npt.NDArray[np.bool_]


class StoreView:
    """Samples of a store with their rows of each modality. Made by `FeatureStore.view`.

    Attributes:
        indices: Places in the store's sample table, int64 `[N]`, rising.
        label_names: The labels it was asked for.
    """

    def __init__(
        self,
        samples: SampleTable,
        columns: Mapping[str, Column | JoinedColumn],
        *,
        indices: npt.NDArray[np.int64],
        label_names: tuple[str, ...] = (),
    ) -> None:
        self._samples = samples
        self._columns = dict(columns)
        self.indices = indices
        self.label_names = label_names
        self._lengths: dict[str, npt.NDArray[np.int64]] = {}
        self._labels: dict[str, LabelColumn] = {}

    @classmethod
    def select(
        cls,
        samples: SampleTable,
        columns: Mapping[str, Column | JoinedColumn],
        *,
        split: str | Sequence[str] | None,
        labels: tuple[str, ...],
        where: Mapping[str, Any],
    ) -> Self:
        """Return the view of the samples that `split` and `where` choose; see FeatureStore.view."""
        for name in labels:
            samples.label_kind(name)
        for column in columns.values():
            _check_complete(column, samples.num_shards)
        keep = np.ones(len(samples), dtype=bool)
        if split is not None:
            wanted = [split] if isinstance(split, str) else list(split)
            for name in wanted:
                if name not in samples.splits:
                    raise UnknownColumn(
                        f"the store has no split '{name}'; its splits are: "
                        f"{', '.join(samples.splits) or 'none'}.{_near(name, samples.splits)}"
                    )
            keep &= samples.is_among("split", wanted)
        for key, value in where.items():
            is_one = isinstance(value, str) or not isinstance(value, Iterable)
            wanted = [value] if is_one else list(value)
            keep &= samples.is_among(_field(samples, key), wanted)
        return cls(samples, columns, indices=np.flatnonzero(keep), label_names=labels)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> Sample:
        """Return the sample at position `i`; negative positions count from the end."""
        position = range(len(self))[i]
        index = int(self.indices[position])
        return Sample(
            id=self._samples.ids_at([index])[0],
            features={
                m: column.rows(index).astype(np.float32, copy=False)
                for m, column in self._columns.items()
            },
            times={m: column.times(index) for m, column in self._columns.items()},
            labels={name: self._raw_labels[name][index] for name in self.label_names},
        )

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in the order given."""
        return tuple(self._columns)

    @property
    def columns(self) -> dict[str, str]:
        """The column's name of each modality."""
        return {m: column.info.name for m, column in self._columns.items()}

    @property
    def dims(self) -> dict[str, int]:
        """Features a row, D, of each modality."""
        return {m: column.info.dim for m, column in self._columns.items()}

    @lazy_property
    def ids(self) -> npt.NDArray[np.str_]:
        """Sample ids `[N]`."""
        return self._samples.ids[self.indices]

    def ids_at(self, positions: npt.NDArray[np.int64]) -> list[str]:
        """Return the ids of the samples at `positions`, without a list of all of them."""
        return self._samples.ids_at(self.indices[positions])

    @lazy_property
    def shard_of(self) -> npt.NDArray[np.int64]:
        """Shard of each sample `[N]`."""
        return self._samples.shard_of[self.indices]

    @lazy_property
    def group_of(self) -> npt.NDArray[np.int64]:
        """Number of each sample's group `[N]`; a sample without one is a group of its own."""
        return self._samples.group_numbers(self.indices)

    @lazy_property
    def available(self) -> npt.NDArray[np.bool_]:
        """Which modalities a sample has `[N, M]`, i.e. T > 0."""
        return np.stack([self.lengths(m) > 0 for m in self.modalities], axis=1)

    @lazy_property
    def fingerprint(self) -> str:
        """Digest of ids, labels and the rows of all columns; changes when any of them does."""
        columns = {
            m: [column.info.fingerprint, column.content_sha256]
            for m, column in self._columns.items()
        }
        found = {name: self.label(name) for name in self.label_names}
        labels = {name: [_sha256(label.values), label.classes] for name, label in found.items()}
        # Arrays are hashed as bytes: a list of a million ids takes seconds to spell as JSON.
        return digest(
            {
                "ids": self._samples.ids_digest_at(self.indices),
                "shards": _sha256(self.shard_of),
                "modalities": self.modalities,
                "columns": columns,
                "labels": labels,
            }
        )

    def lengths(self, modality: str) -> npt.NDArray[np.int64]:
        """Return the rows of each sample, T, `[N]`; not to be written to."""
        found = self._lengths.get(modality)
        if found is None:
            found = self._columns[modality].lengths[self.indices].astype(np.int64)
            self._lengths[modality] = found
        return found

    def rows(self, i: int, modality: str) -> npt.NDArray[Any]:
        """Return the rows `[T, D]` of the sample at position `i`, float32 or float16 as stored."""
        return self._columns[modality].rows(int(self.indices[i]))

    def read_rows(self, i: int, modality: str, out: npt.NDArray[Any], *, first: int = 0) -> None:
        """Read rows of the sample at position `i` into a part of a batch; see Column.read_rows."""
        self._columns[modality].read_rows(int(self.indices[i]), out, first=first)

    def read_batch(
        self,
        positions: npt.NDArray[np.int64],
        modality: str,
        *,
        out: npt.NDArray[Any],
        at: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64],
        first: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Read the samples at `positions` into a batch; see Column.read_batch."""
        column = self._columns[modality]
        column.read_batch(self.indices[positions], out, at=at, counts=counts, first=first)

    def will_need(self, positions: npt.NDArray[np.int64]) -> None:
        """Ask for the shards of the samples at `positions`; see Column.will_need."""
        shards = np.unique(self.shard_of[positions]).tolist()
        for column in self._columns.values():
            column.will_need(shards)

    @property
    def is_fetched(self) -> bool:
        """Whether a column is behind a URL, so that its shards are copied before they are read."""
        return any(isinstance(one, Fetched) for one in sources(list(self._columns.values())))

    def will_read(self, windows: Sequence[Sequence[int]]) -> None:
        """Say in which order shards will be read, so that remote ones are fetched ahead.

        Args:
            windows: Shard numbers, window by window; those of a window are read in any order.

        Raises:
            ConfigError: If two windows that follow each other do not fit into the local cache.
        """
        remote = [c for c in sources(list(self._columns.values())) if isinstance(c, Fetched)]
        for cache in {id(c.cache): c.cache for c in remote}.values():
            mine = [c for c in remote if c.cache is cache]
            paths = [[c.shard_path(k) for c in mine for k in window] for window in windows]
            cache.plan([[path for path in window if path is not None] for window in paths])

    def dtype(self, modality: str) -> np.dtype[Any]:
        """Return the type of a modality's stored rows, float32 or float16."""
        return np.dtype(self._columns[modality].info.dtype)

    def label(self, name: str) -> LabelColumn:
        """Return one label of every sample of the view; not to be written to.

        Raises:
            UnknownColumn: If the store has no such label.
        """
        found = self._labels.get(name)
        if found is None:
            found = self._labels[name] = self._label(name)
        return found

    def _label(self, name: str) -> LabelColumn:
        kind = self._samples.label_kind(name)
        everywhere = self._samples.label_array(name)
        mine = everywhere.take(pa.array(self.indices))
        present = np.array(mine.is_valid(), dtype=bool)
        if kind == "float":
            values = np.array(mine.fill_null(np.nan), dtype=np.float64)
            return LabelColumn(values, None, kind, present)
        if kind == "int":
            values = np.array(mine.fill_null(-1), dtype=np.int64)
            return LabelColumn(values, None, kind, present)
        # Over the whole store, so that train and test agree on what a code means.
        classes = tuple(sorted(everywhere.drop_null().unique().to_pylist()))
        codes = pc.index_in(mine, value_set=pa.array(classes, pa.string()))
        values = np.array(codes.fill_null(-1), dtype=np.int64)
        return LabelColumn(values, classes, kind, present)

    def with_rows(self, mask: npt.ArrayLike) -> "StoreView":
        """Return the view of some of its samples.

        Args:
            mask: bool `[N]`, or positions.
        """
        chosen = np.asarray(mask)
        if chosen.dtype == bool and chosen.shape != (len(self),):
            raise SchemaMismatch(f"a mask of {list(chosen.shape)} for {len(self)} samples")
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)
        indices = self.indices[chosen]
        return StoreView(
            self._samples, self._columns, indices=indices, label_names=self.label_names
        )

    @lazy_property
    def _raw_labels(self) -> dict[str, npt.NDArray[np.object_]]:
        return {name: self._samples.label(name) for name in self.label_names}


def _sha256(array: npt.NDArray[Any]) -> str:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return hashlib.sha256(little.data).hexdigest()


def _check_complete(column: Column | JoinedColumn, num_shards: int) -> None:
    if not column.is_complete:
        is_derived = column.info.encoder.startswith("derived:")
        again = "store derive" if is_derived else "extract"
        raise SchemaMismatch(
            f"column '{column.info.name}' is not complete: {len(column.missing_shards)} of "
            f"{num_shards} shards are not extracted yet. Run `scfae {again}` again; it does only "
            "what is missing."
        )


def _field(samples: SampleTable, key: str) -> str:
    there = [*samples.label_names, "split", "group", "id"]
    if key not in there:
        raise UnknownColumn(
            f"where: the store has no label '{key}'; there are: {', '.join(there)}."
            f"{_near(key, there)}"
        )
    return key


def _near(name: str, there: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, there, n=1)
    return f" Did you mean '{near[0]}'?" if near else ""
