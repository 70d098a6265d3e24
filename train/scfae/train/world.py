"""The processes that train one model together, as `torchrun` starts them, or one alone.

Every rank reads its slice of each global batch (`FeatureStream(rank=…, world_size=…)`), and what
the ranks add up here are sums, not means: a rank's loss counts by its share of what the loss is a
mean over, so that slices of unlike size give the gradient of the whole batch. Losses that gather
the rows of all ranks (`scfae.fusion.losses.gather_rows`) are right by the same rule, for the
shares add up to one.

Gradients are added here rather than by `DistributedDataParallel`: its hooks sum each backward pass
when it is made, and combiners of several losses (PCGrad, min-norm) need the sum of each loss's
gradients before they are combined.

Everything is collective unless its docstring says otherwise: all ranks call it, in one order.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from scfae.store.errors import ConfigError

T = TypeVar("T")

TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for the others, such as for one that writes a checkpoint."""


@dataclass(frozen=True, slots=True)
class World:
    """This process among those that train together.

    Attributes:
        rank: Its number, from 0.
        size: How many there are.
        device: Where its model is.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def is_first(self) -> bool:
        """Whether this rank writes what is written once: checkpoints, logs, the run's state."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is nobody else."""
        return self.size == 1

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return each value's sum over the ranks, added in float64."""
        if self.is_alone:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.tolist()

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return of each flag whether any rank has raised it."""
        return tuple(count > 0 for count in self.sum([float(flag) for flag in flags]))

    def least(self, value: int) -> int:
        """Return the least of all ranks' values."""
        if self.is_alone:
            return value
        least = torch.tensor(value, device=self.device)
        dist.all_reduce(least, op=dist.ReduceOp.MIN)
        return int(least)

    def add_gradients(
        self, gradients: Sequence[Tensor | None], parameters: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """Return the sum over ranks of each gradient; one that no rank has stays None.

        Args:
            gradients: One a parameter; None where no loss of this rank reaches it.
            parameters: The same on every rank.
        """
        if self.is_alone:
            return list(gradients)
        # One message for all, with a flag a parameter for whether anyone has a gradient: to the
        # optimizer None and zero are not the same (weight decay, momentum).
        has = torch.tensor([float(g is not None) for g in gradients], device=self.device)
        parts = [
            (torch.zeros_like(p) if g is None else g).flatten().float()
            for g, p in zip(gradients, parameters, strict=True)
        ]
        flat = torch.cat([has, *parts])
        dist.all_reduce(flat)
        pieces = torch.split(flat[len(has) :], [p.numel() for p in parameters])
        return [
            piece.view_as(parameter).to(parameter.dtype) if count else None
            for count, piece, parameter in zip(
                flat[: len(has)].tolist(), pieces, parameters, strict=True
            )
        ]

    def same_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Give every rank the first rank's gradients, where a combiner has drawn at random."""
        if not self.is_alone:
            for parameter in parameters:
                if parameter.grad is not None:
                    dist.broadcast(parameter.grad, src=0)

    def from_first(self, value: Any) -> Any:
        """Return the first rank's `value`, plain values and tensors, on every rank."""
        if self.is_alone:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def first_then_others(self, work: Callable[[], T]) -> T:
        """Return what `work` returns; the first rank does it before all others."""
        if self.is_first:
            result = work()
            self.from_first(None)
            return result
        self.from_first(None)
        return work()

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's value, in the order of ranks, on every rank."""
        if self.is_alone:
            return [value]
        box: list[Any] = [None] * self.size
        dist.all_gather_object(box, value)
        return box


@contextmanager
def join_world(device: str) -> Iterator[World]:
    """Join the processes that `torchrun` has started with this one; leave them in the end.

    Args:
        device: `cpu`, or `cuda` for the GPU of this process's local rank.

    Raises:
        ConfigError: A GPU by number (every process would take it), or more processes than GPUs.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=device)
        return
    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    if device.startswith("cuda:"):
        raise ConfigError(
            f"device = {device!r}: {size} processes train together, each on the GPU of its own "
            "number: take --device cuda."
        )
    if device == "cuda":
        count = torch.cuda.device_count()
        if local_rank >= count:
            raise ConfigError(
                f"device = 'cuda': process {local_rank} of this machine has no GPU of its own, it "
                f"has {count}: start as many processes as GPUs, or take --device cpu."
            )
        device = f"cuda:{local_rank}"
        torch.cuda.set_device(local_rank)
    elif device != "cpu":
        raise ConfigError(f"device = {device!r}: several processes train on cpu or cuda only.")
    # torchrun keeps one store over its restarts: without a prefix of its own, a process that is
    # started again finds the address of one that is gone.
    store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    dist.init_process_group(
        "gloo" if device == "cpu" else "nccl",
        store=PrefixStore(f"attempt {attempt} of {size}", store),
        rank=rank,
        world_size=size,
        timeout=TIMEOUT,
    )
    try:
        yield World(rank=rank, size=size, device=device)
    finally:
        dist.destroy_process_group()


def check_batches(num_samples: int, batch_size: int, world: World) -> None:
    """Check that no process is left without a sample in the last batch of an epoch.

    Raises:
        ConfigError: It would be; names a size that fits.
    """
    rest = num_samples % batch_size
    if batch_size >= world.size and (rest == 0 or rest >= world.size):
        return
    fits = [
        size
        for size in range(max(world.size, batch_size), num_samples + 1)
        if num_samples % size == 0 or num_samples % size >= world.size
    ]
    hint = f"; {fits[0]} fits" if fits else ": start fewer"
    raise ConfigError(
        f"batch_size = {batch_size}: with {num_samples} samples the last batch of an epoch has "
        f"{rest or batch_size}, fewer than the {world.size} processes{hint}."
    )
