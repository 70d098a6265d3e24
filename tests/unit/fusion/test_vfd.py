"""VFD: InfoNCE between genuine samples, whose score is a cosine."""

import numpy as np
import pytest
import torch

from scfae.fusion.vfd import VFD

DIMS = {"voice": 5, "face": 7}


def test_the_loss_compares_genuine_samples_alone() -> None:
    torch.manual_seed(0)
    model = VFD(DIMS, num_outputs=2, width=8).eval()
    features = {m: torch.randn(4, d) for m, d in DIMS.items()}
    labels = torch.tensor([0, 1, 0, 0])
    present = torch.tensor([[True, True], [True, True], [True, True], [True, False]])
    out = model(features, present, labels=labels)
    voice, face = (out.z[m].detach().numpy()[[0, 2]] for m in DIMS)
    scores = voice @ face.T / 0.1
    expected = [
        -np.mean(np.diag(x - np.log(np.exp(x).sum(axis=1, keepdims=True))))
        for x in (scores, scores.T)
    ]
    assert out.losses["info_nce"].item() == pytest.approx(np.mean(expected), rel=1e-4)
    changed = {m: x.clone() for m, x in features.items()}
    changed["face"][1] = 9.0  # a forged sample
    again = model(changed, present, labels=labels)
    assert torch.equal(again.losses["info_nce"], out.losses["info_nce"])


def test_the_head_reads_embeddings_of_unit_length_and_their_cosine() -> None:
    model = VFD(DIMS, width=8).eval()
    out = model({m: torch.randn(3, d) for m, d in DIMS.items()})
    cosine = torch.nn.functional.cosine_similarity(out.z["voice"], out.z["face"])
    assert torch.allclose(out.fused[:, -1], cosine, atol=1e-6)
    assert torch.allclose(out.z["face"].norm(dim=1), torch.ones(3))
    assert model.output_dim == 17
