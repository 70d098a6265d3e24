"""What is known of batches before their rows are read, worked out for many batches at a time.

One numpy call costs a microsecond or two, and ten times that after a batch of several MB has gone
through the caches; a batch takes dozens of them. So they are made once for tens of batches, and a
batch takes its slices.

Shapes: B samples of a batch, n of all batches together, M modalities.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .batch import Layout
from .crop import Crop
from .facts import Facts
from .hashing import Keys
from .order import Booleans, Integers
from .sample_view import SampleView

T = TypeVar("T")


class Reads(NamedTuple):
    """Samples to read of one modality, in the order of the file: all `[r]`.

    Attributes:
        slots: Which samples of the batch they are.
        positions: Where they are in the view.
        counts: Rows to read of each.
        firsts: First row of each; None is 0.
        stride: Every how many-th row is read.
    """

    slots: Integers
    positions: Integers
    counts: Integers
    firsts: Integers | None
    stride: int


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A batch without its rows.

    Attributes:
        ids: Ids `[B]`; empty for padding samples.
        positions: Positions in the view `[B]`; 0 for padding samples.
        is_padding: bool `[B]`.
        keys: `id_keys` of the samples `[B]`.
        read: What will be read `[B, M]`.
        present: The same, as a tensor.
        reads: For each modality what to read.
        counts: For each modality the rows of each sample `[B]`, 0 where nothing is read.
        longest: For each modality the most rows of a sample, at least 1.
        lengths: For each modality int64 `[B]`, as the batch says.
        labels: For each label `[B]`.
        groups: int64 `[B]`, -1 for padding; None where batches do not say.
    """

    ids: list[str]
    positions: Integers
    is_padding: Tensor
    keys: Keys
    read: Booleans
    present: Tensor
    reads: dict[str, Reads]
    counts: dict[str, Integers]
    longest: dict[str, int]
    lengths: dict[str, Tensor]
    labels: dict[str, Tensor]
    groups: Tensor | None


class _Cut:
    """Cuts arrays of all batches into those of each."""

    def __init__(self, sizes: Sequence[int], *, pin_memory: bool = False) -> None:
        self._sizes = list(sizes)
        self._ends = np.cumsum(sizes).tolist()
        self._pins = pin_memory

    def arrays(self, whole: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the parts `[B, ...]` of an array `[n, ...]`."""
        return [whole[end - size : end] for size, end in zip(self._sizes, self._ends, strict=True)]

    def tensors(self, whole: npt.NDArray[Any]) -> Sequence[Tensor]:
        """Return the parts of an array as tensors, page-locked if asked for."""
        tensor = torch.from_numpy(whole)
        parts: Sequence[Tensor] = torch.split(
            tensor.pin_memory() if self._pins else tensor, self._sizes
        )
        return parts


def prepare(
    view: SampleView,
    facts: Facts,
    batches: Sequence[Integers],
    present: Booleans,
    *,
    keys: Keys,
    crop: Crop,
    layout: Layout,
    seed: int,
    epoch: int,
    pin_memory: bool = False,
) -> list[Prepared]:
    """Return what is known of batches.

    Args:
        view: Where rows come from.
        facts: What is known of all its samples.
        batches: Positions in the view `[B]` of each batch; negative ones are padding samples.
        present: What to read of all of them `[n, M]`; nothing is read of padding samples.
        keys: `id_keys` of the samples `[n]`, for random crops.
        crop: Which rows are read.
        layout: `padded`, `packed` or `pooled`.
        seed: Of the stream.
        epoch: Of the batches.
        pin_memory: Whether tensors are page-locked.
    """
    sizes = [len(batch) for batch in batches]
    cut = _Cut(sizes, pin_memory=pin_memory)
    asked = np.concatenate(batches)
    is_padding = asked < 0
    chosen = np.maximum(asked, 0)
    read = present & ~is_padding[:, None]
    number = np.repeat(np.arange(len(sizes)), sizes)
    begins = np.cumsum(sizes, dtype=np.int64) - np.array(sizes, dtype=np.int64)
    # Files are read front to back, whatever the order of the batch.
    place = view.indices[chosen]
    order = np.lexsort((place, number))
    slot = np.arange(len(asked)) - begins[number]
    reads: dict[str, list[Reads]] = {}
    counts: dict[str, list[Integers]] = {}
    longest: dict[str, list[int]] = {}
    lengths: dict[str, Sequence[Tensor]] = {}
    for column, modality in enumerate(view.modalities):
        stored = facts.lengths[modality][chosen].astype(np.int64)
        rows, firsts = stored, None
        if not crop.is_all:
            rows = crop.lengths(column, stored)
            firsts = crop.starts(column, stored, keys, seed=seed, epoch=epoch)
        count = np.where(read[:, column], rows, 0)
        counts[modality] = cut.arrays(count)
        taken = order[read[order, column]]
        share = np.bincount(number[taken], minlength=len(sizes))
        parts = _Cut(share.tolist())
        skipped = None if firsts is None else parts.arrays(firsts[taken])
        slots, places, numbers = (parts.arrays(x[taken]) for x in (slot, chosen, count))
        reads[modality] = [
            Reads(
                slots[i],
                places[i],
                numbers[i],
                None if skipped is None else skipped[i],
                crop.strides[column],
            )
            for i in range(len(sizes))
        ]
        most = np.maximum.reduceat(np.append(count, 0), begins)
        longest[modality] = np.where(sizes, np.maximum(most, 1), 1).tolist()
        # Consumers may write into tensors, and counts are still to be read.
        shown = np.minimum(count, 1) if layout == "pooled" else count.copy()
        lengths[modality] = cut.tensors(shown)
    ids = np.where(is_padding, "", facts.ids[chosen]).tolist()
    labels = {name: cut.tensors(x.numpy()[chosen]) for name, x in facts.labels.items()}
    groups: Sequence[Tensor | None] = [None] * len(sizes)
    if facts.groups is not None:
        groups = cut.tensors(np.where(is_padding, -1, facts.groups[chosen]))
    of_keys, of_positions, of_read = cut.arrays(keys), cut.arrays(chosen), cut.arrays(read)
    of_padding, of_present = cut.tensors(is_padding), cut.tensors(read.copy())
    return [
        Prepared(
            ids=ids[begin : begin + sizes[i]],
            positions=of_positions[i],
            is_padding=of_padding[i],
            keys=of_keys[i],
            read=of_read[i],
            present=of_present[i],
            reads=_of(reads, i),
            counts=_of(counts, i),
            longest=_of(longest, i),
            lengths=_of(lengths, i),
            labels=_of(labels, i),
            groups=groups[i],
        )
        for i, begin in enumerate(begins.tolist())
    ]


def _of(each: Mapping[str, Sequence[T]], batch: int) -> dict[str, T]:
    return {name: parts[batch] for name, parts in each.items()}
