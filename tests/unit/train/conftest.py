"""A synthetic store, and one finished run on it, for every test of training."""

import pytest

from scfae.store import FeatureStore
from scfae.train.evaluation import evaluate
from scfae.train.runs import RunFolder

from .small_runs import BOOTSTRAP, MASKED, small_store, train_small


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A small store; not to be changed."""
    return small_store(tmp_path_factory.mktemp("synthetic") / "store")


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
