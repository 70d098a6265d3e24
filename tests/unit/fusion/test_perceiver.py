"""Perceiver: latents read what is there; positions run over a sample's own length."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from scfae.fusion.perceiver import Perceiver, position_code


def test_the_position_runs_from_minus_one_to_one_over_the_samples_own_length() -> None:
    valid = torch.tensor([[True, True, True, False], [True, False, False, False]])
    code = position_code(valid, num_bands=2, max_frequency=10.0)
    assert code.shape == (2, 4, 5)
    assert code[0, :3, 4].tolist() == [-1.0, 0.0, 1.0]
    assert code[1, 0, 4] == -1.0
    angles = np.array([1.0, 5.0]) * math.pi * -1.0
    expected = [*np.sin(angles), *np.cos(angles), -1.0]
    assert code[0, 0].numpy() == pytest.approx(np.array(expected), abs=1e-6)


def test_a_frequency_that_is_none_is_named() -> None:
    for wrong in (0.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="max_frequency: must be positive"):
            Perceiver({"a": 6}, max_frequency=wrong)


def test_the_latents_do_not_see_the_order_of_modalities_tokens() -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {
        "width": 16,
        "num_latents": 4,
        "depth": 2,
        "num_heads": 2,
        "head_width": 8,
    }
    one = Perceiver({"a": 6, "b": 6}, **options).eval()
    two = Perceiver({"b": 6, "a": 6}, **options).eval()
    two.load_state_dict(one.state_dict())
    features = {m: torch.randn(3, 4, 6) for m in "ab"}
    assert torch.allclose(one(features).fused, two(features).fused, atol=1e-5)


def test_the_parameters_are_those_of_the_formula() -> None:
    model = Perceiver({"a": 6, "b": 10}, width=32, num_latents=5, depth=3)
    w, h = 32, 64
    feed_forward = 2 * w + (w * 8 * w + 8 * w) + (4 * w * w + w)
    read = 4 * w + (w * h + h) + w * h + (w * h + h) + (h * w + w)
    inner = 8 * h
    think = 2 * w + (w * inner + inner) * 2 + w * inner + (inner * w + w)
    enter = sum((d + 13) * w + w + w for d in (6, 10))
    total = 3 * (read + think + 2 * feed_forward) + 5 * w + enter + 2 * w
    assert sum(p.numel() for p in model.parameters()) == total
