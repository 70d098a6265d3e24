"""A batch computed in parts, one after the other, for a gradient that memory has no room for.

The parts' losses weigh by their samples, so a loss that is a mean over samples has the gradient of
the whole batch. One that compares samples (contrast) sees those of its part alone, and balanced
class weights are normed in each part, and PCGrad and min-norm combine each part by itself. Whole
groups (dialogues) stay together.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from scfae.fusion import combined_backward
from scfae.fusion.gradients import Reduce
from scfae.store import Batch
from scfae.store.errors import TaskError


def most_parts(batch: Batch) -> int:
    """Return into how many parts a batch can be cut: its samples, or its whole groups."""
    return len(_units(batch)) - 1


def parts_of(batch: Batch, count: int) -> list[Batch]:
    """Return a padded batch in at most `count` parts of about equal size.

    Args:
        batch: Padded, not packed.
        count: Parts wanted; there are fewer where there are fewer samples or groups.
    """
    if count == 1:
        return [batch]
    units = _units(batch)
    places = [units[round(i * (len(units) - 1) / count)] for i in range(count + 1)]
    return [_slice(batch, start, end) for start, end in itertools.pairwise(places) if start < end]


def accumulate_backward(
    losses: Sequence[Tensor],
    parameters: Sequence[nn.Parameter],
    combiner: str,
    *,
    is_first: bool,
    reduce: Reduce | None = None,
) -> None:
    """Set each parameter's gradient, or add to that of earlier parts; see `combined_backward`."""
    before = [None if is_first else parameter.grad for parameter in parameters]
    combined_backward(losses, parameters, combiner, reduce=reduce)
    for parameter, earlier in zip(parameters, before, strict=True):
        if earlier is not None:
            parameter.grad = earlier if parameter.grad is None else parameter.grad + earlier


@contextmanager
def saying_what_to_lower(batch: Batch, step: int) -> Iterator[None]:
    """Turn a lack of memory into a sentence that names the batch and the settings to lower.

    Raises:
        TaskError: Memory did not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        rows = {m: x.shape[1] for m, x in batch.features.items() if x.ndim == 3}
        longest = ", ".join(f"{m} {count}" for m, count in rows.items())
        raise TaskError(
            f"out of memory at step {step}, in a batch of {len(batch)} samples with up to so many "
            f"rows: {longest}. Lower --batch-size or --max-train-rows, compute each batch in "
            "parts with --accumulate 2, or halve the numbers with --precision bf16."
        ) from error


def _units(batch: Batch) -> list[int]:
    """Return where samples or whole groups begin, and the end."""
    if batch.groups is None:
        return list(range(len(batch) + 1))
    changes = (batch.groups[1:] != batch.groups[:-1]).nonzero().flatten().tolist()
    return [0, *(place + 1 for place in changes), len(batch)]


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()  # the CPU's allocator has no error of its own
    return "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text


def _slice(batch: Batch, start: int, end: int) -> Batch:
    part = slice(start, end)
    return replace(
        batch,
        ids=batch.ids[part],
        features={m: x[part] for m, x in batch.features.items()},
        lengths={m: x[part] for m, x in batch.lengths.items()},
        present=batch.present[part],
        labels={name: x[part] for name, x in batch.labels.items()},
        is_padding=batch.is_padding[part],
        groups=None if batch.groups is None else batch.groups[part],
    )
