"""Sizes: parameters, and floating-point operations of one sample."""

from collections.abc import Mapping

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .base import Fusion


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def count_flops(model: Fusion, num_steps: int = 1) -> int:
    """Return the operations of matrix products in one sample's forward pass, two a multiply-add.

    Activations, biases and normalisations are not counted; the paper's Table 12 counts them once
    each, which adds 0.2 % at 512 / 512.

    Args:
        model: A fusion method.
        num_steps: Time steps of every modality, T.
    """
    device = next(model.parameters()).device
    features: Mapping[str, torch.Tensor] = {
        m: torch.zeros(1, num_steps, width, device=device) for m, width in model.dims.items()
    }
    was_training, checked = model.training, model.check_finite
    model.eval()
    model.check_finite = device.type != "meta"
    # The counter follows what requires a gradient, and trips on a view of a parameter.
    learning = [p for p in model.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(features)
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        model.train(was_training)
        model.check_finite = checked
    return int(counter.get_total_flops())
