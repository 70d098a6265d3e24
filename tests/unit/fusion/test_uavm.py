"""UAVM: one shared stack, nothing meets, and in training one modality is heard."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    shared = 2 * 64 + 30 * 64 + 2 * 64  # norm and positions before its blocks, a norm after them
    assert sum(p.numel() for p in model.parameters()) == 9 * block + entered + shared
    same = UAVM({"audio": 64, "video": 64}, width=64)
    assert not any("enter" in key and p.ndim == 2 for key, p in same.named_parameters())


def by_torch(w: dict[str, Tensor], name: str, tokens: Tensor) -> Tensor:
    """Run a block a second time, as torch's own encoder layer."""
    layer = nn.TransformerEncoderLayer(
        16, 4, 64, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    names = {
        "self_attn.in_proj_weight": "qkv.weight",
        "self_attn.out_proj.weight": "out.weight",
        "self_attn.out_proj.bias": "out.bias",
    }
    for kind in ("weight", "bias"):
        names |= {
            f"norm1.{kind}": f"norm_attention.{kind}",
            f"norm2.{kind}": f"norm_mlp.{kind}",
            f"linear1.{kind}": f"mlp.0.{kind}",
            f"linear2.{kind}": f"mlp.2.{kind}",
        }
    state = {theirs: w[f"{name}.{ours}"] for theirs, ours in names.items()}
    layer.load_state_dict(state | {"self_attn.in_proj_bias": torch.zeros(48)})
    refined: Tensor = layer(tokens)
    return refined


def test_each_stack_begins_with_a_norm_and_positions_and_the_shared_one_does_too() -> None:
    torch.manual_seed(0)
    model = UAVM(DIMS, **SMALL)
    for parameter in model.parameters():  # no norm as it begins, no position small
        nn.init.normal_(parameter, std=0.3)
    w = {name: p.detach() for name, p in model.named_parameters()}

    def norm(name: str, x: Tensor) -> Tensor:
        weight = w[f"{name}.weight"]
        return F.layer_norm(x, weight.shape, weight, w[f"{name}.bias"], eps=1e-6)

    rows = torch.randn(4, 5, 6)
    tokens = F.linear(norm("enter.audio.0", rows), w["enter.audio.1.weight"])
    tokens = tokens + w["enter.audio.1.bias"] + w["position.audio"][:5]
    tokens = by_torch(w, "own.audio.0", tokens)
    tokens = norm("shared_enter", tokens) + w["shared_position"][:5]
    for i in range(2):
        tokens = by_torch(w, f"shared.{i}", tokens)
    only = torch.tensor([[True, False]]).expand(4, 2)
    out = model({"audio": rows, "video": torch.zeros(4, 10)}, only)
    torch.testing.assert_close(out.fused, norm("norm", tokens.mean(dim=1)), rtol=1e-4, atol=1e-5)


def test_a_longer_sequence_than_there_are_positions_is_refused() -> None:
    model = UAVM(DIMS, **SMALL)
    with pytest.raises(ValueError, match=r"features\['audio'\]: 9 steps, max_steps=8"):
        model({"audio": torch.randn(2, 9, 6), "video": torch.randn(2, 10)})
