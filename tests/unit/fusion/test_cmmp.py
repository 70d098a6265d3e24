"""CLIP's head: unit embeddings, a learned temperature, cross-entropy over the batch."""

import math

import numpy as np
import pytest
import torch

from scfae.fusion import build_fusion
from scfae.fusion.cmmp import CMMP
from scfae.fusion.losses import info_nce

DIMS = {"image": 5, "video": 7}


def test_the_loss_is_clips_symmetric_cross_entropy() -> None:
    torch.manual_seed(0)
    model = CMMP(DIMS, width=4)
    out = model({m: torch.randn(3, d) for m, d in DIMS.items()})
    image, video = (out.z[m].detach().numpy() for m in DIMS)
    assert np.linalg.norm(image, axis=1) == pytest.approx(np.ones(3), abs=1e-6)
    logits = image @ video.T / 0.07
    expected = [
        -np.mean(np.diag(x - np.log(np.exp(x).sum(axis=1, keepdims=True))))
        for x in (logits, logits.T)
    ]
    assert out.losses["info_nce"].item() == pytest.approx(np.mean(expected), abs=1e-5)
    assert out.shared_from is out.z


def test_three_modalities_add_the_loss_of_each_pair_of_those_that_have_both() -> None:
    torch.manual_seed(0)
    model = CMMP(DIMS | {"text": 6}, width=4)
    features = {m: torch.randn(5, d) for m, d in model.dims.items()}
    present = torch.ones(5, 3, dtype=torch.bool)
    present[1, 0] = present[2, 0] = present[3, 2] = False
    out = model(features, present)
    image, video, text = out.z.values()
    expected = (
        info_nce(image[[0, 3, 4]], video[[0, 3, 4]], temperature=0.07)
        + info_nce(image[[0, 4]], text[[0, 4]], temperature=0.07)
        + info_nce(video[[0, 1, 2, 4]], text[[0, 1, 2, 4]], temperature=0.07)
    )
    torch.testing.assert_close(out.losses["info_nce"], expected)


def test_the_scale_is_learned_and_never_above_100() -> None:
    model = CMMP(DIMS, width=4)
    features = {m: torch.randn(4, d) for m, d in DIMS.items()}
    model.log_scale.data.fill_(math.log(100))
    at_most = model(features).losses["info_nce"]
    model.log_scale.data.fill_(50.0)
    assert torch.equal(model.eval()(features).losses["info_nce"], at_most)
    loss = model.train()(features).losses["info_nce"]
    assert torch.equal(loss, at_most)
    (grad,) = torch.autograd.grad(loss, model.log_scale)
    assert grad != 0  # it can come down again
    with pytest.raises(ValueError, match=r"temperature: must be at least 0\.01, not 0\.005"):
        CMMP(DIMS, temperature=0.005)


def test_samples_of_one_class_are_partners_on_demand() -> None:
    features = {m: torch.randn(4, d) for m, d in DIMS.items()}
    labels = torch.tensor([0, 0, 1, 1])
    torch.manual_seed(0)
    by_pair = CMMP(DIMS).eval()
    torch.manual_seed(0)
    by_class = CMMP(DIMS, positives="class").eval()
    plain = by_pair(features).losses["info_nce"]
    assert torch.equal(by_pair(features, labels=labels).losses["info_nce"], plain)
    assert not torch.equal(by_class(features, labels=labels).losses["info_nce"], plain)
    assert torch.equal(by_class(features, labels=torch.arange(4)).losses["info_nce"], plain)


def test_the_parameters_are_two_projections_and_a_scale() -> None:
    model = CMMP({"image": 128, "video": 4096})
    count = sum(p.numel() for p in model.parameters())
    assert count == 128 * 128 + 128 + 4096 * 128 + 128 + 1
    with pytest.raises(ValueError, match="cmmp needs at least 2 modalities"):
        build_fusion("cmmp", {"image": 4})
    with pytest.raises(ValueError, match="projection: must be one of linear, mlp"):
        CMMP(DIMS, projection="deep")
