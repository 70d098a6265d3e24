"""A head is linear (reading A11), or has one hidden layer; each task has its loss."""

import math

import pytest
import torch

from scfae.fusion import (
    ClassificationHead,
    MultiLabelHead,
    RegressionHead,
    RetrievalHead,
    build_fusion,
    make_head,
)
from scfae.fusion.losses import info_nce

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
    with pytest.raises(
        ValueError, match="num_outputs: must be an integer, at least 1, or None, not 0"
    ):
        build_fusion("scfae", DIMS, num_outputs=0)


def test_classes_by_weighted_cross_entropy() -> None:
    head = ClassificationHead(4, 2, class_weights=torch.tensor([1.0, 3.0]))
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    # -log 1/2 at weight 1 and -log 1/4 at weight 3, over the weights' sum
    expected = (math.log(2) + 3 * math.log(4)) / 4
    assert head.loss(logits, torch.tensor([0, 1])).item() == pytest.approx(expected)
    assert head.predict(logits + torch.tensor([0.0, 0.1])).tolist() == [1, 0]
    assert head(torch.randn(3, 4)).shape == (3, 2)


def test_an_unknown_label_does_not_count() -> None:
    head = MultiLabelHead(4, 2, threshold=0.8)
    logits = torch.tensor([[0.0, 5.0], [math.log(3), -5.0]], requires_grad=True)
    loss = head.loss(logits, torch.tensor([[1.0, math.nan], [1.0, math.nan]]))
    assert loss.item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    assert torch.isfinite(torch.autograd.grad(loss, logits)[0]).all()
    assert head.predict(logits).tolist() == [[False, True], [False, False]]


def test_values_by_absolute_or_squared_error() -> None:
    values, targets = torch.tensor([[1.0], [4.0]]), torch.tensor([2.0, 1.0])
    assert RegressionHead(4).loss(values, targets).item() == 2.0
    assert RegressionHead(4, error="mse").loss(values, targets).item() == 5.0
    with pytest.raises(ValueError, match="error: must be one of l1, mse, not 'huber'"):
        RegressionHead(4, error="huber")


def test_retrieval_embeds_in_one_space_and_compares_what_has_both() -> None:
    torch.manual_seed(0)
    head = RetrievalHead({"a": 4, "v": 6, "t": 5}, embedding_dim=3)
    vectors = {"a": torch.randn(5, 4), "v": torch.randn(5, 6), "t": torch.randn(5, 5)}
    present = torch.ones(5, 3, dtype=torch.bool)
    present[1, 0] = present[3, 2] = False
    embeddings = head(vectors)
    for embedding in embeddings.values():
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(5))
    a, v, t = (embeddings[m] for m in ("a", "v", "t"))
    expected = (
        info_nce(a[[0, 2, 3, 4]], v[[0, 2, 3, 4]], temperature=0.07)
        + info_nce(v[[0, 1, 2, 4]], t[[0, 1, 2, 4]], temperature=0.07)
        + info_nce(a[[0, 2, 4]], t[[0, 2, 4]], temperature=0.07)
    )
    torch.testing.assert_close(head.loss(embeddings, present), expected)
    assert head.predict(a, a)[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert RetrievalHead({"a": 4}).loss({"a": vectors["a"]}, present[:, :1]).item() == 0.0
    head.log_scale.data.fill_(5.0)  # above its most
    (grad,) = torch.autograd.grad(head.loss(head(vectors), present), head.log_scale)
    assert grad != 0
    with pytest.raises(ValueError, match=r"temperature: must be at least 0\.01, not 0"):
        RetrievalHead({"a": 4}, temperature=0)
