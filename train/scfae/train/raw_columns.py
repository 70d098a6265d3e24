"""A run's columns made again from raw media: an encoder's rows, and what was derived from them.

A derived column is the steps of its recipe on its parents' rows, down to columns of encoders; each
column is rounded to the type it is stored in, as the store's rows are. Parents and the principal
components are looked up in the run's store.

Shapes: T rows, D features.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scfae.store import Chain, ColumnInfo, FeatureStore
from scfae.store.derivation import Projection, is_derived, parents_now, prepare, projection_of
from scfae.store.errors import RunStateError, StoreNotFound, UnknownColumn
from scfae.store.joined import is_joined, parts_of


class Encoded(NamedTuple):
    """Rows float32 `[T, D]`, T > 0, and their start and end in seconds `[T, 2]`."""

    rows: npt.NDArray[np.float32]
    times: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RawColumn:
    """How one column is made from media.

    Attributes:
        info: The column, as the run was trained on it.
        parents: What it is derived from, or what stands side by side; none for an encoder's.
        chain: The steps, of a derived one.
        projection: Among them.
    """

    info: ColumnInfo
    parents: tuple["RawColumn", ...] = ()
    chain: Chain | None = None
    projection: Projection | None = None

    def encoders(self) -> Iterator[ColumnInfo]:
        """Yield the columns of encoders that it comes from."""
        if not self.parents:
            yield self.info
        for parent in self.parents:
            yield from parent.encoders()

    def rows(self, encoded: Mapping[str, Encoded]) -> Encoded | None:
        """Return its rows of one sample, as the store would give them; None if it has none.

        Args:
            encoded: Rows of the columns of encoders, by name; those without rows are not in it.
        """
        if not self.parents:
            found = encoded.get(self.info.name)
            return None if found is None else self._stored(found.rows, found.times)
        given = [parent.rows(encoded) for parent in self.parents]
        if self.chain is None:
            return self._beside(given)
        first, clock = given[0], given[1] if len(given) > 1 else None
        if first is None or (len(given) > 1 and clock is None):
            return None
        made = prepare(first.rows, first.times, self.chain, None if clock is None else clock.times)
        values = made.values if self.projection is None else self.projection(made.values)
        return self._stored(values, made.times)

    def _beside(self, given: Sequence[Encoded | None]) -> Encoded | None:
        there = [one for one in given if one is not None]
        if len(there) < len(given):
            return None
        counts = [len(one.rows) for one in there]
        if len(set(counts)) > 1:
            names = [parent.info.name for parent in self.parents]
            raise RunStateError(
                f"the columns {' and '.join(names)} of one branch give {counts} rows of a sample, "
                "so they cannot stand side by side."
            )
        return self._stored(np.concatenate([one.rows for one in there], axis=1), there[0].times)

    def _stored(self, values: npt.NDArray[Any], times: npt.NDArray[np.float64]) -> Encoded:
        return Encoded(values.astype(self.info.dtype).astype(np.float32), times)


def raw_column(modality: str, info: ColumnInfo, store: str | Path) -> RawColumn:
    """Return how a run's column is made from media.

    Args:
        modality: Of the run, for messages.
        info: The column, as the run was trained on it.
        store: The run's store, which is opened for a derived column alone.

    Raises:
        RunStateError: If it is derived, and its parents are not there as they were; or it holds
            features that were made elsewhere.
    """
    if is_joined(info):
        parts = tuple(raw_column(modality, part, store) for part in parts_of(info))
        return RawColumn(info, parts)
    if not is_derived(info):
        if info.encoder.startswith("imported:"):
            raise RunStateError(
                f"{modality}: the rows of column '{info.name}' were made elsewhere "
                f"({info.encoder}), so there is no encoder to run on media."
            )
        return RawColumn(info)
    try:
        opened = FeatureStore.open(store)
    except StoreNotFound:
        raise RunStateError(
            f"{modality}: the run reads column '{info.name}', which was computed from others "
            f"({info.encoder}); how is kept in the store {store}, and there is none."
        ) from None
    return _derived(modality, info, opened)


def _derived(modality: str, info: ColumnInfo, store: FeatureStore) -> RawColumn:
    there = store.columns
    same = [one for one in there.values() if one.fingerprint == info.fingerprint]
    if not same:
        raise RunStateError(
            f"{modality}: the run's column '{info.name}' is no longer in {store.url}, or was made "
            "anew, so its steps cannot be taken."
        )
    now = same[0]
    if now.compute.get("basis_sha256") != info.compute.get("basis_sha256"):
        raise RunStateError(
            f"{modality}: column '{now.name}' of {store.url} was fitted anew since the run was "
            "trained; predictions would mean nothing."
        )
    parents = []
    for record, name in zip(now.recipe["parents"], parents_now(there, now), strict=True):
        parent = there.get(name)
        if parent is None or parent.fingerprint != record["fingerprint"]:
            raise RunStateError(
                f"{modality}: '{name}', which column '{now.name}' was computed from, is no longer "
                f"in {store.url} as it was."
            )
        parents.append(
            _derived(modality, parent, store)
            if is_derived(parent)
            else raw_column(modality, parent, store.url)
        )
    try:
        projection = projection_of(store, now)
    except UnknownColumn as error:
        raise RunStateError(f"{modality}: {error}") from None
    chain = Chain.from_steps(now.recipe["steps"])
    return RawColumn(now, tuple(parents), chain, projection)
