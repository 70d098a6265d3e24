"""Batch norms folded into convolutions compute what they computed apart."""

import copy

import pytest
import torch
from torch import nn

from scfae.extract.folding import fold_batch_norms


def trained(module: nn.Module) -> nn.Module:
    """Give every batch norm statistics and weights that matter."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            for tensor in (layer.weight, layer.bias, layer.running_mean):
                assert tensor is not None
                nn.init.normal_(tensor)
            assert layer.running_var is not None
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return module.eval()


def norms(module: nn.Module) -> list[str]:
    return [name for name, m in module.named_modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1)),
        nn.Sequential(
            nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 1, bias=False)),
            nn.BatchNorm2d(5),
        ),
        nn.ModuleDict({"a": nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))}),
    ],
    ids=["flat", "nested", "deep"],
)
def test_the_same_numbers_without_a_norm(network: nn.Module) -> None:
    torch.manual_seed(1)
    before = trained(network)
    after = fold_batch_norms(copy.deepcopy(before))
    assert norms(before)
    assert not norms(after)
    x = torch.randn(2, 2, 6, 6)
    parts = [m["a"] if isinstance(m, nn.ModuleDict) else m for m in (before, after)]
    with torch.inference_mode():
        wanted, given = (part(x) for part in parts)
    torch.testing.assert_close(given, wanted, rtol=1e-5, atol=1e-5)


def test_a_norm_after_anything_else_stays() -> None:
    torch.manual_seed(1)
    network = trained(
        nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1), nn.ReLU(), nn.BatchNorm2d(2))
    )
    x = torch.randn(1, 2, 3, 3)
    with torch.inference_mode():
        wanted = network(x)
        torch.testing.assert_close(fold_batch_norms(network)(x), wanted, rtol=0, atol=0)
    assert norms(network) == ["0", "3"]
