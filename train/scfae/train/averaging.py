"""An exponential moving average of the weights, which validation and `best.pt` then see.

The decay rises with the steps, min(decay, (1 + t) / (10 + t)) as in TensorFlow's, so that a short
run is not judged by its first weights. Buffers (scales, stages) are the model's own.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

_PREFIX = "module."


def make_average(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """Return the average of a model as it is now; None where none is asked for."""
    if decay is None:
        return None

    @torch.no_grad()
    def average(mean: Any, current: Any, count: Tensor | int) -> None:
        now = min(decay, (1 + float(count)) / (10 + float(count)))
        torch._foreach_lerp_(mean, current, 1 - now)

    return AveragedModel(model, multi_avg_fn=average)


def judged_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights that a checkpoint is judged by: the average's, where there is one."""
    average = checkpoint.get("average")
    if average is None:
        weights: dict[str, Tensor] = checkpoint["model"]
        return weights
    return {
        name.removeprefix(_PREFIX): value
        for name, value in average.items()
        if name.startswith(_PREFIX)
    }
