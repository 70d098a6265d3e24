"""A synthetic store, and one finished run on it, for every test of training."""

import pytest

from scfae.store import FeatureStore
from scfae.store.testing import make_store
from scfae.train.evaluation import evaluate
from scfae.train.runs import RunFolder

from .small_runs import BOOTSTRAP, MASKED, train_small


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """100 samples to learn from, 30 to select by, 70 to test on; a fifth of the rows missing."""
    folder = tmp_path_factory.mktemp("synthetic") / "store"
    return make_store(
        folder,
        num_samples=200,
        labels={"digit": 3, "fake": 2},
        missing=0.2,
        shard_size=32,
        splits=(("train", 0.5), ("val", 0.15), ("test", 0.35)),
    )


@pytest.fixture(scope="session")
def finished(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished, evaluated run; not to be changed."""
    run = train_small(store.path, tmp_path_factory.mktemp("runs") / "finished", epochs=8)
    evaluate(run.path, bootstrap=200)
    return run


@pytest.fixture(scope="session")
def whole(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """An evaluated run that nothing stopped; not to be changed."""
    run = train_small(store.path, tmp_path_factory.mktemp("whole") / "run", **MASKED)
    evaluate(run.path, bootstrap=BOOTSTRAP)
    return run
