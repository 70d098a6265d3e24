"""What each process of test_world.py does, started by torchrun: writes what it saw to FOLDER."""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from scfae.fusion import combined_backward
from scfae.train.world import join_world


def main(folder: Path) -> None:
    """Use everything once."""
    with join_world("cpu") as world:
        rank = world.rank
        parameters = [nn.Parameter(torch.ones(*shape)) for shape in ((2, 3), (4,), (1,))]
        seen: dict[str, object] = {
            "size": world.size,
            "sums": world.sum([rank, 0.5]),
            "any": world.any(rank == 1, False),
            "least": world.least(5 - rank),
            "first": world.from_first({"rank": rank}),
            "all": world.gather(rank * 10),
        }
        for combiner in ("sum", "min_norm", "pcgrad"):
            torch.manual_seed(rank)  # PCGrad draws: ranks that drew by themselves would part
            combined_backward(
                losses_of(rank, parameters),
                parameters,
                combiner,
                reduce=lambda grads: world.add_gradients(grads, parameters),
            )
            world.same_gradients(parameters)
            seen[combiner] = [None if p.grad is None else p.grad.tolist() for p in parameters]
    (folder / f"{rank}.json").write_text(json.dumps(seen))


def losses_of(rank: int, parameters: list[nn.Parameter]) -> list[Tensor]:
    """Return two losses; the second parameter is reached on rank 1 alone, the third by none."""
    first = (rank + 1.0) * parameters[0].sum()
    second = -0.5 * parameters[0].square().sum()
    return [first, second + 5 * parameters[1].sum() if rank == 1 else second]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
