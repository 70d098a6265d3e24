"""A head is linear (reading A11), or has one hidden layer."""

import pytest
import torch

from scfae.fusion import build_fusion, make_head

DIMS = {"a": 4, "v": 6}


def test_linear_is_one_layer_on_the_fused_vector() -> None:
    torch.manual_seed(0)
    model = build_fusion("scfae", DIMS, num_outputs=3)
    assert isinstance(model.head, torch.nn.Linear)
    assert model.head.in_features == model.output_dim == 4 + 4 + 6 + 4
    out = model({m: torch.randn(2, d) for m, d in DIMS.items()})
    assert out.logits is not None
    assert torch.equal(out.logits, model.head(out.fused))


def test_mlp_has_a_hidden_layer() -> None:
    head = make_head("mlp", 10, 3)
    assert [tuple(p.shape) for p in head.parameters()] == [(10, 10), (10,), (3, 10), (3,)]
    assert build_fusion("concat", DIMS, num_outputs=2, head="mlp", hidden=8)(
        {m: torch.randn(2, d) for m, d in DIMS.items()}
    ).logits.shape == (2, 2)


def test_no_outputs_is_no_head() -> None:
    model = build_fusion("concat", DIMS)
    assert model.head is None
    assert model({m: torch.randn(2, d) for m, d in DIMS.items()}).logits is None


def test_wrong_heads_are_named() -> None:
    with pytest.raises(ValueError, match="head: must be one of linear, mlp, not 'deep'"):
        build_fusion("scfae", DIMS, num_outputs=2, head="deep")
    with pytest.raises(ValueError, match="num_outputs: must be at least 1 or None, not 0"):
        build_fusion("scfae", DIMS, num_outputs=0)
