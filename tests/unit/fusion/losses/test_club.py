"""CLUB: its formula, whom its losses reach, and that it finds what two Gaussians share."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from scfae.fusion.losses import CLUB

VALID = torch.tensor([True, False, True, True, True])


def pair() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(5, 3, requires_grad=True), torch.randn(5, 2, requires_grad=True)


def test_the_bound_is_the_double_loop() -> None:
    x, y = pair()
    club = CLUB(3, 2, hidden=4)
    mean, log_variance = club(x)
    rows, total = [0, 2, 3, 4], 0.0
    for i in rows:
        for d in range(2):
            variance = math.exp(log_variance[i, d].item())
            near = (mean[i, d] - y[i, d]).item() ** 2
            far = sum((y[j, d] - mean[i, d]).item() ** 2 for j in rows) / 4
            total += (far - near) / (2 * variance)
    assert club.bound(x, y, valid=VALID).item() == pytest.approx(total / 4, rel=1e-4)


def test_the_learning_loss_is_the_likelihood() -> None:
    x, y = pair()
    club = CLUB(3, 2, hidden=4)
    mean, log_variance = club(x)
    m, v, t = (tensor.detach().numpy() for tensor in (mean, log_variance, y))
    # log N = -((mu - y)^2 / var + logvar + log 2 pi) / 2, of two features
    likelihood = norm.logpdf(t, m, np.exp(v / 2)).sum(axis=1)
    expected = (-2 * likelihood - 2 * math.log(2 * math.pi)).mean()
    assert club.learning_loss(x, y).item() == pytest.approx(expected, rel=1e-5)


def test_one_loss_reaches_only_the_estimator_and_the_other_never() -> None:
    x, y = pair()
    club = CLUB(3, 2, hidden=4)
    club.learning_loss(x, y).backward()  # type: ignore[no-untyped-call]
    assert x.grad is None
    assert y.grad is None
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in club.parameters())
    club.zero_grad()
    club.bound(x, y).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in club.parameters())
    assert x.grad is not None
    assert y.grad is not None
    assert x.grad.abs().max() > 0
    assert y.grad.abs().max() > 0


def test_unit_variance_and_one_partner_each() -> None:
    x, y = pair()
    club = CLUB(3, 2, hidden=4, sampled=True, unit_variance=True).eval()
    mean, log_variance = club(x)
    assert (log_variance == 0).all()
    partners = torch.tensor([2, 1, 3, 4, 0])  # the next valid row
    terms = ((mean - y[partners]).square() - (mean - y).square()).sum(dim=1) / 2
    torch.testing.assert_close(club.bound(x, y, valid=VALID), terms[VALID].mean())
    assert torch.isfinite(club.train().bound(x, y, valid=VALID))


def test_nothing_to_compare_is_zero_with_a_graph() -> None:
    for sampled in (False, True):
        x, y = pair()
        club = CLUB(3, 2, sampled=sampled)
        for valid in (torch.zeros(5, dtype=torch.bool), torch.arange(5) == 1):
            loss = club.bound(x, y, valid=valid)
            assert loss.item() == pytest.approx(0.0, abs=1e-6)
            assert (torch.autograd.grad(loss, x)[0].abs() < 1e-6).all()


def test_it_bounds_the_information_of_two_gaussians_from_above() -> None:
    torch.manual_seed(0)
    rho, n = 0.8, 1000
    x = torch.randn(n, 1)
    y = rho * x + math.sqrt(1 - rho**2) * torch.randn(n, 1)
    club = CLUB(1, 1, hidden=16)
    optimizer = torch.optim.Adam(club.parameters(), lr=2e-2)
    for _ in range(120):
        optimizer.zero_grad()
        club.learning_loss(x, y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    true = -0.5 * math.log(1 - rho**2)  # 0.51 nats
    # The bound of the right q is rho^2 / (1 - rho^2) = 1.78.
    assert true < club.bound(x, y).item() < 2.0
