"""Rows of all ranks, with gradient, for losses that compare samples with samples.

Without it the negatives of a contrastive loss shrink with the number of ranks. Every rank gets the
rows of all and computes the same loss of the whole batch; the gradient that comes back to a row is
the sum of what the ranks send, W times too much, and data parallel training, which takes the mean
over W ranks, makes it that of one process with the whole batch.

Where gradients are off, nothing is gathered: one rank may evaluate alone.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _AllGather(torch.autograd.Function):
    """All ranks' rows, padded to one number; backward sums the gradients over ranks."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        """Return `[W * B, ...]`."""
        ctx.num_rows = rows.shape[0]
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """Return the gradient of this rank's rows."""
        total = grads[0].clone().contiguous()
        dist.all_reduce(total)
        first = dist.get_rank() * ctx.num_rows
        return total[first : first + ctx.num_rows]


def gather_rows(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return each tensor with the rows of all ranks, in the order of ranks.

    Ranks may differ in their number of rows. In a process of its own, or where gradients are off,
    the tensors come back as they are. All ranks must call it alike.

    Args:
        *tensors: `[B, ...]`, all with this rank's B; integers and bool are gathered too.
    """
    is_single = not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1
    if is_single or not torch.is_grad_enabled():
        return tensors
    num_rows = tensors[0].shape[0]
    own = torch.tensor([num_rows], device=tensors[0].device)
    sizes = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, own)
    counts = [int(size) for size in sizes]
    most = max(counts)
    kept = torch.cat([torch.arange(n) + rank * most for rank, n in enumerate(counts)])
    gathered = []
    for tensor in tensors:
        is_bool = tensor.dtype == torch.bool
        rows = tensor.to(torch.uint8) if is_bool else tensor
        padded = torch.cat([rows, rows.new_zeros(most - num_rows, *rows.shape[1:])])
        whole = _AllGather.apply(padded)[kept.to(tensor.device)]
        gathered.append(whole.bool() if is_bool else whole)
    return tuple(gathered)
