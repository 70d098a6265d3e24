"""What an export takes from a store: chosen columns of all samples, or of those of one split.

Shards of the export are the store's shards without the samples that were not chosen; shards that
would be empty are left out. Receipts are marked when the export is planned, and a shard that was
written anew in the meantime is refused, so that an export never mixes two states of a store.

Shapes: n samples of a shard, N of the export, R rows, D features.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..column import SAFE_NAME, ColumnInfo
from ..config import digest
from ..container import ShardContents
from ..errors import ConfigError, CorruptShard, SchemaMismatch, UnknownColumn
from ..header import read_store, samples_bytes
from ..lazy import lazy_property
from ..reader import NOT_EXTRACTED, Column
from ..receipt import Receipt
from ..samples import Objects, SampleTable
from ..shard import ShardReader
from ..store import FeatureStore
from .fates import ShardFates


class ShardRows(NamedTuple):
    """The rows of one shard: `data [R, D]`, `offsets [n + 1]`, `times [R, 2]` in seconds."""

    data: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]
    times: npt.NDArray[np.float64]


class Mark(NamedTuple):
    """One committed shard of a column as it was when the export was planned."""

    receipt_sha256: str
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class ColumnSource:
    """One column to export.

    Attributes:
        key: What its rows are called inside joined files.
        info: What the column is.
        column: It, for reading.
        marks: Its shards of the export by number; a shard not extracted yet has none.
    """

    key: str
    info: ColumnInfo
    column: Column
    marks: dict[int, Mark]

    @property
    def rows(self) -> int:
        """Rows of all shards that are exported."""
        return sum(mark.rows for mark in self.marks.values())


class Source:
    """The samples and columns of one export.

    Args:
        store: The store.
        columns: Names of columns; empty is all.
        split: Only samples of this split; None is all.

    Attributes:
        samples: The samples that are exported, in their shards.
        table: The bytes of `samples.parquet`.
        table_sha256: Of these bytes.
        columns: The columns in the order they were asked for.

    Raises:
        UnknownColumn: If there is no such column or split.
        ConfigError: If there is no column, or one is named twice.
        CorruptShard: If the table or a receipt is damaged.
    """

    def __init__(self, store: FeatureStore, columns: Sequence[str], *, split: str | None) -> None:
        header, everything = read_store(store.path)
        table = samples_bytes(store.path, header)
        if table is None:
            raise CorruptShard(f"{store.path}: the sample table was replaced; export again.")
        self.split = split
        if split is None:
            self.samples, self.table = everything, table
            indices = np.arange(len(everything), dtype=np.int64)
        else:
            indices = _of_split(everything, split)
            self.samples = everything.select(indices)
            self.table = self.samples.to_bytes()
        self.table_sha256 = hashlib.sha256(self.table).hexdigest()
        self._store_shards = np.unique(everything.shard_of[indices])
        self._places = indices - everything.bounds[everything.shard_of[indices]]
        chosen = [store.column(name) for name in (columns or list(store.columns))]
        names = [column.info.name for column in chosen]
        if not names:
            raise ConfigError(f"columns: {store.path} has none to export; extract features first.")
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"columns: '{name}' is named twice.")
        # From the store's own table: a column opened a moment ago may know fewer samples.
        opened = [one.over(everything) for one in chosen]
        keys = _keys([column.info for column in opened])
        self.columns = [
            ColumnSource(key, column.info, column, self._marks(column))
            for key, column in zip(keys, opened, strict=True)
        ]

    @lazy_property
    def labels(self) -> dict[str, Objects]:
        """Every label of every sample `[N]`: int, float, str or None."""
        return {name: self.samples.label(name) for name in self.samples.label_names}

    @property
    def num_shards(self) -> int:
        """Shards of the export."""
        return self.samples.num_shards

    def mark(self, columns: Sequence[ColumnSource], shards: Sequence[int]) -> str:
        """Return the digest of what decides the rows of these shards of these columns."""
        return digest(
            {
                "samples": self.table_sha256,
                "columns": [column.info.model_dump(mode="json") for column in columns],
                "shards": [[column.marks.get(shard) for shard in shards] for column in columns],
            }
        )

    def receipt(self, source: ColumnSource, shard: int) -> Receipt | None:
        """Return the receipt behind a shard of the export, None if it is not extracted yet.

        Raises:
            SchemaMismatch: If it is another one than when the export was planned.
        """
        receipt = source.column.receipt(int(self._store_shards[shard]))
        mark = source.marks.get(shard)
        if (None if receipt is None else _sha256(receipt)) != (mark and mark.receipt_sha256):
            raise SchemaMismatch(
                f"column '{source.info.name}': shard {self._store_shards[shard]} was written while "
                "it was being exported. Run the export again when its writer has ended."
            )
        return receipt

    def fates(self, source: ColumnSource, shard: int) -> ShardFates | None:
        """Return what became of a shard's samples, None if it is not extracted yet."""
        receipt = self.receipt(source, shard)
        if receipt is None:
            return None
        return ShardFates.of(
            receipt,
            shard=shard,
            places=None if self.split is None else self._places_of(shard),
            ids_sha256=self.samples.ids_sha256(shard),
        )

    def told(self, source: ColumnSource, shard: int) -> tuple[list[str], list[str | None]]:
        """Return status and reason of a shard's samples, also where it is not extracted yet."""
        fates = self.fates(source, shard)
        count = len(self.samples.rows_of(shard))
        if fates is None:
            return ["missing"] * count, [NOT_EXTRACTED] * count
        return list(fates.status), [fates.reason(place) for place in range(count)]

    def file(self, source: ColumnSource, shard: int) -> tuple[Path, Receipt]:
        """Return the store's file of a committed shard, read against its receipt.

        Raises:
            CorruptShard: If it is damaged.
        """
        receipt = self.receipt(source, shard)
        if receipt is None:
            raise SchemaMismatch(f"column '{source.info.name}': shard {shard} is {NOT_EXTRACTED}.")
        path = source.column.local_file(receipt)
        ShardReader(path, receipt).verify()
        return path, receipt

    def rows(self, source: ColumnSource, shard: int, *, is_checked: bool = True) -> ShardRows:
        """Return the rows of a shard; none where it is not extracted yet.

        Args:
            source: The column.
            shard: Number of the shard in the export.
            is_checked: Read the whole file against its checksum first.

        Raises:
            CorruptShard: If the file is damaged.
        """
        count = len(self.samples.rows_of(shard))
        receipt = self.receipt(source, shard)
        if receipt is None:
            data = np.zeros((0, source.info.dim), dtype=source.info.dtype)
            return ShardRows(data, np.zeros(count + 1, dtype=np.int64), np.zeros((0, 2)))
        reader = ShardReader(source.column.local_file(receipt), receipt)
        if is_checked:
            reader.verify()
        if (reader.dim, reader.dtype) != (source.info.dim, np.dtype(source.info.dtype)):
            raise CorruptShard(
                f"column '{source.info.name}': {reader.path} holds {reader.dtype} "
                f"[R, {reader.dim}], not {source.info.dtype} [R, {source.info.dim}]."
            )
        return gather(reader, self._places_of(shard).tolist())

    def contents(self, source: ColumnSource, shard: int) -> ShardContents:
        """Return a shard as the containers of the store take it."""
        rows = self.rows(source, shard)
        here = self.samples.rows_of(shard)
        status, reasons = self.told(source, shard)
        return ShardContents(
            rows.data,
            rows.offsets,
            rows.times,
            modality=source.info.modality,
            first=here.start,
            ids=self.samples.ids[here.start : here.stop].tolist(),
            status=status,
            reasons={i: why for i, why in enumerate(reasons) if why is not None},
        )

    def shards(self) -> Iterator[int]:
        """Yield the numbers of the export's shards."""
        yield from range(self.num_shards)

    def _places_of(self, shard: int) -> npt.NDArray[np.int64]:
        here = self.samples.rows_of(shard)
        return self._places[here.start : here.stop]

    def _marks(self, column: Column) -> dict[int, Mark]:
        marks = {}
        for shard, number in enumerate(self._store_shards.tolist()):
            receipt = column.receipt(number)
            if receipt is not None:
                lengths = np.asarray(receipt.lengths, dtype=np.int64)
                rows = int(lengths[self._places_of(shard)].sum())
                marks[shard] = Mark(_sha256(receipt), rows)
        return marks


def gather(reader: ShardReader, places: Sequence[int]) -> ShardRows:
    """Return the rows of some samples of a shard, one after the other."""
    rows = [reader.rows(place) for place in places]
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in rows])]).astype(np.int64)
    times = [reader.times(place) for place in places]
    return ShardRows(np.concatenate(rows), offsets, np.concatenate(times))


def _of_split(samples: SampleTable, split: str) -> npt.NDArray[np.int64]:
    if split not in samples.splits:
        there = ", ".join(samples.splits) or "none"
        raise UnknownColumn(f"the store has no split '{split}'; its splits are: {there}.")
    return np.flatnonzero(samples.split == split).astype(np.int64)


def _keys(infos: Sequence[ColumnInfo]) -> list[str]:
    modalities = [info.modality for info in infos]
    names = [info.name for info in infos]
    keys = [
        info.modality
        if modalities.count(info.modality) == 1 and SAFE_NAME.fullmatch(info.modality)
        else info.name
        for info in infos
    ]
    return keys if len(set(keys)) == len(keys) else names


def _sha256(receipt: Receipt) -> str:
    return digest(receipt.model_dump(mode="json"))
