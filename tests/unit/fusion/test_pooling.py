"""Rows become a vector by their mean, or by weights that are learned."""

import pytest
import torch

from scfae.fusion import AttentionPooling, MeanPooling, masked_mean
from scfae.fusion.pooling import make_poolings


def ragged() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    valid = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    return torch.randn(3, 3, 4) * valid[:, :, None], valid


def test_the_mean_is_over_valid_rows() -> None:
    rows, valid = ragged()
    for pooled in (masked_mean(rows, valid), MeanPooling(4)(rows, valid)):
        torch.testing.assert_close(pooled[0], rows[0].mean(dim=0))
        assert torch.equal(pooled[1], rows[1, 0])
        assert (pooled[2] == 0).all()


def test_attention_is_a_convex_mean_of_valid_rows() -> None:
    rows, valid = ragged()
    pool = AttentionPooling(4)
    pooled = pool(rows, valid)
    torch.testing.assert_close(pooled[1], rows[1, 0])
    assert (pooled[2] == 0).all()
    scores = pool.score(torch.tanh(pool.hidden(rows[0]))).squeeze(-1)
    weights = scores.exp() / scores.exp().sum()
    torch.testing.assert_close(pooled[0], (weights[:, None] * rows[0]).sum(dim=0))
    assert torch.isfinite(torch.autograd.grad(pooled.sum(), pool.hidden.weight)[0]).all()


def test_equal_scores_are_the_mean() -> None:
    rows, valid = ragged()
    pool = AttentionPooling(4)
    torch.nn.init.zeros_(pool.score.weight)
    torch.testing.assert_close(pool(rows, valid), masked_mean(rows, valid))


def test_attention_in_half_precision_stays_finite() -> None:
    rows, valid = ragged()
    pool = AttentionPooling(4).to(torch.bfloat16)
    assert torch.isfinite(pool(rows.to(torch.bfloat16), valid)).all()


def test_poolings_by_name() -> None:
    made = make_poolings("attention", {"a": 4, "v": 6})
    assert list(made) == ["a", "v"]
    with pytest.raises(ValueError, match="pooling: must be one of mean, attention, not 'max'"):
        make_poolings("max", {"a": 4})
