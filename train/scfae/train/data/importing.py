"""Sources of features that belong together become the columns of one store.

The store is made with the samples of all sources, so that each column has every sample: one that
its source lacks is `missing`, and says so.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from scfae.store import FeatureStore, SampleRow
from scfae.store.errors import SchemaMismatch, StoreNotFound
from scfae.store.importing import Nonfinite, Source, import_source

Progress = Callable[[int, int, str], None]


class Part(NamedTuple):
    """One column to be: its name, what it says, and how its source is opened."""

    column: str
    modality: str
    name: str
    open: Callable[[], AbstractContextManager[Source]]


def import_parts(
    parts: Iterable[Part],
    rows: Mapping[str, SampleRow],
    store: str | Path,
    *,
    shard_size: int,
    nonfinite: Nonfinite,
    recipe: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """Make the columns of a store; the same again does nothing, a cut one goes on.

    Args:
        parts: The columns.
        rows: Every sample with its split, group and labels, by id.
        store: The store's folder or URL, made if there is none.
        shard_size: Samples a shard, of a new store.
        nonfinite: What becomes of samples with NaN or infinity; see `import_features`.
        recipe: What else decides the rows.
        progress: Receives (samples done, samples in all, text).

    Returns:
        Fates and rows of each column.

    Raises:
        SchemaMismatch: If a store is there and has other samples.
        FingerprintMismatch: If one of the columns is there and was made differently.
    """
    _make(store, rows, shard_size)
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        with part.open() as source:
            report = import_source(
                source,
                store,
                name=part.name,
                column=part.column,
                modality=part.modality,
                recipe=recipe,
                given=rows,
                shard_size=FeatureStore.open(store).samples.shard_size,
                nonfinite=nonfinite,
                progress=progress,
            )
            found[part.column] = {
                "modality": part.modality,
                "dim": source.dim,
                "rows": report.rows,
                **report.counts,
            }
    return found


def _make(store: str | Path, rows: Mapping[str, SampleRow], shard_size: int) -> None:
    try:
        there = FeatureStore.open(store)
    except StoreNotFound:
        FeatureStore.create(store, list(rows.values()), shard_size=shard_size)
        return
    known = set(there.samples.ids.tolist())
    if known != set(rows):
        other = min(known ^ set(rows))
        raise SchemaMismatch(
            f"{store} is there with other samples than the data set has, e.g. {other!a}; choose "
            "another folder, or add a column with: scfae store import."
        )
