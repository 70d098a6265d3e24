"""Number formats of a step: fp32, bf16 by autocast, or fp16 with a scaled loss.

In fp16 a gradient that overflows is no error: the step is left out and the scale is halved, until
a scale is found that fits. Only at the lowest scale is it one.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

LEAST_SCALE = 1.0


class Precision:
    """Autocast and loss scaling as a config has them.

    Args:
        precision: `auto`, `fp32`, `bf16` or `fp16`; auto is bf16 on a GPU, fp32 on a CPU.
        device: Where the model is.
    """

    def __init__(self, precision: str, device: str) -> None:
        self._kind = device.partition(":")[0]
        is_gpu = self._kind == "cuda"
        self.name = ("bf16" if is_gpu else "fp32") if precision == "auto" else precision
        self.scaler = torch.amp.GradScaler(self._kind, enabled=self.name == "fp16")

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of a forward pass."""
        dtype = torch.float16 if self.name == "fp16" else torch.bfloat16
        return torch.autocast(self._kind, dtype=dtype, enabled=self.name != "fp32")

    def scale(self, losses: Iterable[Tensor]) -> list[Tensor]:
        """Return losses as their gradients are to be computed."""
        return [self.scaler.scale(loss) for loss in losses]

    def may_skip(self) -> bool:
        """Return whether a gradient that is not finite only means a smaller scale."""
        return bool(self.scaler.is_enabled() and self.scaler.get_scale() > LEAST_SCALE)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Move the weights, unless a scaled gradient overflowed; adapt the scale."""
        self.scaler.step(optimizer)
        self.scaler.update()
