"""APIVR: bags, distances to their spans, a reversed gradient."""

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles

from scfae.fusion.apivr import APIVR, GradientReversal, GraphBag, span_distances
from scfae.fusion.distance_triplet import distance_triplet, other_samples

DIMS = {"image": 5, "video": 7}


def test_the_distance_to_a_span_is_the_sine_of_the_angle() -> None:
    torch.manual_seed(0)
    points, bags = torch.randn(3, 6), torch.randn(2, 2, 6)
    found = span_distances(points, bags)
    for i in range(3):
        for j in range(2):
            angle = subspace_angles(points[i, :, None].numpy(), bags[j].T.numpy())[0]
            assert found[i, j].item() == pytest.approx(np.sin(angle), abs=1e-3)
    missing = torch.cat([bags, torch.zeros(2, 1, 6)], dim=1)
    assert torch.allclose(span_distances(points, missing), found, atol=1e-5)
    inside = (bags[0] * torch.tensor([[2.0], [-1.0]])).sum(dim=0, keepdim=True)
    assert span_distances(inside, bags)[0, 0].item() == pytest.approx(0.0, abs=0.02)


def test_the_gradient_is_reversed() -> None:
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = GradientReversal.apply(x)
    assert torch.equal(y, x)
    (y * torch.tensor([3.0, 4.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [-3.0, -4.0]


def test_instances_hear_valid_ones_by_similarity_and_padding_weighs_nothing() -> None:
    torch.manual_seed(0)
    bag = GraphBag(4)
    instances = torch.randn(1, 3, 4)
    valid = torch.tensor([[True, True, False]])
    heard, weights = bag(instances, valid)
    x = instances[0, :2].numpy()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    edges = np.exp(unit @ unit.T)
    edges /= edges.sum(axis=1, keepdims=True)
    linear = bag.convolve
    expected = np.maximum(
        edges @ x @ linear.weight.detach().numpy().T + linear.bias.detach().numpy(), 0.0
    )
    assert heard[0, :2].detach().numpy() == pytest.approx(expected, abs=1e-5)
    assert weights[0, 2] == 0
    assert weights.sum().item() == pytest.approx(1.0)


def test_every_loss_is_that_of_plain_loops() -> None:
    torch.manual_seed(1)
    model = APIVR(DIMS, num_outputs=3, width=8, bags=["video"]).eval()
    features = {"image": torch.randn(4, 5), "video": torch.randn(4, 3, 7)}
    present = torch.tensor([[True, True], [True, True], [True, True], [False, True]])
    labels = torch.tensor([0, 1, 0, 2])
    out = model(features, present, labels=labels)
    assert model.head is not None
    cls = adversarial = 0.0
    for i, m in enumerate(DIMS):
        x = model.head(out.z[m]).detach().numpy()
        a = model.tell_apart(out.z[m]).detach().numpy()
        for b in range(4):
            if present[b, i]:
                cls += np.log(np.exp(x[b]).sum()) - x[b, labels[b]]
                adversarial += np.log(np.exp(a[b]).sum()) - a[b, i]
    assert out.losses["cls"].item() == pytest.approx(cls / 4, rel=1e-4)
    assert out.losses["adversarial"].item() == pytest.approx(adversarial / 4, rel=1e-4)
    instances, _ = model.graph["video"](
        model.embed["video"](features["video"]), torch.ones(4, 3, dtype=torch.bool)
    )
    d = span_distances(out.z["image"], instances).detach().numpy()
    hinges = [
        np.mean([max(0.0, 0.2 + d[i, i] - d[i, j]) for j in range(4) if labels[j] != labels[i]])
        for i in range(3)
    ]
    assert out.losses["triplet"].item() == pytest.approx(np.mean(hinges), rel=1e-3)
    assert "cls" not in model(features).losses
    with pytest.raises(ValueError, match="bags: must be some of image, video"):
        APIVR(DIMS, bags=["sound"])


def test_with_three_modalities_the_triplet_adds_every_ordered_pair() -> None:
    torch.manual_seed(2)
    model = APIVR({**DIMS, "audio": 3}, num_outputs=3, width=8).eval()
    features = {m: torch.randn(5, 2, d) for m, d in model.dims.items()}
    present = torch.ones(5, 3, dtype=torch.bool)
    present[0, 1] = present[1, 2] = False
    labels = torch.tensor([0, 1, 0, 2, 1])
    out = model(features, present, labels=labels)
    total = 0.0
    for b, bag in enumerate(model.modalities):
        rows, valid = features[bag], present[:, b, None].expand(-1, 2)
        rows = rows.masked_fill(~valid[:, :, None], 0.0)
        instances, _ = model.graph[bag](model.embed[bag](rows), valid)
        for p, point in enumerate(model.modalities):
            if point != bag:
                d = span_distances(out.z[point], instances)
                anchors = present[:, p] & present[:, b]
                negatives = other_samples(anchors, present[:, b], labels)
                total += distance_triplet(d, negatives, margin=0.2).item()
    assert out.losses["triplet"].item() == pytest.approx(total, rel=1e-4)
