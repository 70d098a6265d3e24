"""A service for each test: an empty queue, a store that jobs may read, and workers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scfae.service import Roots
from scfae.service.queue import Queue

from .services import StartWorker, make_service_store, workers


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Roots:
    """Folders that jobs may name, with one store."""
    return make_service_store(tmp_path_factory.mktemp("stores"))


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    """An empty queue."""
    return Queue(tmp_path / "service")


@pytest.fixture
def worker(queue: Queue, tmp_path: Path) -> Iterator[StartWorker]:
    """Start worker processes of the queue; those that are left end with the test."""
    with workers(queue, tmp_path / "worker.log") as start:
        yield start
