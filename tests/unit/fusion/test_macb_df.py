"""MACB-DF: contrast in every layer, heads before fusion, and the least-norm combiner."""

import numpy as np
import pytest
import torch

from scfae.fusion import combined_backward, fusion_info
from scfae.fusion.macb_df import MACBDF

DIMS = {"audio": 6, "video": 10}


def nce(x: np.ndarray, y: np.ndarray) -> float:
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y)]
    scores = unit[0] @ unit[1].T / 0.1
    both = [
        -np.mean(np.diag(s - np.log(np.exp(s).sum(axis=1, keepdims=True))))
        for s in (scores, scores.T)
    ]
    return float(np.mean(both))


def test_the_contrast_is_the_mean_over_layers() -> None:
    torch.manual_seed(0)
    model = MACBDF(DIMS, width=16, num_layers=2).eval()
    features = {m: torch.randn(3, 4, d) for m, d in DIMS.items()}
    means: dict[str, list[np.ndarray]] = {m: [] for m in DIMS}
    for layer in model.layers:
        for m in DIMS:
            layer.get_submodule(m).register_forward_hook(
                lambda _, __, x, m=m: means[m].append(x.mean(dim=1).detach().numpy())
            )
    loss = model(features).losses["contrastive"].item()
    expected = [nce(x, y) for x, y in zip(means["audio"], means["video"], strict=True)]
    assert len(expected) == 2
    assert loss == pytest.approx(np.mean(expected), rel=1e-4)


def test_unimodal_heads_read_what_no_other_modality_touched() -> None:
    torch.manual_seed(0)
    model = MACBDF(DIMS, num_outputs=2, width=16, num_layers=1).eval()
    features = {m: torch.randn(2, 3, d) for m, d in DIMS.items()}
    present = torch.tensor([[True, False], [True, False]])
    labels = torch.tensor([1, 0])
    x = model.branches["audio"](model.project["audio"](features["audio"]).mean(dim=1))
    expected = torch.nn.functional.cross_entropy(x, labels).item()
    loss = model(features, present, labels=labels).losses["branch"].item()
    assert loss == pytest.approx(expected, rel=1e-5)
    assert set(model(features).losses) == {"contrastive"}


def test_its_recipe_asks_for_the_least_norm_point() -> None:
    assert fusion_info("macb_df").recipe.combiner == "min_norm"


def test_it_learns_from_samples_of_one_modality_each() -> None:
    """Nothing is there to contrast: that loss has no gradient, and must not stop the others."""
    torch.manual_seed(0)
    model = MACBDF(DIMS, num_outputs=2, width=16, num_layers=1)
    features = {m: torch.randn(4, 3, d) for m, d in DIMS.items()}
    present = torch.tensor([[True, False], [False, True]]).repeat(2, 1)
    labels = torch.tensor([0, 1, 1, 0])
    out = model(features, present, labels=labels)
    losses = [torch.nn.functional.cross_entropy(out.logits, labels), *out.losses.values()]
    combined_backward(losses, list(model.parameters()), "min_norm")
    for m in DIMS:
        grad = model.project[m].get_parameter("weight").grad
        assert grad is not None
        assert grad.abs().max() > 0
