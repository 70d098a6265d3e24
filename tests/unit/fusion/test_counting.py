"""Sizes are counted, not estimated, and counting changes nothing."""

import pytest
import torch

from scfae.fusion import (
    SCFAE,
    Concat,
    CrossAttention,
    FusionInfo,
    build_fusion,
    count_flops,
    count_parameters,
    list_fusions,
)

from .small import SMALL


def test_frozen_parameters_are_not_counted() -> None:
    model = Concat({"a": 3}, hidden=4)
    assert count_parameters(model) == (3 + 1) * 4 + 4 + 4 * 4 + 4
    model.mlp[0].requires_grad_(False)
    assert count_parameters(model) == 4 * 4 + 4


def test_operations_are_two_a_multiply_add() -> None:
    model = Concat({"a": 3, "v": 5}, hidden=4, num_outputs=2)
    assert count_flops(model) == 2 * ((3 + 5 + 2) * 4 + 4 * 4 + 4 * 2)


def test_steps_cost_only_where_they_are_fused() -> None:
    pooled, stepped = SCFAE({"a": 6, "v": 8}), SCFAE({"a": 6, "v": 8}, time="per_step")
    assert count_flops(pooled, num_steps=5) == count_flops(pooled)
    assert count_flops(stepped, num_steps=5) == 5 * count_flops(stepped)


def test_counting_leaves_the_model_as_it_was() -> None:
    model = Concat({"a": 3}, hidden=4, check_finite=False).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learning = [p.requires_grad for p in model.parameters()]
    count_flops(model)
    assert [p.requires_grad for p in model.parameters()] == learning
    assert model.training
    assert not model.check_finite
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_cross_attention_is_about_as_large_as_scfae() -> None:
    # Table 6: "with most similar parameter counts".
    dims = {"audio": 512, "video": 512}
    with torch.device("meta"):
        ratio = count_parameters(CrossAttention(dims)) / count_parameters(SCFAE(dims))
    assert 0.9 < ratio < 1.1


@pytest.mark.parametrize("info", list_fusions(), ids=lambda info: info.name)
def test_every_method_can_be_counted(info: FusionInfo) -> None:
    dims = dict(zip("abc", (6, 10, 8), strict=True))
    count = max(2, info.min_modalities)
    few = dict(list(dims.items())[:count])
    model = build_fusion(info.name, few, num_outputs=3, **SMALL.get(info.name, {}))
    model.begin_stage(model.num_stages - 1)
    assert count_flops(model, num_steps=4) > 0
