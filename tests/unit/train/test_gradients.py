"""Cosines and norms of gradients: by hand, and as plain autograd gives them of a run."""

from pathlib import Path

import pytest
import torch

from scfae.cli.analyse import run as analyse
from scfae.fusion import InputNorm
from scfae.store import FeatureStore, FeatureStream
from scfae.store.errors import ConfigError
from scfae.train.gradient_probe import Meeting, flat_gradients
from scfae.train.gradients import GRADIENTS_FILE, analyse_gradients, gradient_figures
from scfae.train.loading import load_run
from scfae.train.model import fusion_of
from scfae.train.runs import RunFolder
from scfae.train.splits import make_splits

from .small_runs import train_small


def test_by_hand() -> None:
    """The task is |x|^2 / 2 at (3, 4), so its gradient is (3, 4), of norm 5.

    Against 4 x1 - 3 x2 its cosine is 0; against -x1 it is -3 / 5.
    """
    x = torch.tensor([3.0, 4.0], requires_grad=True)
    task = x.square().sum() / 2
    others = (4 * x[0] - 3 * x[1], -x[0])
    first = flat_gradients(task, {"m": [x]})["m"]
    assert first.tolist() == [3.0, 4.0]
    meetings = [Meeting.of(first, flat_gradients(other, {"m": [x]})["m"]) for other in others]
    found = gradient_figures(meetings)
    assert found.task_norm == pytest.approx(5.0)
    assert found.auxiliary_norm == pytest.approx((5.0 + 1.0) / 2)
    assert found.cosine == pytest.approx((0.0 - 0.6) / 2)
    assert found.cosine_sd == pytest.approx(0.6 / 2**0.5)
    assert found.negative_share == 0.5
    assert found.num_batches == 2


def test_a_gradient_that_does_not_arrive_has_no_cosine() -> None:
    x, y = (torch.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    found = flat_gradients(x.sum(), {"x": [x], "y": [y]})
    assert found["y"].tolist() == [0.0, 0.0]
    nothing = flat_gradients(None, {"x": [x]})["x"]
    figures = gradient_figures([Meeting.of(found["x"], nothing)])
    assert (figures.cosine, figures.negative_share, figures.num_batches) == (None, None, 0)


@pytest.fixture(scope="module")
def run(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    place = tmp_path_factory.mktemp("gradients") / "run"
    return train_small(store.path, place, fusion="scfae", loss_weights={"recon": 0.5})


def test_of_a_run_they_are_what_plain_autograd_gives(store: FeatureStore, run: RunFolder) -> None:
    found = analyse_gradients(run.path, num_batches=1)
    loaded = load_run(run.path)
    loaded.model.train()
    train = make_splits(FeatureStore.open(store.path), loaded.config.data).train
    seed, size = loaded.config.loop.seed, loaded.config.optim.batch_size
    batch = next(iter(FeatureStream(train, batch_size=size, seed=seed)))
    assert isinstance(loaded.model, InputNorm)
    features = {
        m: rows.requires_grad_() for m, rows in loaded.model.normalise(batch.features).items()
    }
    out = fusion_of(loaded.model)(features, batch.present, batch.lengths)
    targets = loaded.task.encoder(train)(batch, batch.present)
    task = loaded.task.loss(out, targets, batch.present)
    inputs = [features[m] for m in loaded.columns]
    firsts = torch.autograd.grad(task, inputs, retain_graph=True)
    seconds = torch.autograd.grad(0.5 * out.losses["recon"], inputs)
    flat = [[one.flatten() for one in both] for both in (firsts, seconds)]
    flat = [[*each, torch.cat(each)] for each in flat]
    for name, first, second in zip([*loaded.columns, "all"], *flat, strict=True):
        assert found[name].task_norm == pytest.approx(float(first.norm()), rel=1e-5)
        assert found[name].auxiliary_norm == pytest.approx(float(second.norm()), rel=1e-5)
        cosine = torch.cosine_similarity(first, second, dim=0)
        assert found[name].cosine == pytest.approx(float(cosine), abs=1e-5)
        assert found[name].negative_share == float(cosine < 0)
    assert run.read(GRADIENTS_FILE)["modalities"]["all"] == found["all"].as_dict()


def test_again_they_are_the_same(run: RunFolder) -> None:
    first = analyse_gradients(run.path, num_batches=6)
    assert analyse_gradients(run.path, num_batches=6) == first
    assert first["all"].num_batches == 6  # more than an epoch has


def test_a_trained_map_is_where_the_encoder_would_be(store: FeatureStore, tmp_path: Path) -> None:
    mapped = train_small(store.path, tmp_path / "run", fusion="scfae", linear_maps={"video": 7})
    found = analyse_gradients(mapped.path, num_batches=2)
    assert {name: one.at for name, one in found.items()} == {
        "video": "map",
        "audio": "features",
        "all": "both",
    }
    assert found["video"].task_norm > 0


def test_an_adapter_is_where_the_encoder_would_be(store: FeatureStore, tmp_path: Path) -> None:
    adapted = train_small(store.path, tmp_path / "run", fusion="scfae", adapters=True, epochs=1)
    found = analyse_gradients(adapted.path, num_batches=1)
    assert {one.at for one in found.values()} == {"adapter"}
    assert found["video"].task_norm > 0
    assert found["video"].cosine is not None


def test_a_method_without_auxiliary_losses(store: FeatureStore, tmp_path: Path) -> None:
    plain = train_small(store.path, tmp_path / "run", fusion="concat")
    found = analyse_gradients(plain.path, num_batches=2)
    assert found["all"].cosine is None
    assert found["all"].task_norm > 0
    assert found["all"].auxiliary_norm == 0


def test_the_command(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert analyse([str(run.path), "--batches", "2", "--only", "gradients"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "gradients, selected model"
    assert lines[1].split()[:4] == ["taken", "at", "task", "norm"]
    assert [line.split()[0] for line in lines[2:5]] == ["video", "audio", "all"]
    with pytest.raises(ConfigError, match="batches must be at least 1, not 0"):
        analyse([str(run.path), "--batches", "0"])
