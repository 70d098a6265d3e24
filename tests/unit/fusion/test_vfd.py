"""VFD: genuine samples among each other and against forged ones; the score is a cosine."""

import numpy as np
import pytest
import torch

from scfae.fusion.vfd import VFD, forged_nce

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


def test_forged_pairs_are_the_negatives_of_genuine_ones() -> None:
    torch.manual_seed(0)
    model = VFD(DIMS, num_outputs=2, width=8, against_forged=True).eval()
    features = {m: torch.randn(5, d) for m, d in DIMS.items()}
    labels = torch.tensor([0, 1, 0, 1, 1])
    present = torch.ones(5, 2, dtype=torch.bool)
    present[3, 0] = False
    out = model(features, present, labels=labels)
    s = (out.z["voice"] * out.z["face"]).sum(dim=1).detach().numpy() / 0.1
    # Genuine: 0 and 2. Forged, with both: 1 and 4.
    expected = [np.log(np.exp(s[[i, 1, 4]]).sum()) - s[i] for i in (0, 2)]
    assert out.losses["forged"].item() == pytest.approx(np.mean(expected), rel=1e-4)
    out.losses["forged"].backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.embed.parameters())
    assert set(model(features, present).losses) == {"info_nce"}
    plain = VFD(DIMS, num_outputs=2, width=8)
    assert set(plain(features, present, labels=labels).losses) == {"info_nce"}
    with pytest.raises(ValueError, match="against_forged: needs matched_label"):
        VFD(DIMS, matched_label=None, against_forged=True)


def test_without_genuine_or_without_forged_nothing_is_compared() -> None:
    scores = torch.randn(3, requires_grad=True)
    here, none = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)
    for genuine, forged in ((here, none), (none, here), (none, none)):
        loss = forged_nce(scores, genuine, forged)
        assert loss.item() == 0
        assert (torch.autograd.grad(loss, scores)[0] == 0).all()


def test_the_head_reads_embeddings_of_unit_length_and_their_cosine() -> None:
    model = VFD(DIMS, width=8).eval()
    out = model({m: torch.randn(3, d) for m, d in DIMS.items()})
    cosine = torch.nn.functional.cosine_similarity(out.z["voice"], out.z["face"])
    assert torch.allclose(out.fused[:, -1], cosine, atol=1e-6)
    assert torch.allclose(out.z["face"].norm(dim=1), torch.ones(3))
    assert model.output_dim == 17
