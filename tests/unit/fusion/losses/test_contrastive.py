"""InfoNCE and its kin against plain loops over samples."""

import math

import pytest
import torch
from torch import Tensor

from scfae.fusion.losses import (
    batch_triplet,
    check_temperature,
    info_nce,
    learned_temperature,
    margin_contrastive,
    sup_con,
    triplet,
)

VALID = torch.tensor([True, True, False, True, True])
LABELS = torch.tensor([0, 1, 0, 0, 1])


def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 4, generator=generator), torch.randn(5, 4, generator=generator)


def cos(x: Tensor, y: Tensor) -> float:
    return float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))


def loop_info_nce(x: Tensor, y: Tensor, rows: list[int], labels: Tensor, tau: float) -> float:
    total = 0.0
    for one, other in ((x, y), (y, x)):
        for i in rows:
            scores = {j: math.exp(cos(one[i], other[j]) / tau) for j in rows}
            partners = [j for j in rows if labels[j] == labels[i]]
            shares = [scores[j] / sum(scores.values()) for j in partners]
            total -= sum(map(math.log, shares)) / len(partners)
    return total / (2 * len(rows))


@pytest.mark.parametrize("labels", [None, LABELS])
def test_info_nce_is_a_loop_over_valid_rows(labels: Tensor | None) -> None:
    x, y = pair()
    expected = loop_info_nce(
        x, y, [0, 1, 3, 4], torch.arange(5) if labels is None else labels, tau=0.5
    )
    got = info_nce(x, y, temperature=0.5, valid=VALID, labels=labels)
    assert got.item() == pytest.approx(expected, rel=1e-5)


def test_info_nce_of_equal_rows_is_the_logarithm_of_their_number() -> None:
    x = torch.ones(6, 3)
    assert info_nce(x, x).item() == pytest.approx(math.log(6))


def test_a_temperature_that_learned_its_least_can_rise_again() -> None:
    s = torch.nn.Parameter(torch.tensor(math.log(100) + 0.3))
    optimizer = torch.optim.SGD([s], lr=0.1)
    x, y = pair()  # no row's partner is its nearest: a higher temperature costs less
    for _ in range(2):
        temperature = learned_temperature(s, is_training=True)
        assert temperature.item() >= 0.01 - 1e-6
        optimizer.zero_grad()
        info_nce(x, y, temperature=temperature).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert s.item() < math.log(100) - 0.1
    held = torch.tensor(5.0)
    assert learned_temperature(held, is_training=False).item() == pytest.approx(0.01)
    assert held.item() == 5.0
    for wrong in (0.0, 0.009, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"temperature: must be at least 0\.01, not"):
            check_temperature(wrong)


def test_supervised_contrastive_is_a_loop() -> None:
    x, _ = pair()
    rows, losses = [0, 1, 3, 4], []
    for i in rows:
        others = {j: math.exp(cos(x[i], x[j]) / 0.5) for j in rows if j != i}
        partners = [j for j in others if LABELS[j] == LABELS[i]]
        shares = [others[j] / sum(others.values()) for j in partners]
        losses.append(-sum(map(math.log, shares)) / len(partners))
    got = sup_con(x, LABELS, temperature=0.5, valid=VALID)
    assert got.item() == pytest.approx(sum(losses) / 4, rel=1e-5)


def test_triplets_are_hinges_on_cosines() -> None:
    x, y = pair()
    got = triplet(x, y, y.roll(1, 0), margin=0.3)
    expected = [max(0.0, 0.3 - cos(x[i], y[i]) + cos(x[i], y[i - 1])) for i in range(5)]
    assert got.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("hardest", [False, True])
def test_batch_triplets_are_a_loop(hardest: bool) -> None:
    x, y = pair()
    rows, losses = [0, 1, 3, 4], []
    for one, other in ((x, y), (y, x)):
        for i in rows:
            hinges = [
                max(0.0, 0.2 - cos(one[i], other[i]) + cos(one[i], other[j]))
                for j in rows
                if LABELS[j] != LABELS[i]
            ]
            losses.append(max(hinges) if hardest else sum(hinges) / len(hinges))
    got = batch_triplet(x, y, margin=0.2, valid=VALID, labels=LABELS, hardest=hardest)
    assert got.item() == pytest.approx(sum(losses) / 8, rel=1e-5)


def test_margin_contrastive_pulls_and_pushes() -> None:
    distance = torch.tensor([0.5, 0.5, 2.0])
    same = torch.tensor([True, False, False])
    got = margin_contrastive(distance, same, margin=0.99)
    assert got.tolist() == pytest.approx([0.25, 0.49**2, 0.0])


def test_nothing_to_compare_is_zero_with_a_graph() -> None:
    nothing = torch.zeros(5, dtype=torch.bool)
    one = torch.tensor([False, True, False, False, False])
    for valid in (nothing, one):
        x, y = (t.requires_grad_() for t in pair())
        for loss in (
            info_nce(x, y, valid=valid),
            sup_con(x, LABELS, valid=valid),
            batch_triplet(x, y, valid=valid),
        ):
            assert loss.item() == 0.0
            (grad,) = torch.autograd.grad(loss, x)
            assert (grad == 0).all()


def test_what_does_not_count_may_hold_anything() -> None:
    x, y = pair()
    x[2], y[2] = math.nan, math.inf
    x.requires_grad_()
    loss = info_nce(x, y, valid=VALID) + batch_triplet(x, y, valid=VALID)
    loss = loss + sup_con(x, LABELS, valid=VALID)
    (grad,) = torch.autograd.grad(loss, x)
    assert torch.isfinite(loss)
    assert torch.isfinite(grad).all()
    assert (grad[2] == 0).all()
