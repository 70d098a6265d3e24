"""Shapley values: by hand, and adding up to what the whole is worth above nothing."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from scfae.store import FeatureStore
from scfae.store.errors import RunStateError
from scfae.train.analysis.contributions import contributions, shapley_values
from scfae.train.loading import load_run
from scfae.train.splits import make_splits

from ..small_runs import TASK_SETTINGS, task_store, train_small


def test_by_hand() -> None:
    """v(0) = 0.5, v(a) = 0.7, v(b) = 0.5, v(ab) = 1.

    a: half of 0.2 and half of 0.5; b: half of 0 and half of 0.3.
    """
    values = {
        frozenset[int](): np.array([0.5]),
        frozenset({0}): np.array([0.7]),
        frozenset({1}): np.array([0.5]),
        frozenset({0, 1}): np.array([1.0]),
    }
    np.testing.assert_allclose(shapley_values(values, 2), [[0.35, 0.15]])


def test_three_by_hand_and_in_all_orders() -> None:
    """As the mean over all orders in which modalities come, which is what the formula sums up."""
    generator = np.random.default_rng(0)
    values = {
        frozenset(one): generator.random(5)
        for size in range(4)
        for one in itertools.combinations(range(3), size)
    }
    expected = np.zeros((5, 3))
    for order in itertools.permutations(range(3)):
        for place, player in enumerate(order):
            before = frozenset(order[:place])
            expected[:, player] += (values[before | {player}] - values[before]) / 6
    found = shapley_values(values, 3)
    np.testing.assert_allclose(found, expected)
    whole = values[frozenset({0, 1, 2})] - values[frozenset()]
    np.testing.assert_allclose(found.sum(axis=1), whole)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return task_store(tmp_path_factory.mktemp("tasks") / "store")


@pytest.mark.parametrize("task", [name for name in TASK_SETTINGS if name != "retrieval"])
def test_of_a_run_they_add_up_and_what_is_missing_adds_nothing(
    store: FeatureStore, tmp_path: Path, task: str
) -> None:
    settings = {"task": task, **TASK_SETTINGS[task], "epochs": 2}
    loaded = load_run(train_small(store.path, tmp_path / "run", **settings).path)
    view = make_splits(FeatureStore.open(store.path), loaded.config.data).test
    found = contributions(loaded, view)
    np.testing.assert_allclose(found.values.sum(axis=1), found.everything - found.none, atol=1e-12)
    assert not found.has.all()
    np.testing.assert_array_equal(found.values[~found.has], 0.0)
    summary = found.summary(resamples=50)
    assert list(summary) == ["video", "audio"]
    for place, one in enumerate(summary.values()):
        own = found.values[found.has[:, place], place]
        assert one["n"] == len(own) < len(view)
        assert one["mean"] == pytest.approx(own.mean())
        low, high = one["mean_ci95"]
        assert low < one["mean"] < high


def test_retrieval_has_none(store: FeatureStore, tmp_path: Path) -> None:
    settings = {"task": "retrieval", **TASK_SETTINGS["retrieval"], "epochs": 1}
    loaded = load_run(train_small(store.path, tmp_path / "run", **settings).path)
    view = make_splits(FeatureStore.open(store.path), loaded.config.data).test
    with pytest.raises(RunStateError, match="no answer for a single sample"):
        contributions(loaded, view)
