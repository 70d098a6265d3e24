"""MDS: genuine samples' modalities come together, forged ones rest beyond the margin."""

import numpy as np
import pytest
import torch

from scfae.fusion.mds import MDS

DIMS = {"audio": 5, "video": 7}


def test_both_losses_are_those_of_plain_loops() -> None:
    torch.manual_seed(0)
    model = MDS(DIMS, num_outputs=2, width=4).eval()
    features = {m: torch.randn(4, d) for m, d in DIMS.items()}
    present = torch.tensor([[True, True], [True, True], [True, False], [False, False]])
    labels = torch.tensor([0, 1, 0, 1])
    out = model(features, present, labels=labels)
    audio, video = (out.z[m].detach().numpy() for m in DIMS)
    distance = np.linalg.norm(audio - video, axis=1)
    expected = distance[0] ** 2 + max(0.0, 0.99 - distance[1]) ** 2
    assert out.losses["contrastive"].item() == pytest.approx(expected / 3, rel=1e-4)
    errors = 0.0
    for i, m in enumerate(DIMS):
        x = model.classifiers[m](out.z[m]).detach().numpy()
        for b in range(4):
            if present[b, i]:
                errors += np.log(np.exp(x[b]).sum()) - x[b, labels[b]]
    assert out.losses["branch"].item() == pytest.approx(errors / 3, rel=1e-4)


def test_the_logits_are_the_mean_of_the_classifiers_that_are_there() -> None:
    model = MDS(DIMS, num_outputs=2, width=4).eval()
    features = {m: torch.randn(2, d) for m, d in DIMS.items()}
    out = model(features, torch.tensor([[True, True], [False, True]]))
    audio, video = (model.classifiers[m](out.z[m]) for m in DIMS)
    assert torch.allclose(out.logits[0], (audio[0] + video[0]) / 2)
    assert torch.allclose(out.logits[1], video[1])
    assert out.losses == {}


def test_values_need_every_sample_to_be_genuine() -> None:
    features = {m: torch.randn(2, d) for m, d in DIMS.items()}
    values = torch.tensor([0.3, -1.0])
    with pytest.raises(ValueError, match="labels: must be classes"):
        MDS(DIMS, num_outputs=1)(features, labels=values)
    model = MDS(DIMS, num_outputs=1, matched_label=None)
    out = model(features, labels=values)
    distance = torch.linalg.vector_norm(out.z["audio"] - out.z["video"], dim=1)
    assert out.losses["contrastive"].item() == pytest.approx(distance.square().mean().item())
