"""The perceptron's layers in their order."""

import pytest
import torch
from torch import nn

from scfae.fusion.perceptron import MLP


def kinds(mlp: MLP) -> list[type[nn.Module]]:
    return [type(layer) for layer in mlp]


def test_layers_come_in_order() -> None:
    assert kinds(MLP(4, 6, 2)) == [nn.Linear, nn.GELU, nn.Linear]
    full = MLP(4, 6, 2, activation="relu", dropout=0.1, norm=True, activate_last=True)
    block = [nn.Linear, nn.LayerNorm, nn.ReLU, nn.Dropout]
    assert kinds(full) == block + block
    assert full(torch.randn(3, 5, 4)).shape == (3, 5, 2)


def test_wrong_widths_and_activations_are_named() -> None:
    with pytest.raises(ValueError, match="widths: at least two"):
        MLP(4)
    with pytest.raises(ValueError, match="activation: must be one of gelu, relu"):
        MLP(4, 2, activation="step")
    for dropout in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="dropout: must be from 0 to below 1, not"):
            MLP(4, 2, dropout=dropout)
