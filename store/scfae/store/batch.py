"""Samples side by side: padded, packed or pooled tensors with lengths and presence.

What is absent, masked or padding is exactly 0 in a batch and was not read from disk, so it cannot
leak into a model that forgets to look at `present`.

Shapes: B samples of the batch, M modalities, T the longest of the batch (at least 1), D features.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .sample_view import Labels

Layout = Literal["padded", "packed", "pooled"]


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as fusion models take it: `model(batch.features, batch.present, batch.lengths)`.

    Attributes:
        ids: B sample ids; empty for padding samples.
        features: For each modality, zero where absent, masked or padded: `[B, T, D]` if padded,
            `[sum of lengths, D]` if packed, the mean over the rows `[B, 1, D]` if pooled. float32,
            or as stored where the stream was asked for it.
        lengths: For each modality int64 `[B]`, the rows that count; 0 where absent or masked.
        present: bool `[B, M]`, columns in the order of `modalities`.
        labels: For each label `[B]`: int64 (integers, codes of strings) or float32; padding
            samples have those of the view's first sample.
        modalities: The M names.
        is_padding: bool `[B]`, samples that only fill up the last batch.
        layout: `padded`, `packed` or `pooled`.
        cu_seqlens: For each modality of a packed batch int32 `[B + 1]`: sample b has the rows
            `cu_seqlens[b]:cu_seqlens[b + 1]`. Empty otherwise.
        groups: int64 `[B]`, the number of each sample's group in the view, -1 for padding, where
            batches hold whole groups; None otherwise.
        epoch: The epoch it is of.
        position: The stream's position behind it.
    """

    ids: list[str]
    features: dict[str, Tensor]
    lengths: dict[str, Tensor]
    present: Tensor
    labels: dict[str, Tensor]
    modalities: tuple[str, ...]
    is_padding: Tensor
    layout: Layout = "padded"
    cu_seqlens: dict[str, Tensor] = field(default_factory=dict)
    groups: Tensor | None = None
    epoch: int = 0
    position: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def weights(self) -> Tensor:
        """How much each sample counts in a loss, float32 `[B]`: 0 for padding samples, else 1."""
        return (~self.is_padding).float()

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Batch":
        """Return the batch on a device; `non_blocking` overlaps copies from pinned memory."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory; a `DataLoader(pin_memory=True)` calls it."""
        return self._with(lambda tensor: tensor.pin_memory())

    def packed(self, modality: str) -> tuple[Tensor, Tensor]:
        """Return the rows without padding, as variable-length attention kernels take them.

        Returns:
            Rows `[sum of lengths, D]` and their bounds int32 `[B + 1]`: sample b has the rows
            `bounds[b]:bounds[b + 1]`.
        """
        features, lengths = self.features[modality], self.lengths[modality]
        if self.layout == "packed":
            return features, self.cu_seqlens[modality]
        kept = torch.arange(features.shape[1], device=lengths.device) < lengths[:, None]
        bounds = torch.zeros(len(self) + 1, dtype=torch.int32, device=lengths.device)
        bounds[1:] = lengths.cumsum(0)
        return features[kept], bounds

    def _with(self, move: Callable[[Tensor], Tensor]) -> "Batch":
        def each(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: move(tensor) for name, tensor in tensors.items()}

        return replace(
            self,
            features=each(self.features),
            lengths=each(self.lengths),
            present=move(self.present),
            labels=each(self.labels),
            is_padding=move(self.is_padding),
            cu_seqlens=each(self.cu_seqlens),
            groups=None if self.groups is None else move(self.groups),
        )


def label_tensor(labels: Labels) -> Tensor:
    """Return a label of every sample `[N]`: float32 for floats, int64 for the rest.

    Not to be written to: it may be the memory of `labels`.
    """
    dtype = np.float32 if labels.kind == "float" else np.int64
    # torch warns of memory that cannot be written to.
    return torch.from_numpy(np.require(labels.values, dtype, ["C", "W"]))
