"""Batches compared bit by bit, and put together from the parts of the ranks."""

from collections.abc import Sequence

import torch
from torch.nn.functional import pad

from scfae.store import Batch


def ids(batches: Sequence[Batch]) -> list[str]:
    return [name for batch in batches for name in batch.ids]


def assert_equal(one: Batch, other: Batch) -> None:
    """Bitwise."""
    assert one.ids == other.ids
    assert one.modalities == other.modalities
    assert torch.equal(one.present, other.present)
    for mine, others in (
        (one.features, other.features),
        (one.lengths, other.lengths),
        (one.labels, other.labels),
    ):
        assert list(mine) == list(others)
        for key, value in mine.items():
            assert value.dtype == others[key].dtype
            assert torch.equal(value, others[key]), key


def assert_all_equal(some: Sequence[Batch], others: Sequence[Batch]) -> None:
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert_equal(one, other)


def together(parts: Sequence[Batch]) -> Batch:
    """Return the batch whose parts the ranks have, one after the other."""

    def padded(tensors: list[torch.Tensor]) -> torch.Tensor:
        longest = max(x.shape[1] for x in tensors)
        return torch.cat([pad(x, (0, 0, 0, longest - x.shape[1])) for x in tensors])

    first = parts[0]
    return Batch(
        ids=ids(parts),
        features={m: padded([p.features[m] for p in parts]) for m in first.features},
        lengths={m: torch.cat([p.lengths[m] for p in parts]) for m in first.lengths},
        present=torch.cat([p.present for p in parts]),
        labels={k: torch.cat([p.labels[k] for p in parts]) for k in first.labels},
        modalities=first.modalities,
        is_padding=torch.cat([p.is_padding for p in parts]),
    )
