"""Mean 0 and one loudness over what training samples have, and nothing else."""

import math

import numpy as np
import torch
from torch import Tensor

from scfae.fusion import InputNorm

DIMS = {"a": 3, "v": 2}


def batches() -> list[tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]]:
    torch.manual_seed(0)
    found = []
    for size in (5, 4):
        features = {"a": 5 * torch.randn(size, 6, 3) + 2, "v": torch.randn(size, 2)}
        lengths = {"a": torch.randint(0, 7, (size,))}
        present = torch.rand(size, 2) < 0.7
        features["v"][~present[:, 1]] = math.nan
        found.append((features, present, lengths))
    return found


def test_it_is_numpys_mean_and_deviation_of_what_is_there() -> None:
    norm = InputNorm(DIMS, rms=4.0)
    norm.fit(batches())
    means = [
        features["a"][b, : lengths["a"][b]].mean(dim=0).numpy()
        for features, present, lengths in batches()
        for b in range(len(present))
        if present[b, 0] and lengths["a"][b] > 0
    ]
    pooled = np.array(means, dtype=np.float64)
    np.testing.assert_allclose(norm.get_buffer("mean_a"), pooled.mean(axis=0), rtol=1e-5)
    scale = 4.0 / math.sqrt(pooled.var(axis=0).mean())
    np.testing.assert_allclose(norm.get_buffer("scale_a"), scale, rtol=1e-5)
    rows = torch.randn(2, 6, 3)
    expected = (rows - torch.tensor(pooled.mean(axis=0))) * scale
    torch.testing.assert_close(norm({"a": rows})["a"], expected.float(), rtol=1e-4, atol=1e-4)


def test_it_goes_with_the_state() -> None:
    first, second = InputNorm(DIMS), InputNorm(DIMS)
    first.fit(batches())
    second.load_state_dict(first.state_dict())
    rows = torch.randn(4, 2)
    assert torch.equal(first({"v": rows})["v"], second({"v": rows})["v"])
    assert not torch.equal(first({"v": rows})["v"], rows)


def test_a_constant_is_only_shifted_and_what_nobody_has_left() -> None:
    norm = InputNorm(DIMS)
    constant = {"a": torch.full((4, 3), 7.0), "v": torch.randn(4, 2)}
    norm.fit([(constant, torch.tensor([[True, False]]).expand(4, 2), None)])
    assert (norm(constant)["a"] == 0).all()
    assert torch.equal(norm(constant)["v"], constant["v"])
