"""What a method says of itself is what it does; stages are part of its state."""

from typing import ClassVar

import pytest
import torch

from scfae.fusion import (
    Concat,
    FusionInfo,
    FusionOutput,
    build_fusion,
    fusion_info,
    list_fusions,
)

DIMS = {"audio": 4, "video": 6}


class TwoStages(Concat):
    num_stages: ClassVar[int] = 2

    def begin_stage(self, stage: int) -> None:
        super().begin_stage(stage)
        self.mlp.requires_grad_(stage == 1)


def test_names_are_unique_and_recipes_have_an_epoch_count_for_every_stage() -> None:
    infos = list_fusions()
    assert len({info.name for info in infos}) == len(infos)
    for info in infos:
        assert len(info.recipe.stage_epochs) == info.method.num_stages, info.name
        assert ("two_stages" in info.needs) == (info.method.num_stages > 1), info.name


def test_what_is_ours_is_no_authors_method_under_another_name() -> None:
    rows = {info.paper_row.lower() for info in list_fusions()}
    for info in list_fusions():
        assert info.is_ours == info.source.startswith("ours"), info.name
        if info.is_ours:
            assert info.faithfulness == "substitute", info.name
            assert info.name.replace("_", "-") not in rows, info.name


def test_a_port_says_whose_code_it_is_after() -> None:
    for info in list_fusions():
        is_ported = any(word in info.source for word in ("port", "third party"))
        assert (info.faithfulness == "port") == is_ported, info.name
    ports = {info.name for info in list_fusions() if info.faithfulness == "port"}
    assert ports == {"euar", "mctn", "mmin", "perceiver"}


def test_options_that_a_class_passes_on_are_its_own() -> None:
    defaults = fusion_info("imder").defaults
    assert (defaults["num_segments"], defaults["num_layers"]) == (16, 4)
    assert fusion_info("dicmor").defaults["num_segments"] == 8
    model = build_fusion("dicmor", DIMS, num_layers=1, num_refiner_blocks=1, num_flow_steps=1)
    names = [name for name, _ in model.named_modules()]
    assert "body.cross.audio->video.layers.0" in names
    assert "body.cross.audio->video.layers.1" not in names
    with pytest.raises(ValueError, match="refiners: dicmor has no such option"):
        build_fusion("dicmor", DIMS, refiners=1)


def test_too_few_or_too_many_modalities_are_refused() -> None:
    info = FusionInfo("pair", Concat, "", "", "text", "", min_modalities=2, max_modalities=2)
    info.check_modalities(2)
    with pytest.raises(ValueError, match="pair needs at least 2 modalities, not 1"):
        info.check_modalities(1)
    with pytest.raises(ValueError, match="pair takes at most 2 modalities, not 3"):
        info.check_modalities(3)


def test_a_stage_is_restored_with_the_state() -> None:
    first, second = TwoStages(DIMS, num_outputs=2), TwoStages(DIMS, num_outputs=2)
    first.begin_stage(1)
    second.begin_stage(0)
    second.load_state_dict(first.state_dict())
    assert second.stage == 1
    assert all(p.requires_grad for p in second.parameters())
    with pytest.raises(ValueError, match="stage: must be from 0 to 1, not 2"):
        first.begin_stage(2)
    with pytest.raises(ValueError, match="stage: must be from 0 to 0, not 1"):
        build_fusion("concat", DIMS).begin_stage(1)


def test_labels_and_groups_fit_the_batch_and_own_logits_are_kept() -> None:
    class OwnLogits(Concat):
        def fuse(self, inputs):  # type: ignore[no-untyped-def]
            assert inputs.labels is not None
            assert inputs.groups is not None
            return FusionOutput(fused=torch.zeros(3, 256), z={}, logits=torch.ones(3, 2))

    model = OwnLogits(DIMS, num_outputs=2)
    features = {m: torch.randn(3, d) for m, d in DIMS.items()}
    labels, groups = torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    out = model(features, labels=labels, groups=groups)
    assert out.logits is not None
    assert (out.logits == 1).all()
    with pytest.raises(ValueError, match=r"labels: must be \[3, ...\], not \[2\]"):
        model(features, labels=labels[:2])
