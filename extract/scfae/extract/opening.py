"""The store an extraction writes to: made, or opened and given the inputs it does not know."""

from collections.abc import Mapping

from scfae.store import FeatureStore, SampleRow
from scfae.store.errors import StoreError, StoreLocked, StoreNotFound

from .manifest import MediaItem
from .plan import sample_rows
from .writers import when_free


def open_store(
    path: str, items: Mapping[str, MediaItem], *, shard_size: int, dry_run: bool
) -> tuple[FeatureStore | None, int | None]:
    """Return the store with all inputs among its samples, and the shard size it had.

    Args:
        path: Its folder or URL.
        items: The inputs by id.
        shard_size: Samples a shard, of a new store.
        dry_run: Touch nothing; without a store this returns (None, None).

    Raises:
        StoreError: If there is something else at `path`.
        StoreLocked: If another process writes the sample table for long.
    """
    rows = sample_rows(list(items.values()))
    try:
        store = FeatureStore.open(path)
    except StoreNotFound:
        if dry_run:
            return None, None
        store, is_new = when_free(lambda: _make(path, rows, shard_size))
        if is_new:
            return store, None
    if dry_run:
        store.samples = store.samples.append(rows)  # in memory only
    else:
        when_free(lambda: store.append_samples(rows))
        when_free(lambda: store.update_labels(rows))
    return store, store.samples.shard_size


def _make(path: str, rows: list[SampleRow], shard_size: int) -> tuple[FeatureStore, bool]:
    """Return a new store, or the one that another process has made in the same moment."""
    try:
        return FeatureStore.create(path, rows, shard_size=shard_size), True
    except StoreLocked:
        raise
    except StoreError:
        try:
            return FeatureStore.open(path), False
        except StoreNotFound:
            pass
        raise
