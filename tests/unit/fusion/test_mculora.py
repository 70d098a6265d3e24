"""MCULoRA: updates chosen by the combination, and the dead stream of the released code."""

import pytest
import torch

from scfae.fusion import build_fusion, fusion_info
from scfae.fusion.lora import LowRankChoice
from scfae.fusion.mculora import MCULoRA
from scfae.fusion.two_streams import CrossModality

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
