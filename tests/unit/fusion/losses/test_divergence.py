"""Jensen-Shannon against scipy, CMD and orthogonality against plain loops, means over samples."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial import distance
from scipy.special import rel_entr
from torch import Tensor

from scfae.fusion.losses import (
    central_moment_discrepancy,
    cosine_overlap,
    jensen_shannon,
    mean_over_present,
    orthogonality,
)

VALID = torch.tensor([True, False, True, True, False, True])
OTHER = torch.tensor([True, True, False, True, False, False])


def pair(width: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(6, width, generator=generator), torch.rand(6, width, generator=generator)


def test_jensen_shannon_of_distributions_is_scipys() -> None:
    p, q = (x.softmax(dim=1) for x in pair())
    expected = [distance.jensenshannon(a, b) ** 2 for a, b in zip(p, q, strict=True)]
    assert jensen_shannon(p, q).tolist() == pytest.approx(expected, rel=1e-4)


def test_jensen_shannon_of_sigmoids_sums_what_features_add() -> None:
    p, q = (x.double().numpy() for x in pair())
    middle = (p + q) / 2
    expected = 0.5 * (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=1)
    np.testing.assert_allclose(jensen_shannon(torch.tensor(p), torch.tensor(q)), expected)


def test_jensen_shannon_at_zero_has_a_finite_gradient() -> None:
    p = torch.tensor([[0.0, 1.0]], requires_grad=True)
    divergence = jensen_shannon(p, torch.tensor([[1.0, 0.0]]))
    assert divergence.item() == pytest.approx(math.log(2))
    assert torch.isfinite(torch.autograd.grad(divergence.sum(), p)[0]).all()


def test_cmd_is_a_loop_over_moments() -> None:
    x, y = (t.double() for t in pair())
    rows = (x[VALID].tolist(), y[OTHER].tolist())
    means = [[sum(row[d] for row in r) / len(r) for d in range(3)] for r in rows]
    expected = math.dist(means[0], means[1])
    for k in range(2, 6):
        moments = [
            [sum((row[d] - mean[d]) ** k for row in r) / len(r) for d in range(3)]
            for r, mean in zip(rows, means, strict=True)
        ]
        expected += math.dist(moments[0], moments[1])
    got = central_moment_discrepancy(x, y, valid_first=VALID, valid_second=OTHER)
    assert got.item() == pytest.approx(expected)


def test_cmd_without_rows_is_zero_with_a_graph() -> None:
    x, y = pair()
    x.requires_grad_()
    loss = central_moment_discrepancy(x, y, valid_second=torch.zeros(6, dtype=torch.bool))
    assert loss.item() == 0.0
    assert (torch.autograd.grad(loss, x)[0] == 0).all()
    same = central_moment_discrepancy(x, x.detach())  # the norm's kink
    assert torch.isfinite(torch.autograd.grad(same, x)[0]).all()


def test_orthogonality_is_a_loop_over_features() -> None:
    x, _ = pair(3)
    _, y = pair(4)
    rows = []
    for t in (x[VALID].double(), y[VALID].double()):
        centred = t - t.mean(dim=0)
        rows.append(centred / (centred.norm(dim=1, keepdim=True) + 1e-6))
    expected = sum(
        float((rows[0][:, i] * rows[1][:, j]).sum()) ** 2 for i in range(3) for j in range(4)
    )
    assert orthogonality(x, y, valid=VALID).item() == pytest.approx(expected / 12, rel=1e-4)


def test_orthogonality_of_one_row_is_zero_with_a_graph() -> None:
    x, y = pair()
    x.requires_grad_()
    loss = orthogonality(x, y, valid=torch.arange(6) == 2)
    assert loss.item() == 0.0
    assert (torch.autograd.grad(loss, x)[0] == 0).all()


def test_cosine_overlap_is_the_size_of_the_cosine() -> None:
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [3.0, 4.0]])
    y = torch.tensor([[0.0, 2.0], [-5.0, 0.0], [4.0, 3.0]])
    assert cosine_overlap(x, y).tolist() == pytest.approx([0.0, 1.0, 0.96])


def test_the_mean_is_over_samples_with_anything() -> None:
    present = torch.tensor([[True, True], [True, False], [False, False]])
    values = torch.tensor([3.0, math.nan, math.nan])
    assert mean_over_present(values, present.all(dim=1), present).item() == 1.5
