"""Mean 0 and one loudness on the training split, and on nothing else."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from scfae.fusion import SCFAE
from scfae.store import ColumnInfo, FeatureStore
from scfae.store.testing import make_store
from scfae.store.writer import ShardSample
from scfae.train import standardise
from scfae.train.standardise import Standardised

from .small_runs import train_small, weights


class Echo(nn.Module):
    """Returns what it is given."""

    def forward(
        self,
        features: dict[str, Tensor],
        present: Tensor | None = None,
        lengths: dict[str, Tensor] | None = None,
        **more: Tensor | None,
    ) -> dict[str, Tensor]:
        return features


def pooled(store: FeatureStore, split: str, modality: str) -> npt.NDArray[np.float64]:
    view = store.view(split, video="video", audio="audio")
    means = [
        view[i].features[modality].mean(axis=0)
        for i in range(len(view))
        if len(view[i].features[modality])
    ]
    return np.array(means, dtype=np.float64)


@pytest.mark.parametrize("rms", [1.0, 8.0])
def test_the_training_split_has_mean_0_and_the_loudness_asked_for(
    store: FeatureStore, rms: float
) -> None:
    view = store.view("train", video="video", audio="audio")
    model = Standardised(Echo(), view.dims, rms=rms)
    model.fit_view(view)
    for modality in view.modalities:
        rows = torch.tensor(pooled(store, "train", modality), dtype=torch.float32)
        shifted = model({modality: rows})[modality]
        torch.testing.assert_close(
            shifted.mean(dim=0), torch.zeros(rows.shape[1]), atol=1e-4 * rms, rtol=0
        )
        assert shifted.square().mean().sqrt().item() == pytest.approx(rms, rel=1e-3)
        ratio = shifted.std(dim=0) / rows.std(dim=0)  # features keep their proportions
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), atol=0, rtol=1e-4)


def test_a_run_takes_its_scale_from_the_training_split_alone(
    store: FeatureStore, tmp_path: Path
) -> None:
    state = weights(train_small(store.path, tmp_path / "run", epochs=1))["model"]
    for modality in ("video", "audio"):
        train = pooled(store, "train", modality)
        np.testing.assert_allclose(state[f"mean_{modality}"], train.mean(axis=0), atol=1e-5)
        scale = SCFAE.input_rms / np.sqrt(train.var(axis=0).mean())
        np.testing.assert_allclose(state[f"scale_{modality}"], scale, rtol=1e-4)
        everything = np.concatenate([pooled(store, s, modality) for s in ("train", "val", "test")])
        assert not np.allclose(state[f"mean_{modality}"], everything.mean(axis=0), atol=1e-3)


def test_without_it_rows_reach_the_model_as_they_are(store: FeatureStore, tmp_path: Path) -> None:
    run = train_small(store.path, tmp_path / "run", epochs=1, standardise=False)
    assert not any(name.startswith(("mean_", "scale_")) for name in weights(run)["model"])


def test_constant_features_are_only_shifted_and_an_empty_modality_left(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", num_samples=20)
    for name, rows in (("flat", np.full((2, 3), 1e4, np.float32)), ("none", None)):
        info = ColumnInfo.create(name, "image", encoder="synthetic", dim=3)
        times = np.array([[0.0, 1.0], [1.0, 2.0]])
        with store.add_column(info) as writer:
            for shard in range(store.samples.num_shards):
                sample = (
                    ShardSample(status="missing", reason="made so")
                    if rows is None
                    else ShardSample(rows=rows, times=times)
                )
                writer.commit(shard, [sample] * len(store.samples.rows_of(shard)))
    view = store.view("train", flat="flat", none="none")
    model = Standardised(Echo(), view.dims)
    model.fit_view(view)
    assert model.get_buffer("mean_flat").tolist() == [1e4] * 3
    assert model.get_buffer("scale_flat").item() == 1.0
    assert model.get_buffer("mean_none").tolist() == [0.0] * 3
    assert model.get_buffer("scale_none").item() == 1.0


def test_nothing_of_it_learns() -> None:
    model = Standardised(nn.Linear(2, 2), {"a": 4})
    assert [name for name, _ in model.named_parameters()] == ["model.weight", "model.bias"]
    assert {"mean_a", "scale_a"} <= set(model.state_dict())


@pytest.mark.parametrize("batch_size", [1, 7])
def test_the_scale_does_not_depend_on_batches(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    view = store.view("train", video="video", audio="audio")
    whole, pieces = Standardised(Echo(), view.dims), Standardised(Echo(), view.dims)
    whole.fit_view(view)
    monkeypatch.setattr(standardise, "_BATCH_SIZE", batch_size)
    pieces.fit_view(view)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(value, pieces.state_dict()[name], rtol=1e-6, atol=1e-7)
