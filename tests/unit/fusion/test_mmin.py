"""MMIN: the cascade, what is imagined, and what the second stage starts from."""

import pytest
import torch
from torch import nn

from scfae.fusion import build_fusion, fusion_info
from scfae.fusion.hiding import hide
from scfae.fusion.mmin import MMIN, ResidualCascade

DIMS = {"a": 6, "v": 10}


def make(**options: object) -> MMIN:
    torch.manual_seed(0)
    small = {"width": 8, "layers": (7, 5), "num_blocks": 2}
    model = build_fusion("mmin", DIMS, num_outputs=3, **small, **options)
    assert isinstance(model, MMIN)
    return model


def test_each_block_reads_the_input_and_all_that_was_made() -> None:
    torch.manual_seed(0)
    cascade = ResidualCascade(6, (4, 3), 3)
    e = torch.randn(2, 6)
    x, y, latents = e, torch.zeros(2, 6), []
    for i in range(3):
        x = x + y
        latents.append(cascade.encoders[i](x))
        y = cascade.decoders[i](latents[i])
    rebuilt, latent = cascade(e)
    assert torch.equal(rebuilt, cascade.transition(x + y))
    assert torch.equal(latent, torch.cat(latents, dim=1))
    assert latent.shape == (2, 9)


def test_a_published_block_has_its_widths() -> None:
    model = build_fusion("mmin", {"a": 512, "t": 1024, "v": 1024}, num_outputs=1)
    assert isinstance(model, MMIN)
    shapes = [tuple(p.shape) for p in model.forward_cascade.encoders[0].parameters() if p.ndim > 1]
    assert shapes == [(256, 384), (128, 256), (64, 128)]
    assert len(model.forward_cascade.encoders) == 5
    assert model.classifier[0].in_features == 320


def test_both_stages_are_as_long_and_drop_out_as_in_the_port() -> None:
    recipe = fusion_info("mmin").recipe
    # niter 20 and niter_decay 80, of the teacher and of the imagination.
    assert recipe.stage_epochs == (100, 100)
    assert recipe.schedule == "cosine"
    model = make()
    for name, part in model.named_modules():
        if isinstance(part, nn.Dropout):
            assert part.p == (0.3 if name.startswith("teacher") else 0.5), name


def test_the_second_stage_starts_from_the_teacher_once() -> None:
    model = make()
    model.begin_stage(1)
    for student, teacher in zip(
        model.encoders.parameters(), model.teacher.parameters(), strict=True
    ):
        assert torch.equal(student, teacher)
        assert student.requires_grad
        assert not teacher.requires_grad
    assert not model.teacher.training
    with torch.no_grad():
        for parameter in model.encoders.parameters():
            parameter.add_(1.0)
    other = make()
    other.load_state_dict(model.state_dict())
    assert other.stage == 1
    for student, loaded in zip(
        model.encoders.parameters(), other.encoders.parameters(), strict=True
    ):
        assert torch.equal(student, loaded)


def test_imagination_is_compared_where_something_was_hidden() -> None:
    model = make(hidden_share=0.9, dropout=0.0)
    model.begin_stage(1)
    features = {m: torch.randn(4, d) for m, d in DIMS.items()}
    present = torch.tensor([[True, True], [True, True], [True, False], [False, False]])
    torch.manual_seed(3)
    out = model(features, present)
    torch.manual_seed(3)
    seen = hide(present, 0.9)
    assert (present & ~seen).any()
    total = cycle = 0.0
    for b in range(3):
        e = torch.cat(
            [
                model.encoders[m](features[m][b : b + 1] * bool(seen[b, i]))
                for i, m in enumerate(DIMS)
            ],
            dim=1,
        )
        imagined, _ = model.forward_cascade(e)
        back, _ = model.backward_cascade(imagined)
        cycle += (back - e).square().mean().item()
        hidden = present[b] & ~seen[b]
        if not hidden.any():
            continue
        truth = torch.cat(
            [
                model.teacher[m](features[m][b : b + 1] * bool(hidden[i]))
                for i, m in enumerate(DIMS)
            ],
            dim=1,
        )
        total += (imagined - truth).square().mean().item()
    assert out.losses["imagination"].item() == pytest.approx(total / 3, abs=1e-5)
    assert out.losses["cycle"].item() == pytest.approx(cycle / 3, abs=1e-5)
    assert model.eval()(features, present).losses["imagination"].item() == 0.0
