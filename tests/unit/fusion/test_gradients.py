"""Gradients brought together, against vectors worked out by hand."""

import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from scfae.fusion import combined_backward
from scfae.fusion.gradients import min_norm, min_norm_weights, pcgrad, sum_gradients


def test_pcgrad_takes_out_the_conflict_by_hand() -> None:
    # g1 . g2 = -1: g1 loses -1/2 of g2, g2 loses -1 of g1.
    gradients = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    assert pcgrad(gradients).tolist() == pytest.approx([0.5, 1.5])  # [0.5, 0.5] + [0, 1]
    agreeing = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert torch.equal(pcgrad(agreeing), sum_gradients(agreeing))
    assert pcgrad(torch.tensor([[1.0, 0.0], [0.0, 0.0]])).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([2.0, 0.0], [0.0, 1.0], [0.4, 0.8]),  # the foot of the perpendicular
        ([1.0, 0.0], [3.0, 1.0], [1.0, 0.0]),  # the end that is nearest
        ([1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]),
        ([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]),
    ],
)
def test_min_norm_of_two_by_hand(
    first: list[float], second: list[float], expected: list[float]
) -> None:
    assert min_norm(torch.tensor([first, second])).tolist() == pytest.approx(expected, abs=1e-6)
    assert min_norm(torch.tensor([second, first])).tolist() == pytest.approx(expected, abs=1e-6)


def test_a_loss_without_a_gradient_does_not_stop_the_others() -> None:
    nothing = torch.zeros(2)
    one = torch.tensor([3.0, 4.0])
    assert min_norm(torch.stack([one, nothing])).tolist() == pytest.approx([3.0, 4.0])
    two = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    expected = min_norm(two).tolist()
    assert min_norm(torch.stack([two[0], nothing, two[1]])).tolist() == pytest.approx(expected)
    assert min_norm(torch.zeros(3, 2)).tolist() == [0.0, 0.0]


def test_min_norm_of_more_is_scipys_minimum() -> None:
    generator = torch.Generator().manual_seed(0)
    for count in (3, 5):
        g = torch.randn(count, 6, generator=generator, dtype=torch.float64) + 0.5
        products = (g @ g.T).numpy()
        best = minimize(
            lambda w, m=products: w @ m @ w,
            [1 / count] * count,
            bounds=[(0, 1)] * count,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        )
        weights = min_norm_weights(g @ g.T)
        assert weights.min() >= 0
        assert weights.sum().item() == pytest.approx(1)
        assert (weights @ (g @ g.T) @ weights).item() == pytest.approx(best.fun, rel=1e-2)
        mixture = min_norm(g)
        assert (g @ mixture >= mixture @ mixture - 0.02).all()  # no loss ascends


def toy() -> tuple[nn.Parameter, nn.Parameter, nn.Parameter, list[torch.Tensor]]:
    shared = nn.Parameter(torch.tensor([0.0, 0.0]))
    own, idle = nn.Parameter(torch.tensor([1.0])), nn.Parameter(torch.zeros(1))
    first = (shared * torch.tensor([1.0, 0.0])).sum()
    second = (shared * torch.tensor([-1.0, 1.0])).sum() + 3 * own.sum()
    return shared, own, idle, [first, second]


@pytest.mark.parametrize(
    ("combiner", "expected"),
    [("sum", [0.0, 1.0]), ("pcgrad", [0.5, 1.5]), ("min_norm", [0.2, 0.4])],
)
def test_backward_combines_what_losses_share(combiner: str, expected: list[float]) -> None:
    shared, own, idle, losses = toy()
    combined_backward(losses, [shared, own, idle], combiner)
    assert shared.grad is not None
    assert own.grad is not None
    assert shared.grad.tolist() == pytest.approx(expected)
    assert own.grad.tolist() == [3.0]
    assert idle.grad is None


def test_wrong_combiners_are_named() -> None:
    shared, _, _, losses = toy()
    with pytest.raises(ValueError, match="combiner: must be one of sum, pcgrad, min_norm"):
        combined_backward(losses, [shared], "mean")
    with pytest.raises(ValueError, match="losses: at least one"):
        combined_backward([], [shared])
