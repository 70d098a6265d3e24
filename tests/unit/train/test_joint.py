"""Encoders trained with the fusion model: what changes, what does not, and that a run goes on."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from scfae.store import FeatureStore
from scfae.store.errors import ConfigError, ExportError, TaskError
from scfae.train.config import RunConfig
from scfae.train.evaluation import evaluate
from scfae.train.export import export_run
from scfae.train.joint import Joint, parameter_groups
from scfae.train.loading import load_run
from scfae.train.loop import train
from scfae.train.model import build_model, fusion_of
from scfae.train.opening import rehearse

from .small_runs import PowerCut, assert_same_run, failing_at, make_config
from .window_store import DIMS, ENCODERS, SETTINGS, WIDTHS, window_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return window_store(tmp_path_factory.mktemp("windows") / "store")


def config_of(store: FeatureStore, run: Path, **settings: Any) -> RunConfig:
    return make_config(store.path, run, **SETTINGS | settings)


def encoders(**video: Any) -> dict[str, dict[str, Any]]:
    return {"video": ENCODERS["video"] | video, "audio": ENCODERS["audio"]}


def of_encoder(state: dict[str, Tensor], modality: str) -> dict[str, Tensor]:
    prefix = f"encoders.{modality}.network."
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def changed(config: RunConfig, modality: str) -> set[str]:
    """Return the tensors of an encoder, statistics too, that training has changed."""
    begin = of_encoder(build_model(config, DIMS, 2).state_dict(), modality)
    end = of_encoder(load_run(config.loop.run, which="last").model.state_dict(), modality)
    assert list(begin) == list(end)
    return {name for name, value in end.items() if not torch.equal(value, begin[name])}


def test_the_fusion_method_reads_what_the_encoders_give(store: FeatureStore) -> None:
    model = build_model(config_of(store, Path("run")), DIMS, 2)
    assert isinstance(model, Joint)
    assert fusion_of(model).dims == WIDTHS
    assert set(dict(model.named_children())) == {"encoders", "model"}


def test_what_learns_changes_and_what_rests_does_not(store: FeatureStore, tmp_path: Path) -> None:
    config = config_of(store, tmp_path / "run", encoders=encoders(train="last:1"))
    train(config)
    video = changed(config, "video")
    assert {name.partition(".")[0] for name in video} == {"layer4"}
    assert any("running_mean" in name for name in video)
    audio = changed(config, "audio")
    begin = of_encoder(build_model(config, DIMS, 2).state_dict(), "audio")
    fixed = {name for name in begin if name.startswith("torchfb.")}
    assert audio == set(begin) - fixed
    found = evaluate(config.loop.run, bootstrap=0)
    assert [one.name for one in found.conditions] == ["video", "audio", "video+audio"]
    assert found.unimodal == {}


def test_a_frozen_encoder_is_as_it_was(store: FeatureStore, tmp_path: Path) -> None:
    config = config_of(store, tmp_path / "run", encoders=encoders(train="frozen"), epochs=1)
    train(config)
    assert changed(config, "video") == set()
    model = build_model(config, DIMS, 2)
    assert isinstance(model, Joint)
    modes = {m: {one.training for one in model.encoders[m].modules()} for m in model.encoders}
    assert modes == {"video": {True, False}, "audio": {True}}  # but for the wrapper itself


@pytest.mark.parametrize("checkpointing", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_that_was_cut_off_ends_as_one_that_was_not(
    store: FeatureStore, tmp_path: Path, checkpointing: bool
) -> None:
    own = {m: one | {"checkpointing": checkpointing, "chunk": 5} for m, one in ENCODERS.items()}
    settings: dict[str, Any] = {"encoders": own, "checkpoint_every_steps": 2}
    settings |= {"ema": 0.9} if checkpointing else {}
    whole = train(config_of(store, tmp_path / "whole", **settings))
    cut = config_of(store, tmp_path / "cut", **settings)
    for step in (1, 4):  # between two checkpoints, and behind one in mid-epoch
        with pytest.raises(PowerCut):
            train(cut, progress=failing_at(step, PowerCut()))
    assert_same_run(train(cut), whole)


def test_what_is_absent_or_padding_does_not_matter(store: FeatureStore) -> None:
    model = build_model(config_of(store, Path("run")), DIMS, 2).eval()
    features = {"video": torch.rand(4, 2, DIMS["video"]) * 255, "audio": torch.randn(4, 2, 1600)}
    present = torch.tensor([[True, False], [False, True], [True, True], [True, True]])
    lengths = {"video": torch.tensor([2, 0, 1, 2]), "audio": torch.tensor([0, 1, 2, 2])}
    other = {m: x.clone() for m, x in features.items()}
    other["video"][1], other["video"][2, 1] = 7.0, 9.0
    other["audio"][0], other["audio"][1, 1] = 1e6, -3.0
    with torch.no_grad():
        one, two = (model(x, present, lengths).logits for x in (features, other))
        assert torch.equal(one, two)
        alone = model(
            {m: x[2:3] for m, x in features.items()},
            present[2:3],
            {m: x[2:3] for m, x in lengths.items()},
        ).logits
    torch.testing.assert_close(alone, one[2:3], rtol=1e-4, atol=1e-5)
    nothing = model({"audio": features["audio"]}, torch.tensor([[False, True]] * 4)).logits
    assert torch.isfinite(nothing).all()


def test_an_encoder_has_a_rate_of_its_own(store: FeatureStore, tmp_path: Path) -> None:
    config = config_of(store, tmp_path / "run", encoders=encoders(lr_factor=0.1), epochs=1)
    run = train(config)
    state = torch.load(run.last, weights_only=True)["optimizer"]["param_groups"]
    rates = {group["factor"]: group["lr"] for group in state}
    assert rates[0.1] == pytest.approx(rates[1.0] * 0.1)
    plain = build_model(config_of(store, tmp_path / "run"), DIMS, 2)
    learning = list(plain.parameters())
    assert parameter_groups(plain, learning) == learning


@pytest.mark.slow
def test_a_standalone_encoder_learns_what_its_windows_tell(tmp_path: Path) -> None:
    store = window_store(tmp_path / "store", num_samples=200)
    settings: dict[str, Any] = {
        "columns": {"video": "windows-of-video"},
        "encoders": {"video": ENCODERS["video"]},
        "label": "fake_video",
        "modality_labels": {},
        "fusion": "unimodal",
        "options": {},
        "epochs": 8,
    }
    config = config_of(store, tmp_path / "run", **settings)
    assert rehearse(config).num_parameters > 0
    train(config)
    assert changed(config, "video")
    (found,) = evaluate(config.loop.run, bootstrap=0).conditions
    assert (found.metrics["roc_auc"] or 0.0) > 0.9


def test_what_does_not_fit_is_said_before_there_is_a_run(
    store: FeatureStore, tmp_path: Path
) -> None:
    def refused(match: str, **settings: Any) -> None:
        with pytest.raises((ConfigError, TaskError), match=match):
            train(config_of(store, tmp_path / "run", **settings))
        assert not (tmp_path / "run").exists()

    refused(
        r"columns\.video = windows-of-video: it holds what r2plus1d-18:every=8,side=14", encoders={}
    )
    other = {"encoder": "r2plus1d-18@random:1", "width": 2}
    refused(
        r"it reads a column of input:r2plus1d-18, and windows-of-video", encoders=encoders(**other)
    )
    refused("last:9 is more than its 5 blocks", encoders=encoders(train="last:9"))
    refused("should match pattern", encoders=encoders(train="most"))
    refused(r"encoders\.vidio: columns names no vidio", encoders={"vidio": "ge2e"})
    refused("has no published weights", encoders=encoders(encoder="r2plus1d-18:every=8,side=14"))


def test_a_run_with_encoders_is_not_exported(store: FeatureStore, tmp_path: Path) -> None:
    config = config_of(store, tmp_path / "run", epochs=1)
    train(config)
    with pytest.raises(ExportError, match="trains its encoders"):
        export_run(config.loop.run)
