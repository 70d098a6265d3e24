"""A linear map before the fusion model is a part of the run: trained, kept, evaluated, exported."""

from pathlib import Path

import pytest
import torch

from scfae.cli.main import main
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError
from scfae.train.evaluation import evaluate
from scfae.train.export import example_batch, load_export
from scfae.train.loading import load_run
from scfae.train.mapped import Mapped
from scfae.train.model import build_model, fusion_of
from scfae.train.standardise import Standardised

from .small_runs import TASK_SETTINGS, make_config, task_store, train_small

DIMS = {"video": 12, "audio": 7}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return task_store(tmp_path_factory.mktemp("mapped") / "store")


def test_the_fusion_model_sees_the_mapped_widths() -> None:
    model = build_model(make_config("s", Path("run"), linear_maps={"video": 5}), DIMS, 3)
    assert isinstance(model, Standardised)
    assert isinstance(model.model, Mapped)
    assert fusion_of(model).dims == {"video": 5, "audio": 7}
    features = {"video": torch.randn(4, 3, 12), "audio": torch.randn(4, 2, 7)}
    mapped = model.model.maps["video"](model.normalise(features)["video"])
    inner = {"video": mapped, "audio": model.normalise(features)["audio"]}
    torch.testing.assert_close(model(features).logits, fusion_of(model)(inner).logits)


def test_what_is_absent_does_not_matter() -> None:
    model = build_model(make_config("s", Path("run"), linear_maps={"video": 5}), DIMS, 3).eval()
    features = {"video": torch.randn(4, 3, 12), "audio": torch.randn(4, 2, 7)}
    present = torch.tensor([[True, False], [False, True], [True, True], [False, True]])
    other = {
        m: torch.where(present[:, i, None, None], x, 1e6)
        for i, (m, x) in enumerate(features.items())
    }
    assert torch.equal(model(features, present).logits, model(other, present).logits)


@pytest.mark.parametrize("task", ["retrieval", "classification"])
def test_a_run_trains_its_map(store: FeatureStore, tmp_path: Path, task: str) -> None:
    settings = {"task": task, **TASK_SETTINGS[task], "linear_maps": {"video": 6, "audio": 6}}
    run = train_small(store.path, tmp_path / "run", epochs=6, **settings)
    begin = build_model(run.config, {"video": 10, "audio": 10}, load_run(run.path).task.num_outputs)
    before = begin.state_dict()["model.maps.video.weight"]
    after = load_run(run.path).model.state_dict()["model.maps.video.weight"]
    assert not torch.allclose(before, after)
    found = evaluate(run.path, bootstrap=0, columns={"video": "audio"})
    assert found.swapped == ("video",)
    assert main(["export", str(run.path), str(tmp_path / "run.pt2")]) == 0
    exported, _ = load_export(tmp_path / "run.pt2")
    batch = example_batch({"video": 10, "audio": 10}, 5, 3)
    own = load_run(run.path).model(*batch)
    if task == "retrieval":
        torch.testing.assert_close(exported(*batch)["embedding.video"], own.shared_from["video"])
    else:
        torch.testing.assert_close(exported(*batch)["logits"], own.logits)


def test_a_map_of_no_modality_is_named(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"linear_maps.vidio: columns names no vidio. Did you"):
        make_config(store.path, tmp_path / "run", linear_maps={"vidio": 6})
    with pytest.raises(ConfigError, match=r"linear_maps\.video = 0: should be greater than or"):
        make_config(store.path, tmp_path / "run", linear_maps={"video": 0})


def test_settings_at_their_default_are_not_in_the_digest(tmp_path: Path) -> None:
    plain = make_config("store", tmp_path / "run")
    said = make_config("store", tmp_path / "run", linear_maps={}, standardise=True)
    assert plain.digest() == said.digest()
    assert plain.digest() != make_config("store", tmp_path / "run", standardise=False).digest()
