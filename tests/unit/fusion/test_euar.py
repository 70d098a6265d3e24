"""EUAR: the mixture and its three losses, computed a second time in numpy."""

import numpy as np
import torch

from scfae.fusion import build_fusion
from scfae.fusion.euar import EUAR


def test_mixture_and_losses_are_their_equations() -> None:
    torch.manual_seed(0)
    model = build_fusion("euar", {"a": 6, "v": 4}, num_outputs=2, width=5, num_experts=4, top_k=2)
    assert isinstance(model, EUAR)
    model.eval()
    features = {"a": torch.randn(3, 6), "v": torch.randn(3, 4)}
    present = torch.tensor([[True, True], [True, False], [False, False]])
    out = model(features, present)
    rows = [(0, "a"), (0, "v"), (1, "a")]
    kl = unsure = 0.0
    first, gates = np.zeros(4), np.zeros(4)
    for b, m in rows:
        h = model.encoders[m](features[m][b])
        g = model.gate(h).softmax(dim=0).detach().double().numpy()
        mean, log_variance = (x.detach().double().numpy() for x in model.experts(h))
        variance = np.exp(log_variance)
        best = np.argsort(-g)[:2]
        mixed = sum(g[e] * mean[e] for e in best)
        np.testing.assert_allclose(out.z[m][b].detach().numpy(), mixed, atol=1e-6)
        each = 0.5 * (mean**2 + variance - 1 - log_variance).mean(axis=1)
        kl += sum(g[e] * each[e] for e in best)
        unsure += (g * variance.mean(axis=1)).sum() / 4
        first[g.argmax()] += 1
        gates += g
    assert np.isclose(out.losses["kl"].item(), kl / 2, atol=1e-6)
    assert np.isclose(out.losses["uncertainty"].item(), unsure / 2, atol=1e-6)
    balance = 4 * (first / 3 * gates / 3).sum()
    assert np.isclose(out.losses["balance"].item(), balance, atol=1e-6)
    assert torch.equal(out.z["v"][1], torch.zeros(5))


def test_there_is_noise_in_training_only() -> None:
    model = build_fusion("euar", {"a": 6}, width=5, dropout=0.0)
    features = {"a": torch.randn(3, 6)}
    assert not torch.equal(model(features).fused, model(features).fused)
    model.eval()
    assert torch.equal(model(features).fused, model(features).fused)
