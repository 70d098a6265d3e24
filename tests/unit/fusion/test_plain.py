"""Linear projection, gates, low-rank products and bottlenecks against their equations."""

from typing import Any

import pytest
import torch
from torch import Tensor

from scfae.fusion import CrossAttention, Fusion, count_parameters
from scfae.fusion.bottleneck import Bottleneck
from scfae.fusion.gated import Gated
from scfae.fusion.linear import LinearProjection
from scfae.fusion.lmf import LowRankFusion
from scfae.fusion.mult import MulT

TWO = {"a": 4, "v": 6}
THREE = {"a": 4, "v": 6, "t": 5}


def features(dims: dict[str, int], steps: int | None = None) -> dict[str, Tensor]:
    torch.manual_seed(1)
    shape = (3,) if steps is None else (3, steps)
    return {m: torch.randn(*shape, d) for m, d in dims.items()}


def test_a_linear_projection_is_one_map_a_modality() -> None:
    model, x = LinearProjection(THREE), features(THREE)
    out = model(x)
    for m in THREE:
        torch.testing.assert_close(out.shared_from[m], model.project[m](x[m]))
    assert count_parameters(model) == sum(d * 4 + 4 for d in THREE.values())
    doubled = model({m: 2 * t for m, t in x.items()}).z["v"]
    torch.testing.assert_close(doubled - out.z["v"], out.z["v"] - model.project["v"].bias)


def test_two_gates_are_tied_and_three_are_not() -> None:
    torch.manual_seed(0)
    model, x = Gated(TWO, hidden=5), features(TWO)
    gate = model.gates[0](torch.cat([x["a"], x["v"]], dim=1)).sigmoid()
    tanh = {m: model.hidden[m](t).tanh() for m, t in x.items()}
    torch.testing.assert_close(model(x).fused, gate * tanh["a"] + (1 - gate) * tanh["v"])
    assert count_parameters(model) == 5 * (10 + 10)
    assert count_parameters(Gated(THREE, hidden=5)) == 5 * (15 + 3 * 15)


def test_low_rank_fusion_is_the_full_tensors_product() -> None:
    torch.manual_seed(0)
    model = LowRankFusion(THREE, hidden=3, rank=2, width=4).eval()
    x = features(THREE)
    one = torch.ones(3, 1)
    z = [torch.cat([model.embed[m](x[m]), one], dim=1) for m in THREE]
    outer = torch.einsum("bi,bj,bk->bijk", *z)
    w = [model.factors[m] for m in THREE]
    tensor = torch.einsum("r,rie,rje,rke->ijke", model.rank_weights[0], *w)
    expected = torch.einsum("bijk,ijke->be", outer, tensor) + model.bias
    torch.testing.assert_close(model(x).fused, expected)
    present = torch.tensor([[True, False, True]]).expand(3, 3)
    pair = torch.einsum("bi,bk->bik", z[0], z[2])
    tensor = torch.einsum("r,rie,rke->ike", model.rank_weights[0], w[0], w[2])
    without = torch.einsum("bik,ike->be", pair, tensor) + model.bias
    torch.testing.assert_close(model(x, present).fused, without)
    sizes = sum((d + 1) * 3 + 4 * 3 + 2 * 4 * 4 for d in THREE.values())
    assert count_parameters(model) == sizes + 2 + 4


def test_low_rank_factors_begin_as_large_as_matrices_of_their_shape() -> None:
    torch.manual_seed(0)
    model = LowRankFusion(THREE, hidden=63, rank=4, width=64)
    for factor in model.factors.values():  # Glorot: variance 2 / (in + out)
        assert abs(factor.std().item() - (2 / (64 + 64)) ** 0.5) < 0.005


def test_modalities_meet_in_the_bottleneck_alone() -> None:
    torch.manual_seed(0)
    x = features(TWO, steps=4)
    changed = x | {"a": x["a"] + 1}
    meeting = Bottleneck(TWO, width=8, num_layers=3, fusion_layer=1).eval()
    assert not torch.allclose(meeting(x).z["v"], meeting(changed).z["v"])
    # Tokens that meet after the last layer are read by none.
    apart = Bottleneck(TWO, width=8, num_layers=3, fusion_layer=2).eval()
    assert torch.equal(apart(x).z["v"], apart(changed).z["v"])
    out = meeting(x, torch.tensor([[True, True], [True, False], [False, False]]))
    torch.testing.assert_close(out.fused[0], (out.z["a"] + out.z["v"])[0] / 2)
    assert torch.equal(out.fused[1], out.z["a"][1])
    assert (out.fused[2] == 0).all()
    with pytest.raises(ValueError, match="fusion_layer: must be from 0 to num_layers - 1 = 2"):
        Bottleneck(TWO, width=8, num_layers=3, fusion_layer=3)


def layer_size(width: int) -> int:
    """Return a transformer layer's parameters: attention without key bias, two norms, 4 W."""
    attention = 4 * width * width + 3 * width
    return attention + 8 * width * width + 5 * width + 4 * width


def test_sizes_of_transformers_are_their_formulas() -> None:
    w, n = 10, 2
    # MulT: six pairs of W and three memories of 2 W; a cross layer norms queries and keys.
    mult = MulT(THREE, width=w, num_layers=n)
    cross = 6 * (n * (layer_size(w) + 2 * w) + 2 * w)
    memory = 3 * (n * layer_size(2 * w) + 4 * w)
    refine = 2 * (6 * w * 6 * w + 6 * w)
    assert count_parameters(mult) == w * 15 + cross + memory + refine
    w = 8
    mbt = Bottleneck(THREE, width=w, num_layers=3, fusion_layer=1, num_bottlenecks=2)
    tokens = 3 * w + 2 * w
    assert count_parameters(mbt) == 15 * w + 3 * w + tokens + 9 * layer_size(w) + 2 * w


def test_mult_reads_the_other_modality_and_the_last_valid_row() -> None:
    torch.manual_seed(0)
    model = MulT(TWO, width=10, num_layers=1).eval()
    x = features(TWO, steps=4)
    out = model(x)
    assert out.fused.shape == (3, 2 * 10)
    assert not torch.allclose(model(x | {"a": -x["a"]}).z["v"], out.z["v"])
    lengths = {"v": torch.tensor([4, 2, 1])}
    cut = {"a": x["a"][1:2], "v": x["v"][1:2, :2]}
    torch.testing.assert_close(model(x, lengths=lengths).z["v"][1:2], model(cut).z["v"])
    with pytest.raises(ValueError, match="width: must be even and a multiple of 5, not 8"):
        MulT(TWO, width=8)


@pytest.mark.parametrize("method", [MulT, Bottleneck, CrossAttention])
def test_heads_and_widths_that_do_not_fit_are_named(method: type[Fusion]) -> None:
    build: Any = method  # its own options
    with pytest.raises(ValueError, match="num_heads: must be at least 1, not 0"):
        build(TWO, num_heads=0)
    for width in (0, -8, 6):
        with pytest.raises(ValueError, match="width: must be even and a multiple of 4"):
            build(TWO, num_heads=4, width=width)
