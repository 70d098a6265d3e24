"""Coupled Mamba: the scan against the equation, step by step, and what couples what."""

import pytest
import torch
import torch.nn.functional as F

from scfae.fusion import build_fusion, count_parameters
from scfae.fusion.coupled_mamba import CoupledLayer, CoupledMamba
from scfae.fusion.mamba import Mamba

DIMS = {"a": 6, "v": 10}


def test_the_block_is_mambas_recurrence() -> None:
    torch.manual_seed(0)
    block = Mamba(8, num_states=3, kernel=2)
    u = torch.randn(1, 4, 8)
    x, gate = block.into(u[0]).chunk(2, dim=1)
    kernel = block.convolution.weight[:, 0]
    before = torch.cat([torch.zeros(1, 16), x[:-1]])
    x = F.silu(kernel[:, 0] * before + kernel[:, 1] * x + block.convolution.bias)
    low, b, c = block.select(x).split((1, 3, 3), dim=1)
    dt = F.softplus(block.step(low))
    a = -block.log_decay.exp()
    h = torch.zeros(16, 3)
    for t in range(4):
        h = torch.exp(dt[t][:, None] * a) * h + (dt[t] * x[t])[:, None] * b[t]
        y = (h @ c[t] + block.through * x[t]) * F.silu(gate[t])
        assert torch.allclose(block(u)[0, t], block.out(y), atol=1e-5)


def test_a_block_begins_as_published() -> None:
    block = Mamba(8, num_states=4)
    assert torch.allclose(block.log_decay.exp()[0], torch.tensor([1.0, 2.0, 3.0, 4.0]))
    dt = F.softplus(block.step.bias)
    assert dt.min() >= 0.00099
    assert dt.max() <= 0.1001


def test_states_are_mixed_by_weights_over_what_is_present() -> None:
    torch.manual_seed(0)
    layer = CoupledLayer(("a", "v"), 8, 3, in_state=True)
    streams = {m: torch.randn(1, 3, 8) for m in "av"}
    both = layer._scan_together(streams, torch.tensor([[True, True]]))
    weights = layer.coupling.softmax(dim=1)
    blocks = {m: block for m, block in layer.blocks.items() if isinstance(block, Mamba)}
    given = {m: blocks[m].prepare(streams[m]) for m in "av"}
    h = {m: torch.zeros(16, 3) for m in "av"}
    for t in range(3):
        before = dict(h)
        for i, m in enumerate("av"):
            mixed = weights[i, 0][:, None] * before["a"] + weights[i, 1][:, None] * before["v"]
            h[m] = given[m].decay(t)[0] * mixed + given[m].enters(t)[0]
    y = (h["a"] * given["a"].read[0, 2]).sum(dim=1) + given["a"].skip[0, 2]
    expected = blocks["a"].out(y * given["a"].gate[0, 2])
    assert torch.allclose(both["a"][0, 2], expected, atol=1e-5)
    assert torch.equal(layer(streams, torch.tensor([[True, True]]))["a"], both["a"])  # no norm
    alone = layer._scan_together(streams, torch.tensor([[True, False]]))
    assert torch.allclose(alone["a"], layer.blocks["a"](streams["a"]), atol=1e-5)


def test_a_layer_norms_what_enters_and_one_norm_and_one_map_serve_all_layers() -> None:
    torch.manual_seed(0)
    model = build_fusion("layer_coupled", DIMS, width=8, num_layers=3, num_states=3)
    assert isinstance(model, CoupledMamba)
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    features = {m: torch.randn(1, 4, d) for m, d in DIMS.items()}
    x = {m: model.project[m](features[m]) for m in DIMS}
    for i, layer in enumerate(model.layers):
        assert isinstance(layer, CoupledLayer)
        y = {m: model.norm(layer.blocks[m](layer.enter[m](x[m]))) + x[m] for m in DIMS}
        x = y
        if i < 2:
            x = {"a": y["a"] + model.relate["a"](y["v"]), "v": y["v"] + model.relate["v"](y["a"])}
    z = model(features).z
    for m in DIMS:
        assert torch.allclose(z[m], x[m].amax(dim=1), atol=1e-5)


def test_size_is_that_of_the_released_layers() -> None:
    dims = {"text": 768, "audio": 74, "vision": 35}
    model = build_fusion("layer_coupled", dims, num_outputs=1)
    # Width 128 and inner 256, 64 states, kernel 4, rank 16, as mamba-ssm builds a block.
    block = 2 * 256 * 128 + 256 * 5 + (16 + 128) * 256 + 16 * 256 + 256 + 256 * 64 + 256 + 256 * 128
    enter = sum((d + 1) * 128 for d in dims.values())
    relate, norm = 3 * (256 + 1) * 128, 2 * 128
    leave = 3 + (128 + 1) * 64 + 64 + 1
    assert count_parameters(model) == enter + 3 * 3 * (block + norm) + norm + relate + leave


@pytest.mark.parametrize("name", ["layer_coupled", "state_coupled"])
def test_a_modality_hears_the_other(name: str) -> None:
    torch.manual_seed(0)
    model = build_fusion(name, DIMS, width=8, num_layers=2, num_states=3).eval()
    features = {m: torch.randn(2, 4, d) for m, d in DIMS.items()}
    first = model(features).z["a"]
    second = model(features | {"v": features["v"] + 1.0}).z["a"]
    assert not torch.allclose(first, second, atol=1e-5)
    only = torch.tensor([[True, False]] * 2)
    assert torch.equal(
        model(features, only).z["a"], model(features | {"v": features["v"] + 1}, only).z["a"]
    )
