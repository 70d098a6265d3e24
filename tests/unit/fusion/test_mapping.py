"""SwiGLU is the paper's: three linear layers with bias, hidden width 8d/3."""

import numpy as np
import pytest
import torch

from scfae.fusion import SwiGLU, count_parameters
from scfae.fusion.mapping import GroupedLinear


@pytest.mark.parametrize("width", [1, 2, 3, 128, 512, 1024])
def test_its_size_is_table_12s_up_to_the_rounding_of_8d_over_3(width: int) -> None:
    formula = 8 * width**2 + 19 * width / 3
    assert count_parameters(SwiGLU(width)) == pytest.approx(formula, abs=3 * width + 2)
    assert SwiGLU(width).gate.out_features == max(1, 8 * width // 3)
    if width % 3 == 0:
        assert count_parameters(SwiGLU(width)) == formula


def test_the_formula_by_hand() -> None:
    torch.manual_seed(0)
    block = SwiGLU(3).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    w = {name: value.detach().numpy() for name, value in block.named_parameters()}
    gate = x.numpy() @ w["gate.weight"].T + w["gate.bias"]
    value = x.numpy() @ w["value.weight"].T + w["value.bias"]
    expected = (gate / (1 + np.exp(-gate)) * value) @ w["out.weight"].T + w["out.bias"]
    np.testing.assert_allclose(block(x).detach().numpy(), expected, atol=1e-12)


def test_maps_in_groups_read_a_share_each_of_inputs_of_any_shape() -> None:
    torch.manual_seed(0)
    block = SwiGLU(5, groups=2)
    x = torch.randn(2, 3, 5)
    gate = block.gate
    assert isinstance(gate, GroupedLinear)
    # The first of two groups reads the first three of five and writes every other output.
    expected = x[..., :3] @ gate.weight[0] + gate.bias[::2]
    assert torch.allclose(gate(x)[..., ::2], expected)
    assert torch.allclose(block(x[1, 2]), block(x)[1, 2], atol=1e-6)
