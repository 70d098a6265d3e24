"""DrFuse: the released shared fusion, a masked divergence, attention by class, ranked weights."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from scfae.fusion.drfuse import DrFuse, mean_in_sigmoids, rank_hinge
from scfae.fusion.losses import jensen_shannon

DIMS = {"ehr": 5, "cxr": 7}


def test_the_shared_vector_is_the_released_formula_for_two_and_the_one_that_is_there() -> None:
    h = torch.randn(4, 2, 3, dtype=torch.float64)
    present = torch.tensor([[True, True], [True, True], [True, False], [False, False]])
    a, b = h[:, 0].numpy(), h[:, 1].numpy()
    released = np.log(2 * np.exp(a + b) + np.exp(a) + np.exp(b)) - np.log(2 + np.exp(a) + np.exp(b))
    together = mean_in_sigmoids(h, present).numpy()
    assert together[:2] == pytest.approx(released[:2])
    assert together[2] == pytest.approx(a[2])
    assert (together[3] == 0).all()


def test_the_divergence_counts_only_samples_that_have_both() -> None:
    torch.manual_seed(0)
    model = DrFuse(DIMS, width=6).eval()
    features = {m: torch.randn(3, d) for m, d in DIMS.items()}
    present = torch.tensor([[True, True], [True, False], [True, True]])
    out = model(features, present)
    each = [
        sum(
            0.5 * (p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q)))
            for p, q in zip(
                out.shared_from["ehr"][b].sigmoid().tolist(),
                out.shared_from["cxr"][b].sigmoid().tolist(),
                strict=True,
            )
        )
        for b in (0, 2)
    ]
    assert out.losses["jsd"].item() == pytest.approx(sum(each) / 3, rel=1e-4)
    alone = model(features, torch.tensor([[True, False]]).expand(3, 2))
    assert alone.losses["jsd"].item() == 0
    p, q = torch.tensor([[0.2, 0.8]]), torch.tensor([[0.6, 0.4]])
    assert jensen_shannon(p, q).item() == pytest.approx(jensenshannon(p[0], q[0]) ** 2, rel=1e-5)


def test_cos_and_branch_are_those_of_plain_numpy() -> None:
    torch.manual_seed(1)
    model = DrFuse(DIMS, num_outputs=3, width=6).eval()
    features = {m: torch.randn(2, d) for m, d in DIMS.items()}
    labels = torch.tensor([2, 0])
    out = model(features, labels=labels)
    overlap = sum(
        abs(np.dot(s, d)) / np.linalg.norm(s) / np.linalg.norm(d)
        for m in DIMS
        for s, d in zip(
            out.shared_from[m].detach().numpy(), out.specific[m].detach().numpy(), strict=True
        )
    )
    assert out.losses["cos"].item() == pytest.approx(overlap / 2, rel=1e-4)
    together = mean_in_sigmoids(
        torch.stack(list(out.shared_from.values()), dim=1), torch.ones(2, 2, dtype=torch.bool)
    )
    tokens = [out.specific["ehr"], out.specific["cxr"], together]
    expected = 0.0
    for head, token in zip(model.branches, tokens, strict=True):
        x = head(token).detach().numpy()
        log_shares = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
        expected -= (log_shares[0, 2] + log_shares[1, 0]) / 2
    assert out.losses["branch"].item() == pytest.approx(expected, rel=1e-4)
    assert set(model(features).losses) == {"jsd", "cos"}


def test_ranking_punishes_weight_on_the_token_that_errs_more() -> None:
    weight, other = torch.tensor([[0.7, 0.2]]), torch.tensor([[0.1, 0.5]])
    worse, better = torch.tensor([[2.0]]), torch.tensor([[1.0]])
    assert rank_hinge(weight, other, worse, better).item() == pytest.approx(0.6 / 2)
    assert rank_hinge(weight, other, better, worse).item() == pytest.approx(0.3 / 2)


def test_the_ranking_is_that_of_plain_loops_over_tokens_that_are_there() -> None:
    torch.manual_seed(2)
    model = DrFuse(DIMS, num_outputs=3, width=6).eval()
    features = {m: torch.randn(3, d) for m, d in DIMS.items()}
    present = torch.tensor([[True, True], [True, False], [True, True]])
    labels = torch.tensor([2, 0, 1])
    out = model(features, present, labels=labels)
    together = mean_in_sigmoids(torch.stack(list(out.shared_from.values()), dim=1), present)
    tokens = torch.stack([*out.specific.values(), together], dim=1)
    valid = torch.tensor([[True, True, True], [True, False, True], [True, True, True]])
    _, weights = model._attention(tokens, valid)
    errors = [
        torch.nn.functional.cross_entropy(head(tokens[:, s]), labels, reduction="none").tolist()
        for s, head in enumerate(model.branches)
    ]
    total = 0.0
    for i, j in ((0, 1), (0, 2), (1, 2)):
        for b in range(3):
            if valid[b, i] and valid[b, j]:
                worse, better = (i, j) if errors[i][b] > errors[j][b] else (j, i)
                gaps = weights[b, worse] - weights[b, better]
                total += gaps.clamp(min=0.0).mean().item()
    assert total > 0
    assert out.losses["ranking"].item() == pytest.approx(total / 3 / 3, rel=1e-4)


def test_each_output_reads_its_own_vector_and_absent_tokens_weigh_nothing() -> None:
    model = DrFuse(DIMS, num_outputs=3, width=6).eval()
    features = {m: torch.randn(2, d) for m, d in DIMS.items()}
    out = model(features)
    by_class = out.fused.view(2, 3, 6)
    for c in range(3):
        expected = by_class[:, c] @ model.classify.weight[c] + model.classify.bias[c]
        assert torch.allclose(out.logits[:, c], expected, atol=1e-6)
    tokens, valid = torch.randn(2, 3, 6), torch.tensor([[True, False, True]]).expand(2, 3)
    _, weights = model._attention(tokens, valid)
    assert (weights[:, 1] == 0).all()
    assert torch.allclose(weights.sum(dim=1), torch.ones(2, 3))
    assert model.project is not None
    assert sum("project" in key for key, _ in model.named_parameters()) == 6
