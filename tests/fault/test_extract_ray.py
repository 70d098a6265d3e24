"""A Ray cluster of two real nodes, one killed halfway, gives the bytes of a single process."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scfae.demo.clips import make_media
from scfae.store import verify

from .test_extract_kill import command, digests

pytest.importorskip("ray", reason="needs the extra 'ray'")

SHARDS = 12

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    return make_media(folder, {"train": 2 * SHARDS}, fake_ratio=0.0, seed=8)


@pytest.fixture(scope="module")
def whole(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    store = tmp_path_factory.mktemp("whole") / "store"
    subprocess.run(command(manifest, store), check=True, capture_output=True)
    return digests(store)


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head and a second node, each with one CPU, so with an actor each."""
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        cluster.shutdown()


def driver(manifest: Path, store: Path, address: str) -> "subprocess.Popen[str]":
    words = command(manifest, store, "--ray", address, "--workers", "1", "--json")
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def num_committed(store: Path) -> int:
    return len(list(store.rglob("shard-*.json")))


@pytest.mark.timeout(600)
def test_a_cluster_that_loses_a_node_ends_in_the_same_bytes(
    manifest: Path, tmp_path: Path, whole: dict[str, str], cluster: Any
) -> None:
    store = tmp_path / "store"
    process = driver(manifest, store, cluster.address)
    end_s = time.monotonic() + 300
    while num_committed(store) < SHARDS and process.poll() is None:  # of two columns: halfway
        assert time.monotonic() < end_s
        time.sleep(0.05)
    assert process.poll() is None
    (victim,) = cluster.worker_nodes
    cluster.remove_node(victim, allow_graceful=False)
    assert num_committed(store) < 2 * SHARDS
    stdout, stderr = process.communicate(timeout=400)
    assert process.returncode == 0, stderr
    report = json.loads(stdout)
    assert {c["shards_extracted"] for c in report["columns"].values()} == {SHARDS}
    assert verify(store) == []
    assert digests(store) == whole


@pytest.mark.timeout(300)
def test_without_a_cluster_there_is_a_sentence(manifest: Path, tmp_path: Path) -> None:
    process = driver(manifest, tmp_path / "store", "127.0.0.1:1")
    _, stderr = process.communicate(timeout=250)
    assert process.returncode == 2
    assert "--ray 127.0.0.1:1: there is no Ray cluster" in stderr.splitlines()[-1]
    assert not (tmp_path / "store").exists()
