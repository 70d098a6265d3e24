"""DLF: one shared encoder, the leading modality, and each loss a second time."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scfae.fusion import build_fusion
from scfae.fusion.attention import Attention
from scfae.fusion.causal import CausalEncoder, ResidualMLP
from scfae.fusion.dlf import DLF

DIMS = {"t": 8, "a": 6, "v": 10}


def make(**options: object) -> DLF:
    torch.manual_seed(0)
    small = {"width": 8, "num_heads": 2, "num_layers": 1, "num_last_layers": 1}
    model = build_fusion("dlf", DIMS, num_outputs=3, **small, **options)
    assert isinstance(model, DLF)
    return model.eval()


def test_reconstruction_and_orthogonality_are_means_over_rows() -> None:
    model = make()
    features = {m: torch.randn(1, 2, d) for m, d in DIMS.items()}
    losses = model(features).losses
    recon = specific = overlap = 0.0
    every = torch.ones(1, 2, dtype=torch.bool)
    for m in DIMS:
        x = model.convolve[m](features[m].transpose(1, 2)).transpose(1, 2)
        s, c = model.specific[m](x, every), model.shared(x, every)
        rebuilt = model.rebuild[m](torch.cat([s, c], dim=2))
        recon += F.mse_loss(rebuilt, x).item()
        specific += F.mse_loss(model.specific[m](rebuilt, every), s).item()
        overlap += F.cosine_similarity(s, c, dim=2).clamp(min=0).mean().item()
    assert losses["recon"].item() == pytest.approx(recon, abs=1e-5)
    assert losses["specific"].item() == pytest.approx(specific, abs=1e-5)
    assert losses["orthogonality"].item() == pytest.approx(overlap, abs=1e-5)


def test_the_triplet_is_a_hinge_on_cosines() -> None:
    model = make()
    with torch.no_grad():
        model.align.weight.copy_(torch.eye(8))
        model.align.bias.zero_()
    features = {m: torch.randn(4, d) for m, d in DIMS.items()}
    present = torch.tensor([[True, False, False]] * 4)
    labels = torch.tensor([0.0, 0.0, 2.0, 2.0])
    model.own_heads = torch.nn.ModuleList()
    every = torch.ones(4, 1, dtype=torch.bool)
    x = model.convolve["t"](features["t"][:, :, None]).transpose(1, 2)
    unit = F.normalize(model.shared(x, every)[:, 0], dim=1)
    partner = [1, 0, 3, 2]
    total = 0.0
    for i in range(4):
        for k in range(4):
            if labels[k] != labels[i]:
                hinge = 0.15 * 2.0 - unit[i] @ unit[partner[i]] + unit[i] @ unit[k]
                total += max(0.0, hinge.item())
    loss = model(features, present, labels=labels).losses["triplet"]
    assert loss.item() == pytest.approx(total / 8, abs=1e-5)


def test_own_heads_are_trained_on_what_is_there() -> None:
    model = make(leading="a")
    features = {m: torch.randn(3, d) for m, d in DIMS.items()}
    present = torch.tensor([[True, True, False], [True, False, True], [False, True, True]])
    labels = torch.tensor([0, 1, 2])
    out = model(features, present, labels=labels)
    t, a, v, _ = model.own_heads
    lead = F.cross_entropy(a(out.z["a"]), labels, reduction="none")[[0, 2]].sum() / 3
    assert torch.allclose(out.losses["task_leading"], lead)
    # Samples 0 and 2 have the leading modality: 0 has t beside it, 2 has v.
    others = F.cross_entropy(t(out.z["t"]), labels, reduction="none")[0]
    others = others + F.cross_entropy(v(out.z["v"]), labels, reduction="none")[2]
    assert torch.allclose(out.losses["task_others"], others / 3)
    heard: list[Tensor] = []
    model.own_heads[-1].register_forward_hook(lambda _, x, __: heard.append(x[0]))
    shared = model(features, present, labels=labels).losses["task_shared"]
    c = heard[0]
    assert (c[0, 16:] == 0).all()  # v is absent from the first
    own_head = model.own_heads[-1]
    assert isinstance(own_head, nn.Sequential)
    residual = own_head[0]
    assert isinstance(residual, ResidualMLP)
    refined = c + residual.mlp[2](torch.relu(residual.mlp[0](c)))
    own = F.cross_entropy(own_head[1](refined), labels)
    assert shared.item() == pytest.approx(own.item(), abs=1e-6)
    assert set(model(features).losses) == {"recon", "specific", "orthogonality"}


def test_it_is_as_wide_and_has_as_many_heads_as_released() -> None:
    model = build_fusion("dlf", DIMS)
    heads = [part for part in model.modules() if isinstance(part, Attention)]
    assert {(part.query.in_features, part.num_heads) for part in heads} == {(50, 10)}
    with pytest.raises(ValueError, match="width: must be even and a multiple of 10"):
        build_fusion("dlf", DIMS, width=52)


def test_what_is_rebuilt_without_error_is_encoded_as_what_it_was_made_of() -> None:
    class Perfect(nn.Module):
        answer: Tensor

        def forward(self, _: Tensor) -> Tensor:
            return self.answer

    model = make()
    for m in DIMS:
        perfect = Perfect()
        model.rebuild[m] = perfect
        model.convolve[m].register_forward_hook(
            lambda _, __, y, p=perfect: setattr(p, "answer", y.transpose(1, 2))
        )
    losses = model({m: torch.randn(3, 2, d) for m, d in DIMS.items()}).losses
    assert losses["recon"].item() == 0.0
    assert losses["specific"].item() == pytest.approx(0.0, abs=1e-9)


def test_a_transformer_scales_what_enters_codes_time_and_ends_with_a_norm() -> None:
    encoder = CausalEncoder(8, 2, 1, 0.0)
    encoder.layers = nn.ModuleList()
    x = torch.randn(2, 3, 8)
    angles = torch.arange(3.0)[:, None] * 10_000.0 ** (-torch.arange(4.0) / 4)
    code = torch.cat([angles.sin(), angles.cos()], dim=1)
    out = encoder(x, torch.ones(2, 3, dtype=torch.bool))
    assert torch.allclose(out, F.layer_norm(8**0.5 * x + code, (8,)), atol=1e-6)


def test_attention_is_causal() -> None:
    model = make()
    every = torch.ones(1, 3, dtype=torch.bool)
    x = torch.randn(1, 3, 8)
    changed = x.clone()
    changed[:, 2] += 1.0
    first, second = model.shared(x, every), model.shared(changed, every)
    assert torch.equal(first[:, :2], second[:, :2])
    assert not torch.equal(first[:, 2], second[:, 2])
