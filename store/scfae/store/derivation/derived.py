"""Write a derived column, shard by shard; a run that was cut off goes on where it stopped.

Shapes: T rows, D features, K features made.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..column import ColumnInfo
from ..container import Format
from ..errors import ConfigError, FingerprintMismatch, SchemaMismatch, UnknownColumn
from ..reader import Column
from ..store import FeatureStore
from ..writer import ShardSample
from .basis import read_basis, write_basis
from .chain import Chain
from .lineage import parent_record, parents_now, split_sha256
from .projection import Projection, fit_pca, random_projection
from .rows import Rows, prepare

Progress = Callable[[int, int, str], None]
"""Receives (shards done, shards in all, what happens now)."""


@dataclass(frozen=True, slots=True)
class DeriveReport:
    """What became of a derivation.

    Attributes:
        column: Its name.
        encoder: What was done, e.g. `derived:pool=mean`.
        dim: Features a row, K.
        shards: Shards of the column.
        shards_done: Those that were written now; the others were there.
        facts: Of the projection, e.g. `explained_variance`.
    """

    column: str
    encoder: str
    dim: int
    shards: int
    shards_done: int
    facts: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def derive(
    store: FeatureStore,
    column: str,
    name: str,
    chain: Chain,
    *,
    replace: bool = False,
    form: Format | None = None,
    progress: Progress | None = None,
) -> DeriveReport:
    """Compute a column from another one.

    Each sample's status, reason and media are its parent's.

    Args:
        store: The store.
        column: The parent.
        name: The new column.
        chain: What to do.
        replace: Throw away a column of this name that was made differently, e.g. a stale one.
        form: File format of the shards; None is the parent's.
        progress: Receives (shards done, shards in all, text).

    Raises:
        UnknownColumn: If there is no such column or split.
        ConfigError: If a step does not fit the parent's rows.
        SchemaMismatch: If a parent is not complete, or rows without times are to be resampled.
        FingerprintMismatch: If there is another column of this name.
        ColumnPinned: If it is to be replaced, and a run reads it.
    """
    parent = _parent(store, column)
    other = None if chain.resample is None else _parent(store, chain.resample)
    info = _describe(store, parent, other, name, chain, form=form)
    num_shards = store.samples.num_shards
    if not store.add_column(info, replace=replace).missing_shards():
        facts = store.column(name).info.compute
        return DeriveReport(name, info.encoder, info.dim, num_shards, 0, facts)
    source = _Source(store, parent, other, chain)
    projection = source.projection(info)
    if projection is not None:
        facts = {**projection.facts, "basis_sha256": projection.sha256}
        info = info.model_copy(update={"compute": facts})
    with store.add_column(info, replace=replace) as writer:
        if writer.info.compute.get("basis_sha256") != info.compute.get("basis_sha256"):
            raise FingerprintMismatch(
                f"column '{name}' was begun elsewhere with a basis that differs in its last digits "
                "from the one fitted here, and the two must not mix. Go on there, or drop it and "
                "derive again."
            )
        if chain.pca is not None and projection is not None and store.is_local:
            write_basis(writer.folder, projection)
        missing = writer.missing_shards()
        for done, shard in enumerate(missing):
            if progress is not None:
                progress(done, len(missing), f"shard {shard}")
            writer.commit(shard, source.shard(shard, projection))
        if progress is not None:
            progress(len(missing), len(missing), "done")
    return DeriveReport(name, info.encoder, info.dim, num_shards, len(missing), info.compute)


def projection_of(store: FeatureStore, info: ColumnInfo) -> Projection | None:
    """Return the projection that a derived column's rows went through, None if there was none.

    Principal components are read where they are kept, and fitted again elsewhere (a store behind a
    URL, a column of an earlier version).

    Args:
        store: The store with the column.
        info: The column, as it was made.

    Raises:
        CorruptShard: If what is kept are other numbers.
        FingerprintMismatch: If they are fitted again and differ.
        UnknownColumn: If they are not kept, and the parent is gone.
    """
    chain = Chain.from_steps(info.recipe["steps"])
    if chain.pca is None and chain.project is None:
        return None
    kept = read_basis(store.column(info.name).folder, info) if store.is_local else None
    if kept is not None:
        return kept
    parents = [_parent(store, name) for name in parents_now(store.columns, info)]
    other = parents[1] if len(parents) > 1 else None
    found = _Source(store, parents[0], other, chain).projection(info)
    if found is not None and found.sha256 != info.compute.get("basis_sha256"):
        raise FingerprintMismatch(
            f"the projection of column '{info.name}' is not kept, and fitted here again it differs "
            "from the one that its rows went through; derive the column again with --replace."
        )
    return found


def _parent(store: FeatureStore, name: str) -> Column:
    column = store.column(name)
    if not column.is_complete:
        raise SchemaMismatch(
            f"column '{column.info.name}' is not complete: {len(column.missing_shards)} of "
            f"{column.num_shards} shards are not extracted yet; complete it first."
        )
    return column


def _describe(
    store: FeatureStore,
    parent: Column,
    other: Column | None,
    name: str,
    chain: Chain,
    *,
    form: Format | None,
) -> ColumnInfo:
    parents = [parent] if other is None else [parent, other]
    if name in [one.info.name for one in parents]:
        raise ConfigError(f"--as: '{name}' is what it is derived from; give another name.")
    recipe: dict[str, Any] = {
        "parents": [parent_record(one) for one in parents],
        "steps": chain.steps,
    }
    versions: dict[str, str] = {}
    if chain.pca is not None:
        if chain.fit_split not in store.samples.splits:
            raise UnknownColumn(
                f"--fit-split: the store has no split '{chain.fit_split}'; its splits are: "
                f"{', '.join(store.samples.splits) or 'none'}."
            )
        recipe["fit_sha256"] = split_sha256(store.samples, chain.fit_split)
        versions = {"numpy": np.__version__}
    clock = parent if other is None else other
    return ColumnInfo.create(
        name,
        parent.info.modality,
        encoder=chain.encoder,
        dim=chain.dim(parent.info.dim),
        weights=parent.info.weights,
        weights_sha256=parent.info.weights_sha256,
        is_random=parent.info.is_random,
        recipe=recipe,
        layer=parent.info.layer,
        dtype=chain.dtype or parent.info.dtype,
        format=form or parent.info.format,
        rows_per_second=None if chain.pool else clock.info.rows_per_second,
        licence=parent.info.licence,
        versions=versions,
    )


class _Source:
    """Reads the parents of a derived column and takes the steps of its chain."""

    def __init__(
        self, store: FeatureStore, parent: Column, other: Column | None, chain: Chain
    ) -> None:
        self._samples = store.samples
        self._parent, self._other, self._chain = parent, other, chain

    def projection(self, info: ColumnInfo) -> Projection | None:
        chain = self._chain
        dim = chain.dim_before_projection(self._parent.info.dim)
        if chain.project is not None:
            return random_projection(dim, chain.project, chain.seed)
        return None if chain.pca is None else fit_pca(self._fitted_on(dim), chain.pca)

    def shard(self, shard: int, projection: Projection | None) -> list[ShardSample]:
        """Return the new samples of a shard."""
        receipt = self._parent.receipt(shard)
        assert receipt is not None, "a parent is complete"
        samples = []
        for place, index in enumerate(self._samples.rows_of(shard)):
            fate: dict[str, Any] = {
                "status": receipt.status[place],
                "reason": receipt.reasons.get(str(place)),
                "media_sha256": receipt.media[place],
            }
            found = self._rows(index)
            if found is not None:
                values = found.values if projection is None else projection(found.values)
                samples.append(ShardSample(values, found.times, **fate))
            elif self._parent.lengths[index]:
                assert self._other is not None, "only a clock takes rows away"
                name = self._other.info.name
                reason = f"column '{name}', whose clock it takes, has no rows"
                samples.append(
                    ShardSample(status="missing", reason=reason, media_sha256=fate["media_sha256"])
                )
            else:
                samples.append(ShardSample(**fate))
        return samples

    def _fitted_on(self, dim: int) -> Iterator[npt.NDArray[np.float64]]:
        """Yield the rows that a fit sees, a shard at a time, in the store's order."""
        for shard in range(self._samples.num_shards):
            here = [
                index
                for index in self._samples.rows_of(shard)
                if self._samples.split[index] == self._chain.fit_split
            ]
            found = [rows.values for rows in map(self._rows, here) if rows is not None]
            yield np.concatenate(found) if found else np.empty((0, dim))

    def _rows(self, index: int) -> Rows | None:
        """Return a sample's rows before the projection, None if it has none."""
        parent, other = self._parent, self._other
        clock = None if other is None else other.times(index)
        if not parent.lengths[index] or (clock is not None and not len(clock)):
            return None
        times = parent.times(index)
        if other is not None and clock is not None:
            for column, known in ((parent, times), (other, clock)):
                if np.isnan(known).any():
                    raise SchemaMismatch(
                        f"--resample: column '{column.info.name}' does not know the times of its "
                        f"rows, e.g. of sample '{self._samples.ids[index]}'."
                    )
        return prepare(parent.rows(index), times, self._chain, clock)
