"""Generated sets are what their questions say: equal evidence at any width, liars that show."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from scfae.train.study.generated import Views, conflict, evidence, shared
from scfae.train.study.stores import LABEL, write_views


def told_by(views: Views, names: tuple[str, ...], train: int = 2000) -> float:
    """Return the accuracy of a linear model of some views."""
    x = torch.cat([views.features[name][:, 0] for name in names], dim=1).numpy()
    y = views.labels.numpy()
    model = LogisticRegression(max_iter=300).fit(x[:train], y[:train])
    return float(model.score(x[train:], y[train:]))


def test_views_say_equally_much_at_any_width_and_more_together() -> None:
    views = evidence(0, 6000, (16, 64, 200))
    alone = [told_by(views, (name,)) for name in views.features]
    assert max(alone) - min(alone) < 0.04
    assert 0.6 < np.mean(alone) < 0.8
    assert told_by(views, ("a", "b", "c")) > max(alone) + 0.1


def test_distances_between_samples_do_not_depend_on_the_width() -> None:
    narrow, wide = (evidence(3, 50, (width,)).features["a"][:, 0] for width in (16, 128))
    for features in (narrow, wide):
        assert np.linalg.matrix_rank(features.numpy()) == 12
    # Other maps are drawn, so norms are alike as far as chance lets them.
    assert float(narrow.square().mean()) == pytest.approx(float(wide.square().mean()), rel=0.2)


def test_conflicts_are_marked_and_mislead_a_linear_model() -> None:
    views = conflict(0, 6000, (16, 16, 16))
    marks = views.marks["conflict"]
    assert 0.45 < float(marks.float().mean()) < 0.55
    x = torch.cat([one[:, 0] for one in views.features.values()], dim=1).numpy()
    y = views.labels.numpy()
    model = LogisticRegression(max_iter=300).fit(x[:2000], y[:2000])
    right = torch.from_numpy(model.predict(x[2000:]) == y[2000:]).float()
    apart = marks[2000:]
    assert float(right[apart == 0].mean()) > float(right[apart == 1].mean()) + 0.1


def test_the_seed_decides_everything() -> None:
    draws = {seed: (evidence(seed, 20, (12, 13)), shared(seed, 20)) for seed in (1, 2)}
    again_drawn = (evidence(1, 20, (12, 13)), shared(1, 20))
    for first, again, other in zip(draws[1], again_drawn, draws[2], strict=True):
        for name, features in first.features.items():
            assert torch.equal(features, again.features[name])
            assert not torch.equal(features, other.features[name])


def test_a_store_has_every_sample_and_the_gaps_that_were_asked_for(tmp_path: Path) -> None:
    views = conflict(5, 60, (13, 13, 13))
    counts = {"train": 30, "val": 10, "test": 20}
    store = write_views(tmp_path / "store", views, counts, seed=5, missing={"val": 0.5})
    view = store.view(a="a", b="b", c="c", split="val", labels=[LABEL, "conflict"])
    assert view.available.sum(axis=0).tolist() == [5, 5, 5]
    assert view.available.any(axis=1).all()
    for split in ("train", "test"):
        assert store.view(a="a", b="b", c="c", split=split).available.all()
    labels = dict(zip(map(str, store.samples.ids), store.samples.label(LABEL), strict=True))
    assert [int(labels[f"{i:06d}"]) for i in range(60)] == views.labels.tolist()
    assert not list(tmp_path.glob(".tmp-*"))
