"""Dual interaction: token by token, each one's best, weighed; padding is never the best."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from scfae.fusion.dual_interaction import DualInteraction, nce_of_scores, token_similarity

DIMS = {"image": 5, "video": 7}


def test_the_local_score_is_that_of_plain_loops() -> None:
    torch.manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(2, 3, 4), dim=2)
    y = torch.nn.functional.normalize(torch.randn(2, 2, 4), dim=2)
    v = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.4, 0.0]])
    w = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    found = token_similarity(x, v, y, w)
    for q, g in ((0, 0), (0, 1), (1, 0), (1, 1)):
        cosines = (x[q] @ y[g].T).numpy()[v[q].numpy() > 0][:, w[g].numpy() > 0]
        a, b = v[q][v[q] > 0].numpy(), w[g][w[g] > 0].numpy()
        expected = (a @ cosines.max(axis=1) + b @ cosines.max(axis=0)) / 2
        assert found[q, g].item() == pytest.approx(expected, abs=1e-6)


def test_the_entropy_of_scores_counts_valid_rows_alone() -> None:
    scores = torch.randn(3, 3)
    s = scores.numpy()[[0, 2]][:, [0, 2]]
    both = [-np.mean(np.diag(x - np.log(np.exp(x).sum(axis=1, keepdims=True)))) for x in (s, s.T)]
    valid = torch.tensor([True, False, True])
    assert nce_of_scores(scores, valid).item() == pytest.approx(np.mean(both), rel=1e-5)
    assert nce_of_scores(scores, torch.zeros(3, dtype=torch.bool)).item() == 0


def test_similarity_is_the_global_score_plus_the_local_one() -> None:
    model = DualInteraction(DIMS, width=8).eval()
    images, videos = torch.randn(2, 1, 5), torch.randn(2, 3, 7)
    out = model({"image": images, "video": videos})
    tokens, weights = model._tokens("image", images, torch.ones(2, 1, dtype=torch.bool))
    others, their = model._tokens("video", videos, torch.ones(2, 3, dtype=torch.bool))
    local = token_similarity(tokens, weights, others, their)
    scores = model.similarity("image", images, "video", videos)
    assert torch.allclose(scores, out.z["image"] @ out.z["video"].T + local, atol=1e-6)
    expected = nce_of_scores(local / 0.07, torch.ones(2, dtype=torch.bool))
    assert torch.allclose(out.losses["token_nce"], expected, atol=1e-5)
    whole = (out.z["image"] @ out.z["video"].T / 0.07).detach().numpy()
    nce = [-np.mean(np.log(softmax(x, axis=1).diagonal())) for x in (whole, whole.T)]
    assert out.losses["info_nce"].item() == pytest.approx(np.mean(nce), rel=1e-4)
