"""MoMKE: experts alone, then their mixture."""

import torch
import torch.nn.functional as F
from torch import nn

from scfae.fusion import build_fusion, count_parameters
from scfae.fusion.momke import ExpertLayer, MoMKE

DIMS = {"a": 6, "v": 10}


def make(stage: int = 0) -> MoMKE:
    torch.manual_seed(0)
    model = build_fusion("momke", DIMS, num_outputs=3, width=8, num_layers=2, dropout=0.0)
    assert isinstance(model, MoMKE)
    model.begin_stage(stage)
    return model


def test_a_layer_is_its_equation() -> None:
    torch.manual_seed(0)
    layer = ExpertLayer(4, 2, 0.0)
    x, valid = torch.randn(1, 3, 4), torch.tensor([[True, True, False]])
    query, key, value = layer.query(x)[0], layer.key(x)[0], layer.value(x)[0]
    heard = []
    for part in (slice(0, 2), slice(2, 4)):
        scores = query[:, part] @ key[:2, part].T / 2**0.5
        heard.append(scores.softmax(dim=1) @ value[:2, part])
    o = torch.cat(heard, dim=1)
    assert torch.allclose(layer(x, valid)[0], x[0] + o + layer.mlp(o), atol=1e-6)


def test_the_first_stage_trains_each_expert_on_its_own_modality() -> None:
    model = make()
    features = {m: torch.randn(4, d) for m, d in DIMS.items()}
    present = torch.tensor([[True, True], [True, False], [True, False], [False, False]])
    labels = torch.tensor([0, 1, 2, 0])
    out = model(features, present, labels=labels)
    assert out.logits is not None
    assert not out.logits.requires_grad
    own = [model.own_heads[m](out.z[m]) for m in DIMS]
    by_hand = F.cross_entropy(own[0][:3], labels[:3], reduction="sum")
    by_hand = by_hand + F.cross_entropy(own[1][:1], labels[:1], reduction="sum")
    assert torch.allclose(out.losses["experts"], by_hand / 3)
    gradient = torch.autograd.grad(
        F.cross_entropy(own[1], labels), list(model.experts["a"].parameters()), allow_unused=True
    )
    assert all(g is None for g in gradient)
    assert "experts" not in model(features, present).losses


def test_the_second_stage_sends_every_modality_through_every_expert() -> None:
    model = make(1).eval()
    x = torch.randn(2, 5, 6)
    valid = torch.ones(2, 5, dtype=torch.bool)
    p = model.project["a"](x)
    weights = model.routers["a"](p).softmax(dim=-1)
    expected = weights[..., :1] * model.experts["a"](p, valid)
    expected = expected + weights[..., 1:] * model.experts["v"](p, valid)
    out = model({"a": x}, torch.tensor([[True, False]] * 2))
    assert torch.allclose(out.z["a"], expected.mean(dim=1), atol=1e-6)
    assert out.losses == {}


def test_routers_drop_out_as_the_experts_do() -> None:
    model = build_fusion("momke", DIMS, width=8, num_layers=1, dropout=0.9)
    assert isinstance(model, MoMKE)
    for router in model.routers.values():
        assert isinstance(router, nn.Sequential)
        kinds = [type(layer) for layer in router]
        assert kinds == [nn.Linear, nn.GELU, nn.Dropout, nn.Linear, nn.Dropout]
        assert [layer.p for layer in router if isinstance(layer, nn.Dropout)] == [0.9, 0.9]
        weights = router(torch.randn(200, 8)).softmax(dim=1)
        assert (weights == 0.5).all(dim=1).float().mean() > 0.7  # both scores dropped: 0.81


def test_a_dialogue_is_context() -> None:
    model = make(1).eval()
    features = {m: torch.randn(3, d) for m, d in DIMS.items()}
    together = model(features, groups=torch.tensor([0, 0, 1])).fused
    alone = model(features, groups=torch.tensor([0, 1, 2])).fused
    assert not torch.allclose(together[0], alone[0], atol=1e-4)
    assert torch.allclose(together[2], alone[2], atol=1e-6)


def test_size_is_the_formula() -> None:
    w, layer = 8, 5 * 64 + 4 * 8  # q, k, v and two of the MLP; k has no bias
    experts = 2 * 2 * layer
    project = sum(d * w + w for d in DIMS.values())
    routers = 2 * (w * w + w + 2 * w + 2)
    joint = 16 * 16 + 16
    assert count_parameters(make(1)) == experts + project + routers + joint + 16 * 3 + 3
