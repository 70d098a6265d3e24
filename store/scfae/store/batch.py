"""Samples side by side: padded tensors with lengths and presence.

What is absent, masked or padding is exactly 0 in a batch and was not read from disk, so it cannot
leak into a model that forgets to look at `present`.

Shapes: B samples of the batch, M modalities, T the longest of the batch (at least 1), D features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .errors import SchemaMismatch
from .order import Booleans, Integers, Labels, SampleView


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as fusion models take it: `model(batch.features, batch.present, batch.lengths)`.

    Attributes:
        ids: B sample ids.
        features: For each modality float32 `[B, T, D]`, zero where absent, masked or padded.
        lengths: For each modality int64 `[B]`, the rows that count; 0 where absent or masked.
        present: bool `[B, M]`, columns in the order of `modalities`.
        labels: For each label `[B]`: int64 (integers, codes of strings) or float32.
        modalities: The M names.
    """

    ids: list[str]
    features: dict[str, Tensor]
    lengths: dict[str, Tensor]
    present: Tensor
    labels: dict[str, Tensor]
    modalities: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Batch":
        """Return the batch on a device; `non_blocking` overlaps copies from pinned memory."""

        def move(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {k: v.to(device, non_blocking=non_blocking) for k, v in tensors.items()}

        return Batch(
            ids=self.ids,
            features=move(self.features),
            lengths=move(self.lengths),
            present=self.present.to(device, non_blocking=non_blocking),
            labels=move(self.labels),
            modalities=self.modalities,
        )

    def packed(self, modality: str) -> tuple[Tensor, Tensor]:
        """Return the rows without padding, as variable-length attention kernels take them.

        Returns:
            Rows float32 `[sum of T, D]` and their bounds int32 `[B + 1]`: sample b has the rows
            `bounds[b]:bounds[b + 1]`.
        """
        features, lengths = self.features[modality], self.lengths[modality]
        kept = torch.arange(features.shape[1], device=lengths.device) < lengths[:, None]
        bounds = torch.zeros(len(self) + 1, dtype=torch.int32, device=lengths.device)
        bounds[1:] = lengths.cumsum(0)
        return features[kept], bounds


def label_tensor(labels: Labels) -> Tensor:
    """Return a label of every sample `[N]`: float32 for floats, int64 for the rest."""
    dtype = np.float32 if labels.kind == "float" else np.int64
    return torch.from_numpy(np.array(labels.values, dtype=dtype))


def collate(
    view: SampleView,
    positions: Integers,
    *,
    present: Booleans,
    lengths: Mapping[str, npt.NDArray[Any]],
    labels: Mapping[str, Tensor],
    pin_memory: bool = False,
) -> Batch:
    """Read the samples at `positions [B]` of a view into one padded batch, in that order.

    Files are read front to back whatever the order of the batch.

    Args:
        view: Where rows come from.
        positions: Positions in the view `[B]`.
        present: What to read `[B, M]`; the rest stays zero.
        lengths: Rows of every sample of the view, for each modality `[N]`.
        labels: Labels of every sample of the view, for each label `[N]`.
        pin_memory: Allocate in page-locked memory, for asynchronous copies to a GPU.

    Raises:
        SchemaMismatch: If a sample's rows are not of the shape that the view announced.
    """
    reading_order = np.argsort(view.indices[positions], kind="stable")
    ids = [str(i) for i in view.ids[positions]]
    features: dict[str, Tensor] = {}
    counts: dict[str, Tensor] = {}
    # One modality after the other: each has files of its own.
    for column, modality in enumerate(view.modalities):
        here = present[:, column]
        count = np.where(here, lengths[modality][positions], 0).astype(np.int64)
        shape = (len(ids), max(1, int(count.max(initial=0))), view.dims[modality])
        # Pinned blocks come from torch's caching allocator, which waits for pending copies itself.
        padded = torch.zeros(shape, dtype=torch.float32, pin_memory=pin_memory)
        _fill(view, modality, padded.numpy(), reading_order[here[reading_order]], positions, count)
        features[modality] = padded
        counts[modality] = _place(torch.from_numpy(count), pin_memory)
    chosen = torch.from_numpy(positions)
    return Batch(
        ids=ids,
        features=features,
        lengths=counts,
        present=_place(torch.from_numpy(present.copy()), pin_memory),
        labels={name: _place(values[chosen], pin_memory) for name, values in labels.items()},
        modalities=tuple(view.modalities),
    )


def _fill(
    view: SampleView,
    modality: str,
    padded: npt.NDArray[np.float32],
    slots: Sequence[int] | Integers,
    positions: Integers,
    count: Integers,
) -> None:
    # A loop of contiguous copies is faster than gathering with index arrays for T >= 4, D >= 768.
    for slot in slots:
        rows = view.rows(int(positions[slot]), modality)
        wanted = (int(count[slot]), padded.shape[2])
        # Checked, since numpy would broadcast a single row over the whole sample.
        if rows.shape != wanted:
            raise SchemaMismatch(
                f"sample {view.ids[positions[slot]]}, {modality}: rows of shape {rows.shape}, "
                f"but the store's index says {wanted}; run `scfae store verify`"
            )
        padded[slot, : wanted[0]] = rows


def _place(tensor: Tensor, pin_memory: bool) -> Tensor:
    return tensor.pin_memory() if pin_memory else tensor
