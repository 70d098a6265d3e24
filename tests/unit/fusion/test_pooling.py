"""Rows become a vector by their mean, or by weights that are learned."""

import pytest
import torch

from scfae.fusion import AttentionPooling, MeanPooling, masked_mean
from scfae.fusion.pooling import POOLINGS, LastPooling, MaxPooling, make_poolings


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
    with pytest.raises(ValueError, match="pooling: must be one of mean, max, last"):
        make_poolings("median", {"a": 4})


def test_the_largest_and_the_last_are_of_valid_rows() -> None:
    rows, valid = ragged()
    rows[1] -= 10  # all below the zeros of the padding
    largest, last = MaxPooling(4)(rows, valid), LastPooling(4)(rows, valid)
    assert torch.equal(largest[0], rows[0].max(dim=0).values)
    assert torch.equal(last[0], rows[0, 2])
    for pooled in (largest, last):
        assert torch.equal(pooled[1], rows[1, 0])
        assert (pooled[2] == 0).all()


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("width", [1, 7, 300])
def test_no_pooling_sees_padding(name: str, width: int) -> None:
    torch.manual_seed(0)
    pool = POOLINGS[name](width).eval()
    _, valid = ragged()
    rows = torch.randn(3, 3, width) * valid[:, :, None]
    pooled = pool(rows, valid)
    assert pooled.shape == (3, width)
    assert (pooled[2] == 0).all()
    alone = pool(rows[1:2, :1], valid[1:2, :1])
    torch.testing.assert_close(pooled[1:2], alone)
    longer = pool(
        torch.nn.functional.pad(rows, (0, 0, 0, 4)), torch.nn.functional.pad(valid, (0, 4))
    )
    torch.testing.assert_close(pooled, longer)


@pytest.mark.parametrize("name", ["attention", "transformer", "bilstm"])
def test_every_parameter_of_a_pooling_learns(name: str) -> None:
    torch.manual_seed(0)
    pool = POOLINGS[name](7)
    rows, valid = torch.randn(3, 3, 7), ragged()[1]
    pool(rows * valid[:, :, None], valid).square().sum().backward()
    for key, parameter in pool.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", ["transformer", "bilstm"])
def test_order_in_time_matters_to_poolings_that_read_it(name: str) -> None:
    torch.manual_seed(0)
    pool = POOLINGS[name](7).eval()
    rows, valid = torch.randn(1, 3, 7), torch.ones(1, 3, dtype=torch.bool)
    assert not torch.allclose(pool(rows, valid), pool(rows.flip(1), valid), atol=1e-4)
