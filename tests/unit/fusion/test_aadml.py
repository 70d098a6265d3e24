"""AADML: proxies are attentions over the nearest neighbours, and anchors come near to theirs."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from scfae.fusion.aadml import AADML, neighbours

DIMS = {"image": 5, "video": 7}


def test_neighbours_are_the_nearest_that_are_there_and_oneself() -> None:
    angles = torch.tensor([0.0, 0.1, 0.25, 3.0])
    unit = torch.stack([angles.cos(), angles.sin()], dim=1)
    everyone = torch.ones(4, dtype=torch.bool)
    near = neighbours(unit, everyone, 2).int().tolist()
    assert near == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    without = neighbours(unit, torch.tensor([True, False, True, True]), 2).int().tolist()
    assert without == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1]]


@pytest.mark.parametrize("values", ["own", "learned"])
def test_the_loss_is_that_of_plain_loops(values: str) -> None:
    torch.manual_seed(0)
    model = AADML(DIMS, width=4, num_neighbours=2, values=values).eval()
    features = {m: torch.randn(4, d) for m, d in DIMS.items()}
    labels = torch.tensor([0, 1, 0, 1])
    out = model(features, labels=labels)
    proxies = {}
    for m in DIMS:
        z = out.z[m]
        q, k, v = (f(z).detach().numpy() for f in (model.query, model.key, model.value))
        cosines = (z @ z.T).detach().numpy()
        rows = []
        for i in range(4):
            near = np.argsort(-cosines[i])[:2]
            p = softmax(q[i] @ k[near].T / 2.0) @ v[near]
            rows.append(p / np.linalg.norm(p))
        proxies[m] = np.array(rows)
    total = []
    for anchor, other in (("image", "video"), ("video", "image")):
        d = 1 - out.z[anchor].detach().numpy() @ proxies[other].T
        for x in (d, d.T):
            total += [
                np.mean([max(0.0, 0.3 + x[i, i] - x[i, j]) for j in range(4) if (i + j) % 2])
                for i in range(4)
            ]
    assert out.losses["triplet"].item() == pytest.approx(np.mean(total), rel=1e-4)


def test_outputs_do_not_depend_on_the_batch() -> None:
    model = AADML(DIMS, width=4).eval()
    features = {m: torch.randn(6, d) for m, d in DIMS.items()}
    alone = model({m: x[:1] for m, x in features.items()})
    assert torch.allclose(model(features).z["image"][:1], alone.z["image"], atol=1e-6)
    assert alone.losses["triplet"].item() == 0


def test_proxies_are_means_of_embeddings_unless_told_otherwise() -> None:
    torch.manual_seed(0)
    model = AADML(DIMS, width=4, num_neighbours=2)
    z = torch.nn.functional.normalize(torch.randn(2, 4), dim=1)
    everyone = torch.ones(2, dtype=torch.bool)
    # Within the plane of both embeddings, and between them.
    weights = torch.linalg.lstsq(z.T, model.proxies(z, everyone).T).solution
    assert (weights > 0).all()
    assert torch.allclose(z.T @ weights, model.proxies(z, everyone).T, atol=1e-6)
    with pytest.raises(ValueError, match="values: must be own or learned, not 'none'"):
        AADML(DIMS, values="none")
