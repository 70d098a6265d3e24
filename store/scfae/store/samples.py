"""The sample table: which samples there are, which shard each is in, and their labels.

`samples.parquet` has a row a sample in shard order. The partition is decided once, by a seeded
permutation of the sorted ids: shards are random subsets, so a shuffle within a few of them is as
good as a full one, whatever the order of the manifest.

Shapes: N samples, S shards.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .config import digest
from .errors import ManifestError, SchemaMismatch, UnknownColumn
from .lazy import lazy_property
from .sample_row import (
    LABEL_PREFIX,
    MEDIA_KINDS,
    MEDIA_PREFIX,
    SampleRow,
    chunked,
    deal,
    to_table,
)

Objects = npt.NDArray[np.object_]


class SampleTable:
    """All samples of a store in shard order.

    Args:
        table: The columns of `samples.parquet`.
        shard_size: Samples a shard, for new shards.
        seed: Seed of the partition.
    """

    def __init__(self, table: pa.Table, *, shard_size: int, seed: int = 0) -> None:
        self._table = table
        self.shard_size = shard_size
        self.seed = seed

    @classmethod
    def create(cls, rows: Sequence[SampleRow], shard_size: int, *, seed: int = 0) -> Self:
        """Deal samples to shards; the result does not depend on the order of `rows`.

        Raises:
            ManifestError: If there is no sample, or ids repeat, or a media kind is unknown.
            SchemaMismatch: If a label mixes text and numbers.
        """
        if shard_size < 1:
            raise ManifestError(f"shard_size must be at least 1, not {shard_size}")
        if not rows:
            raise ManifestError("there are no samples to make a store of")
        dealt = deal(rows, key=[seed])
        return cls(
            to_table(dealt, chunked(len(dealt), shard_size)), shard_size=shard_size, seed=seed
        )

    @classmethod
    def from_bytes(cls, data: bytes, *, shard_size: int, seed: int) -> Self:
        """Read a table from the bytes of `samples.parquet`."""
        # Not pq.read_table: its threads may let go of the bytes, and so need the interpreter, when
        # the interpreter is already closing; that aborts the process (seen under load).
        file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False)
        return cls(file.read(use_threads=False), shard_size=shard_size, seed=seed)

    def to_bytes(self) -> bytes:
        """Return the bytes of `samples.parquet`; the same table gives the same bytes."""
        sink = io.BytesIO()
        pq.write_table(self._table, sink, compression="zstd")
        return sink.getvalue()

    def append(self, rows: Sequence[SampleRow]) -> "SampleTable":
        """Return a table with the new ids of `rows` in new shards; known ids stay as they are."""
        known = set(self.ids.tolist())
        new = [row for row in rows if row.id not in known]
        if not new:
            return self
        dealt = deal(new, key=[self.seed, self.num_shards])
        shards = self.num_shards + chunked(len(dealt), self.shard_size)
        together = np.concatenate([self.shard_of, shards])
        return SampleTable(
            to_table(self.rows() + dealt, together), shard_size=self.shard_size, seed=self.seed
        )

    def select(self, indices: npt.NDArray[np.int64]) -> "SampleTable":
        """Return a table of some samples, `indices` rising; shards are numbered without gaps."""
        _, shards = np.unique(self.shard_of[indices], return_inverse=True)
        table = self._table.take(indices)
        place = table.column_names.index("shard")
        table = table.set_column(place, "shard", pa.array(shards.astype(np.int32), pa.int32()))
        return SampleTable(table, shard_size=self.shard_size, seed=self.seed)

    def updated(self, rows: Sequence[SampleRow]) -> "SampleTable":
        """Return a table with split, group, media, duration and labels taken from `rows`.

        Labels that a row does not name keep their value; ids and shards never change.

        Raises:
            SchemaMismatch: If an id is not in the table.
        """
        new = {row.id: row for row in rows}
        unknown = sorted(set(new) - set(self.ids.tolist()))
        if unknown:
            raise SchemaMismatch(f"{len(unknown)} ids are not in the store, e.g. {unknown[0]!r}")
        merged = [
            replace(new[row.id], labels={**row.labels, **new[row.id].labels})
            if row.id in new
            else row
            for row in self.rows()
        ]
        table = to_table(merged, self.shard_of)
        return SampleTable(table, shard_size=self.shard_size, seed=self.seed)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @lazy_property
    def ids(self) -> npt.NDArray[np.str_]:
        """Sample ids `[N]`, 4 bytes a character; for a few of them `ids_at` is faster."""
        return _strings(self._id_array)

    @lazy_property
    def _id_array(self) -> Any:
        return _one_chunk(self._table["id"])

    def ids_at(self, indices: npt.ArrayLike) -> list[str]:
        """Return the ids of some samples, without a list of all of them."""
        names: list[str] = self._id_array.take(
            pa.array(np.asarray(indices, dtype=np.int64))
        ).to_pylist()
        return names

    @lazy_property
    def ids_digest(self) -> str:
        """Digest of all ids in order and of the shard that each is in."""
        return digest([ids_digest(self._id_array), self.bounds.tolist()])

    def ids_digest_at(self, indices: npt.NDArray[np.int64]) -> str:
        """Return the digest of the ids of some samples in order."""
        return ids_digest(self._id_array.take(pa.array(indices)))

    @lazy_property
    def shard_of(self) -> npt.NDArray[np.int64]:
        """Shard of each sample `[N]`, rising."""
        return np.asarray(self._table["shard"].to_numpy(), dtype=np.int64)

    @lazy_property
    def bounds(self) -> npt.NDArray[np.int64]:
        """Where shards begin, `[S + 1]`: shard k is the samples `bounds[k]:bounds[k + 1]`."""
        shards = np.arange((int(self.shard_of[-1]) + 1 if len(self) else 0) + 1)
        return np.searchsorted(self.shard_of, shards).astype(np.int64)

    @property
    def num_shards(self) -> int:
        """Number of shards, S."""
        return len(self.bounds) - 1

    def rows_of(self, shard: int) -> range:
        """Return the samples of a shard.

        Raises:
            SchemaMismatch: If there is no such shard.
        """
        if not 0 <= shard < self.num_shards:
            raise SchemaMismatch(f"there is no shard {shard}: the store has {self.num_shards}")
        return range(int(self.bounds[shard]), int(self.bounds[shard + 1]))

    def ids_sha256(self, shard: int) -> str:
        """Return the digest of a shard's ids in order."""
        found = self._ids_sha256.get(shard)
        if found is None:
            here = self.rows_of(shard)
            found = digest(self._id_array.slice(here.start, len(here)).to_pylist())
            self._ids_sha256[shard] = found
        return found

    @lazy_property
    def _ids_sha256(self) -> dict[int, str]:
        return {}

    @lazy_property
    def split(self) -> Objects:
        """Split of each sample `[N]`, str or None."""
        return self._objects("split")

    @lazy_property
    def group(self) -> Objects:
        """Group of each sample `[N]`, str or None."""
        return self._objects("group")

    def group_numbers(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return a number for the group of each of some samples, by first appearance, from 0.

        A sample without a group is a group of its own.
        """
        named = _one_chunk(self._table["group"]).take(pa.array(indices)).dictionary_encode()
        codes = np.asarray(named.indices.fill_null(-1), dtype=np.int64)
        begins = codes < 0
        known = np.flatnonzero(~begins)
        distinct, places = np.unique(codes[known], return_index=True)
        begins[known[places]] = True
        numbers = np.cumsum(begins) - 1
        first = np.zeros(len(named.dictionary), dtype=np.int64)
        first[distinct] = known[places]
        numbers[known] = numbers[first[codes[known]]]
        return numbers

    @lazy_property
    def splits(self) -> tuple[str, ...]:
        """The splits there are, sorted."""
        return tuple(sorted(map(str, self._table["split"].drop_null().unique().to_pylist())))

    @lazy_property
    def duration_s(self) -> npt.NDArray[np.float64]:
        """Length of each sample's media in seconds `[N]`, NaN where unknown."""
        return np.array(self._table["duration_s"].to_numpy(), dtype=np.float64)

    @lazy_property
    def label_names(self) -> tuple[str, ...]:
        """The labels there are, sorted."""
        return tuple(
            name.removeprefix(LABEL_PREFIX)
            for name in self._table.column_names
            if name.startswith(LABEL_PREFIX)
        )

    def label(self, name: str) -> Objects:
        """Return a label of each sample `[N]`: int, float, str or None.

        Raises:
            UnknownColumn: If there is no such label.
        """
        self.label_kind(name)
        return self._objects(LABEL_PREFIX + name)

    def label_array(self, name: str) -> Any:
        """Return a label of each sample as an Arrow array `[N]`; unknown is null.

        Raises:
            UnknownColumn: If there is no such label.
        """
        self.label_kind(name)
        return _one_chunk(self._table[LABEL_PREFIX + name])

    def is_among(self, field: str, values: Sequence[Any]) -> npt.NDArray[np.bool_]:
        """Return which samples have one of `values`, bool `[N]`.

        Args:
            field: `id`, `split`, `group` or a label.
            values: What is looked for; None is unknown.

        Raises:
            UnknownColumn: If there is no such label.
        """
        own = field in ("id", "split", "group") and field not in self.label_names
        array = _one_chunk(self._table[field]) if own else self.label_array(field)
        wanted = list(values)
        if pa.types.is_string(array.type):
            known = pa.array([one for one in wanted if isinstance(one, str)], pa.string())
            found = np.array(pc.is_in(array, value_set=known), dtype=bool)
            return found | np.array(array.is_null()) if None in wanted else found
        # Python's own equality, so that 1, 1.0 and True are one; over the few different values.
        distinct = array.dictionary_encode()
        hits = np.array(
            [one in wanted for one in distinct.dictionary.to_pylist()] + [None in wanted]
        )
        codes = np.asarray(distinct.indices.fill_null(len(distinct.dictionary)), dtype=np.int64)
        return np.asarray(hits[codes], dtype=bool)

    def ids_with(self, text: str) -> npt.NDArray[np.bool_]:
        """Return which samples have a text in their id, whatever its case, bool `[N]`."""
        found = pc.match_substring(self._id_array, text, ignore_case=True)
        return np.array(found, dtype=bool)

    def label_kind(self, name: str) -> str:
        """Return `int`, `float` or `str`.

        Raises:
            UnknownColumn: If there is no such label.
        """
        if name not in self.label_names:
            there = ", ".join(self.label_names) or "none"
            raise UnknownColumn(f"the store has no label '{name}'; its labels are: {there}.")
        kinds = {pa.int64(): "int", pa.float64(): "float"}
        return kinds.get(self._table.schema.field(LABEL_PREFIX + name).type, "str")

    def media(self, kind: str) -> Objects:
        """Return the media reference of each sample `[N]`, str or None.

        Args:
            kind: `video`, `audio`, `image` or `text`.
        """
        return self._objects(MEDIA_PREFIX + kind)

    def rows(self) -> list[SampleRow]:
        """Return every sample as a row, in shard order."""
        media = {kind: self.media(kind) for kind in MEDIA_KINDS}
        labels = {name: self.label(name) for name in self.label_names}
        durations = self._table["duration_s"].to_pylist()
        return [
            SampleRow(
                id=str(name),
                media={kind: values[i] for kind, values in media.items() if values[i] is not None},
                split=self.split[i],
                group=self.group[i],
                labels={key: values[i] for key, values in labels.items()},
                duration_s=durations[i],
            )
            for i, name in enumerate(self.ids)
        ]

    def _objects(self, column: str) -> Objects:
        values = np.empty(len(self), dtype=object)
        values[:] = self._table[column].to_pylist()
        return values


def ids_digest(ids: Any) -> str:
    """Return the digest of an Arrow array of strings: of their lengths and their bytes."""
    _, ends, text = ids.buffers()
    bounds = np.frombuffer(ends, dtype=np.int32)[ids.offset : ids.offset + len(ids) + 1]
    hasher = hashlib.sha256(np.diff(bounds).astype("<i4").tobytes())
    if text is not None and len(bounds):
        hasher.update(memoryview(text)[int(bounds[0]) : int(bounds[-1])])
    return hasher.hexdigest()


def _one_chunk(column: Any) -> Any:
    """Return a column of a table as one array."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _strings(array: Any) -> npt.NDArray[np.str_]:
    """Return an Arrow array of strings as numpy's, without a Python object for each."""
    _, ends, text = array.buffers()
    if len(array) == 0 or text is None:
        return np.array(array.to_pylist(), dtype=np.str_)
    bounds = np.frombuffer(ends, dtype=np.int32)[array.offset : array.offset + len(array) + 1]
    letters = np.frombuffer(text, dtype=np.uint8)[bounds[0] : bounds[-1]]
    lengths = np.diff(bounds)
    width = max(1, int(lengths.max()))
    if (letters >= 128).any():
        return np.array(array.to_pylist(), dtype=np.str_)
    out = np.zeros((len(array), width), dtype=np.uint32)  # UCS-4, as numpy keeps strings
    out[np.arange(width) < lengths[:, None]] = letters
    return out.view(f"U{width}")[:, 0]
