"""Reads chosen samples of a view straight into the buffers of one batch.

Shapes: B samples of the batch, M modalities, T rows, D features.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .batch import Batch, Layout
from .buffers import Buffers
from .crop import Crop
from .errors import CorruptShard, SchemaMismatch
from .facts import Facts
from .hashing import Keys
from .order import Booleans, Integers
from .prepared import Prepared, Reads, prepare
from .sample_view import SampleView


class DamagedRead(NamedTuple):
    """A sample whose rows of one modality could not be read.

    Attributes:
        modality: Which.
        shard: The shard it lies in.
        message: Column, shard and file, and what is wrong with it.
    """

    modality: str
    shard: int
    message: str


class Collator:
    """Makes batches of a view. Its scratch memory is for one thread.

    Args:
        view: Where rows come from.
        facts: What is known of all its samples.
        buffers: Where features of each modality are put.
        crop: Which rows of a sample are read.
        layout: `padded`, `packed` or `pooled`.
        keeps_dtype: Whether features stay in the stored dtype, or become float32.
        masks_damage: Whether a damaged shard hides its samples' modality, or raises.
        pin_memory: Put the small tensors into page-locked memory, as the buffers then are.
    """

    def __init__(
        self,
        view: SampleView,
        facts: Facts,
        *,
        buffers: Mapping[str, Buffers],
        crop: Crop,
        layout: Layout = "padded",
        keeps_dtype: bool = False,
        masks_damage: bool = False,
        pin_memory: bool = False,
    ) -> None:
        self._view = view
        self._facts = facts
        self._crop = crop
        self._layout = layout
        self._masks_damage = masks_damage
        self._pin_memory = pin_memory
        self._modalities = tuple(view.modalities)
        self._dims = view.dims
        self._stored = {m: view.dtype(m) for m in self._modalities}
        single = np.dtype(np.float32)
        self._dtypes = {m: self._stored[m] if keeps_dtype else single for m in self._modalities}
        self._buffers = buffers
        self._scratch = {m: np.empty((0, self._dims[m]), self._stored[m]) for m in self._modalities}

    def prepare(
        self,
        batches: Sequence[Integers],
        present: Booleans,
        *,
        keys: Keys,
        seed: int,
        epoch: int,
    ) -> list[Prepared]:
        """Return what is known of batches before their rows are read; see `prepare`."""
        return prepare(
            self._view,
            self._facts,
            batches,
            present,
            keys=keys,
            crop=self._crop,
            layout=self._layout,
            seed=seed,
            epoch=epoch,
            pin_memory=self._pin_memory,
        )

    def collate(
        self, prepared: Prepared, *, seed: int, epoch: int, position: int = 0
    ) -> tuple[Batch, list[DamagedRead]]:
        """Read the rows of a batch.

        Args:
            prepared: The batch.
            seed: Of the stream.
            epoch: Of the batch.
            position: Of the stream behind the batch.

        Raises:
            CorruptShard: If a shard's file is damaged, unless damage is masked.
            SchemaMismatch: If a sample's rows are not of the shape that the view announced.
        """
        features: dict[str, Tensor] = {}
        cu_seqlens: dict[str, Tensor] = {}
        damage: list[DamagedRead] = []
        # One modality after the other: each has files of its own.
        for column, modality in enumerate(self._modalities):
            while True:
                tensor, ends, damaged = self._read(modality, prepared)
                if not damaged:
                    break
                # Read again as if they had not been there: padding ends at the longest that is.
                asked = np.where(prepared.is_padding.numpy(), -1, prepared.positions)
                read = prepared.read.copy()
                for slot, error in damaged:
                    read[slot, column] = False
                    shard = int(self._view.shard_of[prepared.positions[slot]])
                    damage.append(DamagedRead(modality, shard, str(error)))
                (prepared,) = self.prepare(
                    [asked], read, keys=prepared.keys, seed=seed, epoch=epoch
                )
            features[modality] = tensor
            if ends is not None:
                cu_seqlens[modality] = self._place(ends.astype(np.int32))
        batch = Batch(
            ids=prepared.ids,
            features=features,
            lengths=prepared.lengths,
            present=prepared.present,
            labels=prepared.labels,
            modalities=self._modalities,
            is_padding=prepared.is_padding,
            layout=self._layout,
            cu_seqlens=cu_seqlens,
            groups=prepared.groups,
            epoch=epoch,
            position=position,
        )
        return batch, damage

    def _read(
        self, modality: str, prepared: Prepared
    ) -> tuple[Tensor, Integers | None, list[tuple[int, CorruptShard]]]:
        """Read one modality into a tensor; also where samples end in it, if it is packed."""
        dim, dtype = self._dims[modality], self._dtypes[modality]
        reads, count = prepared.reads[modality], prepared.counts[modality]
        ends = None
        if self._layout == "packed":
            ends = np.append(0, np.cumsum(count))
            tensor, array = self._buffers[modality].take((int(ends[-1]), dim), dtype)
            damaged = self._read_at(modality, reads, array, ends[:-1])
        elif self._layout == "pooled":
            tensor, array = self._buffers[modality].take((len(count), 1, dim), dtype)
            array[count == 0] = 0
            damaged = self._fill(modality, reads, lambda slot, _: array[slot], pools=True)
        else:
            longest = prepared.longest[modality]
            tensor, array = self._buffers[modality].take((len(count), longest, dim), dtype)
            flat = array.reshape(-1, dim)
            starts = np.arange(len(count)) * longest
            # Buffers come as they were left, so all that is not read is zeroed.
            _zero_between(flat, starts, count)
            damaged = self._read_at(modality, reads, flat, starts)
        return tensor, ends, damaged

    def _read_at(
        self, modality: str, reads: Reads, out: npt.NDArray[Any], starts: Integers
    ) -> list[tuple[int, CorruptShard]]:
        """Read samples into `out [R, D]`, that of slot b from row `starts[b]` on."""
        if reads.stride == 1 and self._stored[modality] == self._dtypes[modality]:
            try:
                self._view.read_batch(
                    reads.positions,
                    modality,
                    out=out,
                    at=starts[reads.slots],
                    counts=reads.counts,
                    first=reads.firsts,
                )
                return []
            except (CorruptShard, ValueError) as error:
                if isinstance(error, CorruptShard) and not self._masks_damage:
                    raise
                # One by one, below, to find out which sample it is.
        places = starts.tolist()
        return self._fill(modality, reads, lambda slot, n: out[places[slot] :][:n])

    def _fill(
        self,
        modality: str,
        reads: Reads,
        target: Callable[[int, int], npt.NDArray[Any]],
        *,
        pools: bool = False,
    ) -> list[tuple[int, CorruptShard]]:
        # For T >= 4 and D >= 768 a loop of contiguous copies is faster than index arrays.
        read_rows, stride = self._view.read_rows, reads.stride
        is_direct = stride == 1 and not pools and self._stored[modality] == self._dtypes[modality]
        spans = ((reads.counts - 1) * stride + 1).tolist()
        scratch = None if is_direct else self._scratch_for(modality, max(spans, default=0))
        damaged = []
        firsts = np.zeros_like(reads.counts) if reads.firsts is None else reads.firsts
        parts = (reads.slots, reads.positions, reads.counts, firsts)
        each = zip(*(part.tolist() for part in parts), spans, strict=True)
        for slot, position, rows, first, span in each:
            out = target(slot, rows)
            try:
                if scratch is None:
                    read_rows(position, modality, out, first=first)
                    continue
                read_rows(position, modality, scratch[:span], first=first)
            except CorruptShard as error:
                if not self._masks_damage:
                    raise
                damaged.append((slot, error))
                continue
            except ValueError as error:
                raise SchemaMismatch(
                    f"sample {self._view.ids[position]}, {modality}: {error}, but the store's "
                    "index says otherwise; run `scfae store verify`"
                ) from None
            # torch converts halves ten times faster than numpy, which does so one by one.
            stored = torch.from_numpy(scratch[:span:stride])
            if pools:
                np.add.reduce(stored.float().numpy(), axis=0, out=out[0])
                out /= rows
            else:
                torch.from_numpy(out).copy_(stored)
        return damaged

    def _scratch_for(self, modality: str, rows: int) -> npt.NDArray[Any]:
        scratch = self._scratch[modality]
        if len(scratch) < rows:
            scratch = np.empty((rows, scratch.shape[1]), scratch.dtype)
            self._scratch[modality] = scratch
        return scratch

    def _place(self, values: npt.NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(values)
        return tensor.pin_memory() if self._pin_memory else tensor


def _zero_between(rows: npt.NDArray[Any], starts: Integers, counts: Integers) -> None:
    """Zero those of `rows [R, D]` that are in no sample, which has `counts` rows from `starts`."""
    kept = np.flatnonzero(counts)
    begins, ends = starts[kept].tolist(), (starts[kept] + counts[kept]).tolist()
    for first, last in zip([0, *ends], [*begins, len(rows)], strict=True):
        if first < last:
            rows[first:last] = 0
