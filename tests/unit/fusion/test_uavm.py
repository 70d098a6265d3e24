"""UAVM: one shared stack, nothing meets, and in training one modality is heard."""

from typing import Any

import pytest
import torch

from scfae.fusion.uavm import UAVM

DIMS = {"audio": 6, "video": 10}
SMALL: dict[str, Any] = {"width": 16, "num_own": 1, "num_shared": 2, "max_steps": 8}


def test_the_logits_are_the_mean_of_those_of_each_modality_alone() -> None:
    model = UAVM(DIMS, num_outputs=3, **SMALL).eval()
    features = {m: torch.randn(4, 5, d) for m, d in DIMS.items()}
    audio = model(features, torch.tensor([[True, False]]).expand(4, 2)).logits
    video = model(features, torch.tensor([[False, True]]).expand(4, 2)).logits
    assert torch.allclose(model(features).logits, (audio + video) / 2, atol=1e-6)


def test_in_training_each_sample_hears_one_of_its_modalities() -> None:
    torch.manual_seed(0)
    model = UAVM(DIMS, **SMALL).train()
    features = {m: torch.randn(400, 2, d) for m, d in DIMS.items()}
    out = model(features)
    hears_audio = (out.fused == out.z["audio"]).all(dim=1)
    hears_video = (out.fused == out.z["video"]).all(dim=1)
    assert bool((hears_audio ^ hears_video).all())
    assert 150 < int(hears_audio.sum()) < 250
    only_video = torch.tensor([[False, True]]).expand(400, 2)
    out = model(features, only_video)
    assert torch.equal(out.fused, out.z["video"])


def test_the_shared_stack_is_one_and_the_size_is_that_of_the_formula() -> None:
    model = UAVM({"audio": 768, "video": 1024}, width=64, max_steps=30)
    block = 12 * 64**2 + 64 + 5 * 64 + 4 * 64  # and biases: out, MLP, two norms
    entered = sum(2 * d + d * 64 + 64 + 30 * 64 for d in (768, 1024))
    assert sum(p.numel() for p in model.parameters()) == 9 * block + entered + 2 * 64
    same = UAVM({"audio": 64, "video": 64}, width=64)
    assert not any("enter" in key and p.ndim == 2 for key, p in same.named_parameters())


def test_a_longer_sequence_than_there_are_positions_is_refused() -> None:
    model = UAVM(DIMS, **SMALL)
    with pytest.raises(ValueError, match=r"features\['audio'\]: 9 steps, max_steps=8"):
        model({"audio": torch.randn(2, 9, 6), "video": torch.randn(2, 10)})
