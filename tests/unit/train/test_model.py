"""From a config to a model and its weighted losses."""

from pathlib import Path
from typing import Any

import pytest
import torch

from scfae.fusion import SCFAE, CrossAttention
from scfae.store.errors import ConfigError, TaskError
from scfae.train.model import apply_model, build_model, check_loss_weights, weighted_losses
from scfae.train.standardise import Standardised

from .small_runs import make_config

DIMS = {"video": 12, "audio": 7}


def build(**settings: Any) -> torch.nn.Module:
    return build_model(make_config("store", Path("run"), **settings), DIMS, 3)


def test_options_reach_the_fusion_model() -> None:
    model = build(options={"expansion": 3, "shared_ratio": 0.25, "order": ["audio", "video"]})
    assert isinstance(model, Standardised)
    fusion = model.model
    assert isinstance(fusion, SCFAE)
    assert fusion.expand["video"].out_features == 36
    assert fusion.boundary == {"video": 9, "audio": 5}
    assert fusion.next == {"audio": "video", "video": "audio"}
    assert fusion.num_outputs == 3
    assert isinstance(build(standardise=False), SCFAE)


def test_the_loudness_of_inputs_is_the_fusion_models_own_unless_it_is_set() -> None:
    auto, concat, three = build(), build(fusion="concat"), build(input_rms=3)
    assert [m.rms for m in (auto, concat, three)] == [SCFAE.input_rms, 1.0, 3.0]


def test_a_method_without_poolings_takes_the_default_only() -> None:
    fusion = build(fusion="cross_attention", options={"width": 16}, standardise=False)
    assert isinstance(fusion, CrossAttention)
    with pytest.raises(ConfigError, match="pooling = 'attention'"):
        build(fusion="cross_attention", pooling="attention")
    with pytest.raises(ConfigError, match="takes the mean, not 'attention'"):
        build(options={"time": "per_step"}, pooling="attention")


@pytest.mark.parametrize(
    "options", [{"expansion": -1}, {"shared_ratio": 2}, {"post_scope": "x"}, {"order": ["video"]}]
)
def test_an_option_out_of_range_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        build(options=options)


def test_losses_are_weighed_by_name_and_one_without_weight_counts_whole() -> None:
    losses = {"recon": torch.tensor(2.0), "other": torch.tensor(3.0)}
    assert weighted_losses(losses, {"recon": 0.5}) == {"recon": 1.0, "other": 3.0}


def test_weights_of_losses_that_are_not_there_are_refused() -> None:
    config = make_config("store", Path("run"), fusion="concat", options={"hidden": 8})
    check_loss_weights(build_model(config, DIMS, 3), config)  # recon = 1 is the default
    asked = make_config("store", Path("run"), fusion="concat", loss_weights={"recon": 2.0})
    with pytest.raises(ConfigError, match="concat has no loss recon; its losses are: none"):
        check_loss_weights(build_model(asked, DIMS, 3), asked)


def test_rows_that_do_not_fit_are_a_typed_error() -> None:
    model = build(standardise=False)
    lengths = {m: torch.tensor([2]) for m in DIMS}
    rows = {m: torch.zeros(1, 2, d) for m, d in DIMS.items()}
    output = apply_model(model, rows, torch.ones(1, 2, dtype=torch.bool), lengths)
    assert output.logits is not None
    assert output.logits.shape == (1, 3)
    assert set(output.losses) == {"recon"}
    with pytest.raises(TaskError, match=r"features\['audio'\]: must be"):
        apply_model(model, rows | {"audio": torch.zeros(1, 2, 9)}, torch.ones(1, 2) > 0, lengths)
