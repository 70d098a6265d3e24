"""One sample of a run's store, as the run's model sees it."""

from typing import Any

import numpy as np

from scfae.store import FeatureStore, StoreView
from scfae.store.errors import RunStateError, UnknownColumn

from .answering import SampleRows
from .loading import LoadedRun


class StoredSamples:
    """The samples of a run's store; it is opened when the first is asked for, and kept.

    Args:
        loaded: The run.
    """

    def __init__(self, loaded: LoadedRun) -> None:
        self._loaded = loaded
        self._view: StoreView | None = None
        self._store: FeatureStore | None = None

    def rows(self, key: str) -> SampleRows:
        """Return the rows of a sample, its split and what is known of its labels.

        Args:
            key: Its id.

        Raises:
            StoreNotFound, SchemaMismatch: The store or a column is no longer there.
            RunStateError: A column was made anew since the run was trained.
            UnknownColumn: There is no such sample.
        """
        store, view = self._opened()
        found = np.flatnonzero(view.ids == key)
        if not len(found):
            raise UnknownColumn(f"the store {store.url} has no sample '{key}'.")
        sample = view[int(found[0])]
        label = {"id": key, "split": store.samples.split[found[0]], "labels": sample.labels}
        rows = {branch: rows for branch, rows in sample.features.items() if len(rows)}
        without = [branch for branch in view.modalities if branch not in rows]
        return SampleRows(label, rows, dict.fromkeys(without, "the store has no rows of it"))

    def _opened(self) -> tuple[FeatureStore, StoreView]:
        if self._store is None or self._view is None:
            data = self._loaded.config.data
            store = FeatureStore.open(data.store)
            for branch, name in data.columns.items():
                was, now = self._loaded.columns[branch], store.branch(name).info
                if was.fingerprint != now.fingerprint:
                    raise RunStateError(
                        f"{branch}: column '{name}' of {store.url} was made anew since the run was "
                        "trained; predictions would mean nothing."
                    )
            labels = [name for name in data.label_names if name in store.samples.label_names]
            columns: dict[str, Any] = dict(data.columns)
            self._store, self._view = store, store.view(None, labels, **columns)
        return self._store, self._view
