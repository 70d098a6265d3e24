"""Segment means, frozen latents, and the error of what was hidden."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from scfae.fusion import build_fusion
from scfae.fusion.attention import embed
from scfae.fusion.cross_encoder import CrossEncoder
from scfae.fusion.cross_modal import CrossModalBody
from scfae.fusion.hiding import hide
from scfae.fusion.imagining import ImaginingFusion
from scfae.fusion.imder import IMDer
from scfae.fusion.segments import segment_means

DIMS = {"a": 6, "v": 10, "t": 8}
SMALL: dict[str, dict[str, object]] = {
    "imder": {"channels": (8, 16), "sampling_steps": 2},
    "dicmor": {"num_flow_steps": 2, "flow_hidden": 8},
}


def make(name: str, **options: object) -> ImaginingFusion:
    torch.manual_seed(0)
    shared = {"width": 8, "num_segments": 4, "num_heads": 2, "num_layers": 1}
    options |= {"num_refiner_blocks": 1, "dropout": 0.0}
    model = build_fusion(name, DIMS, num_outputs=3, **shared, **SMALL[name], **options)
    assert isinstance(model, ImaginingFusion)
    return model


@pytest.mark.parametrize("length", [1, 3, 4, 7, 9])
def test_segments_are_adaptive_pooling_of_each_sample(length: int) -> None:
    rows = torch.randn(2, 9, 3)
    valid = torch.arange(9) < torch.tensor([[length], [0]])
    rows = rows.masked_fill(~valid[:, :, None], 0.0)
    out = segment_means(rows, valid, 4)
    expected = F.adaptive_avg_pool1d(rows[:1, :length].transpose(1, 2), 4).transpose(1, 2)
    assert torch.allclose(out[:1], expected, atol=1e-6)
    assert torch.equal(out[1], torch.zeros(4, 3))


@pytest.mark.parametrize("name", ["imder", "dicmor"])
def test_the_error_is_that_of_what_was_hidden(name: str) -> None:
    model = make(name, hidden_share=0.6)
    model.begin_stage(1)
    assert not any(p.requires_grad for p in model.convolve.parameters())
    features = {m: torch.randn(5, 4, d) for m, d in DIMS.items()}
    present = torch.rand(5, 3, generator=torch.Generator().manual_seed(4)) < 0.8
    torch.manual_seed(3)
    out = model(features, present)
    torch.manual_seed(3)
    hidden = present & ~hide(present, 0.6)
    assert (hidden.sum(dim=1) > 1).any()
    seen = {}
    handles = [
        model.refine[m].register_forward_hook(lambda _, __, y, m=m: seen.update({m: y}))
        for m in DIMS
    ]
    torch.manual_seed(3)
    model(features, present)
    for handle in handles:
        handle.remove()
    total = 0.0
    for i, m in enumerate(DIMS):
        truth = model.convolve[m](features[m].transpose(1, 2)).transpose(1, 2)
        truth = F.layer_norm(truth, (8,)).transpose(1, 2)
        error = (seen[m] - truth).square().mean(dim=(1, 2))
        if name == "dicmor":  # its code takes the mean over what is missing, IMDer's the sum
            error = error / hidden.sum(dim=1)
        total += error[hidden[:, i]].sum().item()
    count = int(present.any(dim=1).sum())
    assert out.losses["recon"].item() == pytest.approx(total / count, rel=1e-4)
    assert model.eval()(features, present).losses["recon"].item() == 0.0


@pytest.mark.parametrize("name", ["imder", "dicmor"])
def test_what_is_missing_is_imagined_from_what_is_there(name: str) -> None:
    model = make(name)
    model.begin_stage(1)
    model.eval()
    features = {m: torch.randn(2, 4, d) for m, d in DIMS.items()}
    present = torch.tensor([[True, False, True]] * 2)
    first = model(features, present).recon["v"]
    second = model(features | {"a": -features["a"]}, present).recon["v"]
    assert not torch.allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("name", ["imder", "dicmor"])
def test_one_that_is_seen_is_taken_as_it_is_and_several_through_a_convolution(name: str) -> None:
    model = make(name)
    merge = model.make_merge(16)
    first, second = torch.randn(2, 2, 8, 4)
    second[0] = 0.0
    others = torch.cat([first, second], dim=1)  # of v: a and t
    out = model.merged(merge, "v", others, torch.tensor([[True, True, False], [True, False, True]]))
    assert torch.equal(out[0], first[0])
    assert torch.equal(out[1], merge["v"](others)[1])


def test_a_lone_other_conditions_imder_itself() -> None:
    model = make("imder")
    assert isinstance(model, IMDer)
    latents = {m: torch.randn(1, 8, 4) for m in ("a", "t")} | {"v": torch.zeros(1, 8, 4)}
    only = latents | {"t": torch.zeros(1, 8, 4)}
    alone = model._condition("v", only, torch.tensor([[True, False, False]]))
    assert torch.equal(alone, latents["a"])
    both = model._condition("v", latents, torch.tensor([[True, False, True]]))
    side_by_side = torch.cat([latents["a"], latents["t"]], dim=1)
    assert torch.equal(both, model.condition["v"](side_by_side))


def test_each_transformer_of_the_body_scales_what_enters_and_ends_with_a_norm() -> None:
    body = CrossModalBody(("a", "v"), 8, num_heads=2, num_layers=1)
    for name, encoder in body.cross.items():
        assert isinstance(encoder, CrossEncoder)
        body.cross[name].layers = encoder.layers[:0]
    for name in body.own:
        body.own[name] = nn.ModuleList()
    streams = {m: 0.1 * torch.randn(2, 4, 8) for m in ("a", "v")}
    _, last = body(streams, {m: torch.ones(2, 4, dtype=torch.bool) for m in streams})
    for m, x in streams.items():
        heard = F.layer_norm(embed(x), (8,))
        assert torch.allclose(last[m], F.layer_norm(embed(heard), (8,))[:, -1], atol=1e-6)
