"""MCULoRA: updates chosen by the combination, and the dead stream of the released code."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scfae.fusion import build_fusion, fusion_info
from scfae.fusion.lora import LowRank, LowRankChoice
from scfae.fusion.mculora import MCULoRA
from scfae.fusion.two_streams import CrossModality, TwoStreamLayer

DIMS = {"a": 6, "v": 10}
THREE = DIMS | {"t": 8}


def make(**options: object) -> MCULoRA:
    torch.manual_seed(0)
    small = {"width": 8, "num_layers": 1, "dropout": 0.0, "low_rank_dropout": 0.0}
    model = build_fusion("mculora", DIMS, num_outputs=3, **small | options)
    assert isinstance(model, MCULoRA)
    return model


def test_each_place_gets_the_matrices_of_its_combination() -> None:
    torch.manual_seed(0)
    update = LowRankChoice(5, 4, rank=2, num_choices=3, up_std=1.0)
    x = torch.randn(2, 5)
    choice = torch.tensor([[False, True, False], [False, False, False]])
    down, up = update.down.weight[2:4], update.up.weight[:, 2:4]
    out = update(x, choice)
    assert torch.allclose(out[0], up @ (down @ x[0]), atol=1e-6)
    assert torch.equal(out[1], torch.zeros(4))


def test_a_stream_hears_each_other_by_the_attention_of_their_pair() -> None:
    torch.manual_seed(0)
    model = build_fusion("mculora", THREE, width=8, num_layers=1)
    assert isinstance(model, MCULoRA)
    assert list(model.cross) == ["a|v", "a|t", "v|t"]
    s = {m: torch.randn(2, 3, 8) for m in THREE}
    every = torch.ones(2, 3, dtype=torch.bool)
    valid = {m: every & (m != "t") for m in THREE}  # t is absent: nothing is heard of it
    heard = model._cross("v", {m: (x, x) for m, x in s.items()}, valid)
    attend = model.cross["a|v"]
    assert isinstance(attend, CrossModality)
    parts = []
    for part in (slice(0, 4), slice(4, 8)):
        query, key = attend.query(s["v"])[..., part], attend.key(s["a"])[..., part]
        scores = (query @ key.transpose(1, 2) / 4**0.5).softmax(dim=2)
        parts.append(scores @ attend.value(s["a"])[..., part])
    assert torch.allclose(heard, s["v"] + attend.out(torch.cat(parts, dim=2)), atol=1e-6)


def test_a_layer_has_updates_in_the_shared_stream_and_low_rank_maps_alone_in_the_other() -> None:
    torch.manual_seed(0)
    layer = TwoStreamLayer(4, 1, 0.0, 2, 0.0, num_choices=3, up_std=1.0)
    for update in (layer.shared_in, layer.shared_out):
        torch.nn.init.normal_(update.up.weight)  # it begins at zero
    x, s = torch.randn(2, 1, 2, 4)
    valid, choice = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[[False, True, False]] * 2])
    first, second = layer.mlp[0], layer.mlp[3]
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)

    def one_head(rows: Tensor, bias: float) -> Tensor:
        query, key, value = (
            F.linear(rows, part.weight, None if part.bias is None else bias * part.bias)
            for part in (layer.query, layer.key, layer.value)
        )
        return (query @ key.transpose(1, 2) / 2).softmax(dim=2) @ value

    def updated(plain: nn.Linear, update: LowRank, rows: Tensor) -> Tensor:
        return F.linear(rows, plain.weight + update.up.weight @ update.down.weight, plain.bias)

    def chosen(low: LowRankChoice, rows: Tensor) -> Tensor:
        return rows @ low.down.weight[2:4].T @ low.up.weight[:, 2:4].T

    o = one_head(x, 1.0)
    hidden = F.gelu(updated(first, layer.shared_in, o))
    shared, specific = layer.both(x, s, valid, choice)
    assert torch.allclose(shared, x + o + updated(second, layer.shared_out, hidden), atol=1e-5)
    seen = one_head(s, 0.0)
    hidden = F.gelu(chosen(layer.choice_in, seen))
    assert torch.allclose(specific, s + seen + chosen(layer.choice_out, hidden), atol=1e-5)


def test_both_streams_end_in_one_answer() -> None:
    model = make().eval()
    for name in ("shared_joint", "shared_head"):
        torch.nn.init.normal_(getattr(model, name).up.weight)
    features = {m: torch.randn(2, d) for m, d in DIMS.items()}
    out = model(features)
    x = torch.cat([out.z[m] for m in DIMS], dim=1)
    u = torch.relu(model.joint(x) + model.shared_joint(x)) + x
    assert torch.allclose(out.fused[:, :16], u, atol=1e-6)
    v = out.fused[:, 16:]
    head, rank = model.choice_head, 4
    last = slice(2 * rank, 3 * rank)  # the combination of both
    low = v @ head.down.weight[last].T @ head.up.weight[:, last].T
    assert model.own_head is not None
    assert torch.allclose(out.logits, model.own_head(u) + model.shared_head(u) + low, atol=1e-6)


def test_dropout_is_the_released_one_and_another_of_what_low_rank_maps_read() -> None:
    rates = fusion_info("mculora").defaults
    assert (rates["dropout"], rates["low_rank_dropout"]) == (0.5, 0.1)
    features = {m: torch.randn(4, d) for m, d in DIMS.items()}
    model = make(dropout=0.999, draw_combinations=False)
    joint = model(features).fused[:, 16:]
    assert torch.equal(joint, model(features).fused[:, 16:])  # none in the specific stream
    model = make(low_rank_dropout=0.5, draw_combinations=False)
    assert not torch.equal(model(features).fused[:, 16:], model(features).fused[:, 16:])


def test_as_released_the_specific_stream_is_zero_and_frozen() -> None:
    features = {m: torch.randn(4, d) for m, d in DIMS.items()}
    width = 2 * 8
    dead = make(faithful_dead_lora=True)
    out = dead(features)
    assert torch.equal(out.fused[:, width:], torch.zeros(4, width))
    for name, parameter in dead.named_parameters():
        assert parameter.requires_grad == (not name.startswith("cross") and "choice" not in name)
    assert make()(features).fused[:, width:].abs().max() > 0


def test_a_dead_stream_could_not_learn() -> None:
    model = make(faithful_dead_lora=True).requires_grad_(True)
    out = model({m: torch.randn(4, d) for m, d in DIMS.items()})
    assert out.logits is not None
    out.logits.square().sum().backward()
    ups = [p.grad for name, p in model.named_parameters() if "choice" in name]
    assert all(g is None or g.abs().max() == 0 for g in ups)


def test_combinations_are_drawn_by_preference_among_what_is_there() -> None:
    model = make()
    assert model.combinations.tolist() == [[True, False], [False, True], [True, True]]
    # 1 + tan(0.5) = 1.546 for the first of three, 1 for the others.
    model.set_preferences([1.5, 1.0, 1.0])
    drawn = model._draw(torch.ones(20_000, 2, dtype=torch.bool))
    only_first = (drawn == torch.tensor([True, False])).all(dim=1).float().mean().item()
    assert only_first == pytest.approx(1.546 / 3.546, abs=0.015)
    one = torch.tensor([[False, True], [False, False]])
    assert torch.equal(model._draw(one), one)


def test_preferences_that_give_no_probability_are_refused() -> None:
    for wrong in ([1.0], [0.1, 1.0, 1.0], [2.6, 1.0, 1.0]):
        with pytest.raises(ValueError, match="preferences"):
            make().set_preferences(wrong)
