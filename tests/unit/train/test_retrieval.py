"""Retrieval embeds each modality alone: what would find a pair by itself is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scfae.fusion import SCFAE, FusionOutput
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError, TaskError
from scfae.store.testing import make_store
from scfae.train.evaluation import evaluate
from scfae.train.tasks import Retrieval, Scored, Trial

from .small_runs import task_store, train_small

DIMS = {"image": 6, "video": 9}


class Leaky(SCFAE):
    """SCFAE whose embedding of a modality is its slot, which the next modality fills."""

    def fuse(self, inputs: Any) -> FusionOutput:
        out = super().fuse(inputs)
        return FusionOutput(fused=out.fused, z=out.z, shared_from=out.shared, losses=out.losses)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return task_store(tmp_path_factory.mktemp("retrieval") / "store", missing=0.0)


def fit(store: FeatureStore, **options: Any) -> Retrieval:
    view = store.view("train", ["digit"], video="video", audio="audio")
    return Retrieval.fit(view, "digit", options=options)


def test_an_embedding_from_the_next_modality_is_refused(store: FeatureStore) -> None:
    task = fit(store)
    task.check_model(SCFAE(DIMS), DIMS, "scfae")
    with pytest.raises(ConfigError, match="its embedding of video holds evidence of image"):
        task.check_model(Leaky(DIMS), DIMS, "leaky")


def test_the_slot_of_a_modality_would_find_its_own_pair_and_the_embedding_does_not() -> None:
    # Images and videos that have nothing to do with each other: only a leak can find the pair.
    torch.manual_seed(0)
    model = SCFAE(DIMS).eval()
    features = {m: torch.randn(50, d) for m, d in DIMS.items()}
    task = Retrieval.from_dict(
        {
            "label": "x",
            "modalities": list(DIMS),
            "options": {"relevance": "pair", "exclude": "none", "map_at": [1]},
        }
    )
    ids = np.stack([np.arange(50), np.arange(50)], axis=1)
    everything = torch.ones(50, dtype=torch.bool).numpy()

    def found(video_query: torch.Tensor, video_gallery: torch.Tensor) -> float | None:
        scored: dict[tuple[str, ...], Scored] = {
            ("image",): Scored(ids, video_query.detach().numpy(), everything),
            ("video",): Scored(ids, video_gallery.detach().numpy(), everything),
        }
        return task.measure(Trial("image>video", (("image",), ("video",))), scored, 0).metrics[
            "r@1"
        ]

    paired, alone = (
        model(features),
        model({"video": features["video"]}, torch.tensor([[False, True]] * 50)),
    )
    # The slot `shared["image"]` of paired data is the very video.
    assert found(paired.shared["image"], alone.shared_from["video"]) == 1.0
    honest = found(paired.shared_from["image"], alone.shared_from["video"])
    assert honest is not None
    assert honest < 0.2


def test_what_is_shown_beside_a_modality_does_not_change_its_embedding() -> None:
    model = SCFAE(DIMS).eval()
    rows = {m: torch.randn(4, d) for m, d in DIMS.items()}
    alone = model(rows, torch.tensor([[True, False]] * 4)).shared_from["image"]
    assert torch.equal(model(rows).shared_from["image"], alone)


@pytest.mark.parametrize("fusion", ["concat", "misa"])
def test_a_method_that_embeds_nothing_alone_is_refused_before_there_is_a_folder(
    store: FeatureStore, tmp_path: Path, fusion: str
) -> None:
    with pytest.raises(ConfigError, match=f"fusion = '{fusion}' gives no embedding of video"):
        train_small(store.path, tmp_path / "run", task="retrieval", fusion=fusion)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"loss": "supcon", "ap_norm": "min_rk"},
        {"relevance": "pair", "positives": "pair"},
        {"exclude": "group", "distance": "l2", "ap_norm": "r"},
    ],
)
def test_other_readings_train_and_say_which_they_are(
    store: FeatureStore, tmp_path: Path, options: dict[str, Any]
) -> None:
    run = train_small(
        store.path, tmp_path / "run", task="retrieval", epochs=2, task_options=options
    )
    evaluation = evaluate(run.path, bootstrap=5)
    kept = run.read("task.json")["options"]
    assert options.items() <= kept.items()
    condition = evaluation.conditions[0]
    assert condition.name == "video>audio"
    norm = kept["ap_norm"]
    assert condition.metrics["map@10"] == condition.metrics[f"map_{norm}@10"]
    if kept["relevance"] == "pair":
        assert kept["exclude"] == "none"
        # One relevant sample each, at most one hit: by all three it is the same.
        assert condition.metrics["map_r@100"] == condition.metrics["map_hits@100"]


def test_supcon_learns_from_samples_that_have_one_modality(tmp_path: Path) -> None:
    store = make_store(
        tmp_path / "store", num_samples=60, labels={"digit": 2}, missing=1.0
    )  # each keeps one
    run = train_small(
        store.path,
        tmp_path / "run",
        task="retrieval",
        task_options={"loss": "supcon", "map_at": [5]},
        epochs=6,
        fusion="cmmp",
    )
    evaluation = evaluate(run.path, bootstrap=0)
    assert evaluation.conditions[0].n + evaluation.conditions[0].excluded == evaluation.n
    value = evaluation.conditions[0].metrics["map@5"]
    base = evaluation.conditions[0].measured.baseline["map@5"]
    assert value is not None
    assert base is not None
    assert value > base


def test_settings_that_contradict_each_other_are_named(store: FeatureStore) -> None:
    with pytest.raises(ConfigError, match="leave exclude out"):
        fit(store, relevance="pair", exclude="sample")
    with pytest.raises(ConfigError, match=r"task_options\.ap_norm = 'all'"):
        fit(store, ap_norm="all")
    view = store.view("train", ["digit"], video="video")
    with pytest.raises(ConfigError, match="name two columns"):
        Retrieval.fit(view, "digit")
    view = store.view("train", ["mood"], video="video", audio="audio")
    with pytest.raises(TaskError, match="'mood' is continuous"):
        Retrieval.fit(view, "mood")
