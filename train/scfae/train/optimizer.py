"""The optimizer of a config, over the parameters that learn."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .settings import OptimConfig


def make_optimizer(
    optim: OptimConfig,
    parameters: Sequence[nn.Parameter] | Sequence[dict[str, Any]],
    device: str,
) -> torch.optim.Optimizer:
    """Return AdamW, Adam or SGD at the rate of the first step.

    Args:
        optim: The settings.
        parameters: Those to learn, or groups of them whose rate is the run's times `factor`.
        device: Where they are.
    """
    given: list[Any] = list(parameters)
    rate, decay = optim.lr_start, optim.weight_decay
    is_fused = device != "mps"  # one pass over memory: 3 to 5 times faster on a CPU
    if optim.optimizer == "sgd":
        return torch.optim.SGD(given, lr=rate, weight_decay=decay, fused=is_fused)
    kind = torch.optim.AdamW if optim.optimizer == "adamw" else torch.optim.Adam
    betas = (optim.beta1, optim.beta2)
    return kind(given, lr=rate, betas=betas, weight_decay=decay, fused=is_fused)


def learning_bytes(optim: OptimConfig, model: nn.Module) -> int:
    """Return what weights, gradients and the optimizer's state take, in bytes.

    AdamW and Adam keep two averages of each gradient, SGD without momentum none; a moving average
    of the weights is one more copy of them.

    Args:
        optim: The settings.
        model: To learn.
    """
    copies_learning = 1 if optim.optimizer == "sgd" else 3  # the gradient, and its averages
    copies = 1 if optim.ema is None else 2
    return sum(
        one.numel() * one.element_size() * (copies + copies_learning * one.requires_grad)
        for one in model.parameters()
    )
