"""Alignment and masked reconstruction: the matching nears the Hungarian one; gaps are rebuilt."""

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from scfae.fusion.align_maskrecon import AlignMaskRecon, soft_matching

DIMS = {"audio": 6, "video": 10}


def test_a_sharp_matching_is_the_hungarian_one_over_valid_tokens() -> None:
    torch.manual_seed(0)
    scores = torch.rand(1, 5, 5)
    valid = torch.tensor([[True] * 4 + [False]])
    matching = soft_matching(100 * scores, valid, valid, 500)[0]
    rows, columns = linear_sum_assignment(-scores[0, :4, :4].numpy())
    best = scores[0, rows, columns].mean().item()
    assert (matching * scores[0]).sum().item() == pytest.approx(best, abs=0.02)
    assert (scores[0, :4, :4].mean() - best).abs().item() > 0.1


def test_a_matching_has_the_marginals_of_valid_tokens() -> None:
    valid, their = torch.tensor([[True, True, False]]), torch.tensor([[True, True, True, False]])
    matching = soft_matching(torch.randn(1, 3, 4), valid, their, 50)[0]
    assert matching.sum(dim=1).tolist() == pytest.approx([0.5, 0.5, 0.0], abs=1e-4)
    assert matching.sum(dim=0).tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0.0], abs=1e-4)


def test_only_genuine_samples_are_aligned() -> None:
    torch.manual_seed(0)
    model = AlignMaskRecon(DIMS, width=16, num_layers=1).eval()
    features = {m: torch.randn(2, d) for m, d in DIMS.items()}
    rows = {m: model.project[m](x) for m, x in features.items()}
    each = 1 - torch.nn.functional.cosine_similarity(rows["audio"], rows["video"])
    whole = model(features).losses["align"].item()
    assert whole == pytest.approx(each.mean().item(), rel=1e-4)
    genuine = model(features, labels=torch.tensor([1, 0])).losses["align"].item()
    assert genuine == pytest.approx(each[1].item() / 2, rel=1e-4)


def test_hidden_tokens_alone_are_rebuilt_and_only_in_training() -> None:
    torch.manual_seed(0)
    model = AlignMaskRecon(DIMS, width=16, num_layers=1, dropout=0.0, hidden_share=0.5)
    features = {m: torch.randn(2, 4, d) for m, d in DIMS.items()}
    assert model.eval()(features).losses["recon"].item() == 0
    rebuilt: dict[str, torch.Tensor] = {}
    for m in DIMS:
        model.rebuild[m].register_forward_hook(
            lambda _, __, x, m=m: rebuilt.__setitem__(m, x.detach())
        )
    torch.manual_seed(1)
    loss = model.train()(features).losses["recon"].item()
    torch.manual_seed(1)
    gaps = {m: torch.rand(2, 4) < 0.5 for m in DIMS}
    expected = 0.0
    for m, gap in gaps.items():
        errors = 1 - torch.nn.functional.cosine_similarity(rebuilt[m], features[m], dim=2)
        expected += sum(errors[b][gap[b]].mean().item() / 2 for b in range(2) if gap[b].any())
    assert loss == pytest.approx(expected, rel=1e-4)
