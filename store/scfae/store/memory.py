"""A view over arrays in memory: streams without a store, for notebooks, benchmarks and tests.

Shapes: N samples, M modalities, T rows, D features a row.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import SchemaMismatch
from .lazy import lazy_property
from .order import Booleans, Integers
from .sample_view import group_numbers


class MemoryLabels(NamedTuple):
    """One label of every sample, as `SampleView.label` gives it."""

    values: npt.NDArray[Any]
    classes: tuple[str, ...] | None
    kind: str
    present: Booleans


class MemoryView:
    """Samples held as arrays, with the interface of a store's view.

    Args:
        ids: One id a sample.
        features: For each modality N arrays `[T, D]`; T = 0 is a missing modality.
        labels: For each label N integers, floats or strings.
        groups: A group's name a sample; None, or an entry of None, is a group of its own.
        shard_size: How many consecutive samples count as one shard when shuffling.

    Raises:
        SchemaMismatch: If counts, dimensions or dtypes do not agree.
    """

    def __init__(
        self,
        ids: Sequence[str],
        features: Mapping[str, Sequence[npt.NDArray[Any]]],
        *,
        labels: Mapping[str, Sequence[Any]] | None = None,
        groups: Sequence[str | None] | None = None,
        shard_size: int = 256,
    ) -> None:
        self.ids: npt.NDArray[Any] = np.array(list(ids), dtype=np.str_)
        self.indices: Integers = np.arange(len(self.ids), dtype=np.int64)
        self.shard_of: Integers = self.indices // shard_size
        self.group_of: Integers = group_numbers(groups or [None] * len(self.ids))
        self.modalities: tuple[str, ...] = tuple(features)
        self.label_names: tuple[str, ...] = tuple(labels or ())
        self._features = {m: list(arrays) for m, arrays in features.items()}
        self._labels = {name: _labels(values) for name, values in (labels or {}).items()}
        self.dims: dict[str, int] = {m: self._dim(m) for m in self.modalities}
        if len(self.group_of) != len(self):
            raise SchemaMismatch(f"groups: {len(self.group_of)} for {len(self)} samples")
        for name, label in self._labels.items():
            if len(label.values) != len(self):
                raise SchemaMismatch(f"label {name}: {len(label.values)} for {len(self)} samples")

    def __len__(self) -> int:
        return len(self.ids)

    @lazy_property
    def available(self) -> Booleans:
        """Which modalities a sample has `[N, M]`."""
        columns = [self.lengths(m) > 0 for m in self.modalities]
        return np.stack(columns, axis=1) if columns else np.zeros((len(self), 0), dtype=bool)

    @lazy_property
    def fingerprint(self) -> str:
        """A digest of everything that is in the view."""
        sha = hashlib.sha256(repr((self.ids.tolist(), self.shard_of.tolist())).encode())
        for modality in self.modalities:
            sha.update(repr((modality, self.lengths(modality).tolist())).encode())
            for rows in self._features[modality]:
                sha.update(np.ascontiguousarray(rows).tobytes())
        for name, label in self._labels.items():
            sha.update(repr((name, label.values.tolist(), label.classes)).encode())
        return sha.hexdigest()

    def lengths(self, modality: str) -> Integers:
        """Return the rows of each sample, T, `[N]`."""
        return np.array([len(rows) for rows in self._features[modality]], dtype=np.int64)

    def rows(self, i: int, modality: str) -> npt.NDArray[Any]:
        """Return the rows `[T, D]` of the sample at position `i`."""
        return self._features[modality][i]

    def read_rows(self, i: int, modality: str, out: npt.NDArray[Any], *, first: int = 0) -> None:
        """Copy rows `first` to `first + len(out)` of the sample at position `i` to `out`.

        Raises:
            ValueError: If `out` does not fit the sample.
        """
        rows = self.rows(i, modality)[first : first + len(out)]
        # Checked, since numpy would broadcast a single row over the whole sample.
        if rows.shape != out.shape:
            raise ValueError(f"rows of shape {rows.shape} do not fill {out.shape}")
        out[:] = rows

    def read_batch(
        self,
        positions: Integers,
        modality: str,
        *,
        out: npt.NDArray[Any],
        at: Integers,
        counts: Integers,
        first: Integers | None = None,
    ) -> None:
        """Copy the samples at `positions` into a batch; see Column.read_batch."""
        firsts = np.zeros_like(counts) if first is None else first
        columns = (positions.tolist(), at.tolist(), counts.tolist(), firsts.tolist())
        for i, start, count, skip in zip(*columns, strict=True):
            self.read_rows(i, modality, out[start : start + count], first=skip)

    @property
    def is_fetched(self) -> bool:
        """Return False: everything is here."""
        return False

    def will_read(self, windows: Sequence[Sequence[int]]) -> None:
        """Do nothing: everything is here."""

    def dtype(self, modality: str) -> np.dtype[Any]:
        """Return float16 where all rows are, else float32."""
        kinds = {rows.dtype for rows in self._features[modality]}
        return np.dtype(np.float16 if kinds == {np.dtype(np.float16)} else np.float32)

    def label(self, name: str) -> MemoryLabels:
        """Return one label of every sample."""
        return self._labels[name]

    def _dim(self, modality: str) -> int:
        arrays = self._features[modality]
        if len(arrays) != len(self):
            raise SchemaMismatch(f"{modality}: {len(arrays)} arrays for {len(self)} samples")
        dims = {array.shape[1] if array.ndim == 2 else None for array in arrays}
        if len(dims) > 1 or None in dims:
            raise SchemaMismatch(f"{modality}: arrays must all be [T, D] with one D")
        return int(dims.pop() or 0) if dims else 0


def _labels(values: Sequence[Any]) -> MemoryLabels:
    array = np.array(list(values))
    everywhere = np.ones(len(array), dtype=bool)
    if array.dtype.kind == "U":
        classes, codes = np.unique(array, return_inverse=True)
        return MemoryLabels(codes.astype(np.int64), tuple(classes.tolist()), "str", everywhere)
    if array.dtype.kind == "f" and len(array):
        return MemoryLabels(array.astype(np.float64), None, "float", ~np.isnan(array))
    if array.dtype.kind in "biu" or len(array) == 0:
        return MemoryLabels(array.astype(np.int64), None, "int", everywhere)
    raise SchemaMismatch(f"labels must be integers, floats or strings, not {array.dtype}")
