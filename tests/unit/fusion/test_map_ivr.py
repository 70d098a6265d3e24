"""MAP-IVR: a still one has appearance, a moving one motion too, and motion translates."""

import numpy as np
import pytest
import torch

from scfae.fusion.map_ivr import MAPIVR

DIMS = {"video": 7, "image": 5}


def cosine(x: torch.Tensor, y: torch.Tensor) -> float:
    a, b = x.detach().numpy(), y.detach().numpy()
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def mean_hinge(d: np.ndarray, labels: torch.Tensor) -> float:
    hinges = []
    for i in range(len(d)):
        far = [j for j in range(len(d)) if labels[j] != labels[i]]
        hinges.append(np.mean([max(0.0, 0.2 + d[i, i] - d[i, j]) for j in far]))
    return float(np.mean(hinges))


def test_every_loss_is_that_of_plain_loops() -> None:
    torch.manual_seed(0)
    model = MAPIVR(DIMS, num_outputs=2, width=6).eval()
    features = {m: torch.randn(3, d) for m, d in DIMS.items()}
    labels = torch.tensor([0, 1, 0])
    out = model(features, labels=labels)
    points = model.project.mlps["video"](features["video"])
    image, video, motion = out.z["image"], out.z["video"], out.specific["video"]
    rebuilt = model.decode["video"](torch.cat([video, motion], dim=1))
    errors = (rebuilt - points).square().mean(dim=1)
    assert out.losses["recon"].item() == pytest.approx(errors.mean().item(), rel=1e-4)
    overlap = np.mean([abs(cosine(video[b], motion[b])) for b in range(3)])
    assert out.losses["orthogonality"].item() == pytest.approx(overlap, rel=1e-4)
    translated = [
        [model.decode["video"](torch.cat([image[q], motion[g]])) for g in range(3)]
        for q in range(3)
    ]
    d = np.array([[1 - cosine(translated[q][g], points[g]) for g in range(3)] for q in range(3)])
    assert out.losses["triplet_video"].item() == pytest.approx(mean_hinge(d, labels), rel=1e-3)
    near = np.array([[1 - cosine(image[q], video[g]) for g in range(3)] for q in range(3)])
    scores = model.distances(features["image"], "video", features["video"])
    assert scores.detach().numpy() == pytest.approx(near + d, abs=1e-5)
    directions = [mean_hinge(x, labels) for x in (near, near.T)]
    found = out.losses["triplet_appearance"].item()
    assert found == pytest.approx(np.mean(directions), rel=1e-3)
    cls = sum(
        torch.nn.functional.cross_entropy(model.classify[name](x), labels).item()
        for name, x in (("appearance", image), ("appearance", video), ("video", points))
    )
    assert out.losses["cls"].item() == pytest.approx(cls, rel=1e-4)
    assert "cls" not in model(features).losses


def test_the_still_one_is_the_image_or_the_last_or_the_one_named() -> None:
    assert MAPIVR(DIMS).moving == ("video",)
    assert MAPIVR({"image": 5, "video": 7, "audio": 4}).moving == ("video", "audio")
    assert MAPIVR({"audio": 4, "video": 7}).still == "video"
    assert MAPIVR({"audio": 4, "video": 7}, still="audio").still == "audio"
    with pytest.raises(ValueError, match="still: must be one of video, image, not 'text'"):
        MAPIVR(DIMS, still="text")
    out = MAPIVR(DIMS, width=6)({m: torch.randn(2, d) for m, d in DIMS.items()})
    assert set(out.specific) == {"video"}
    assert set(out.shared_from) == {"image", "video"}
