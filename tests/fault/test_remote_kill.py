"""`kill -9` of a writer, and of the server, while a store behind a URL is written."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from scfae.store import FeatureStore, verify
from scfae.store.remote.testing import SeaweedServer

from .test_store_kill import Promises, go, kill_after, lines_of, ready

MAX_DELAY_S = 2.0

pytestmark = pytest.mark.fault


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    with SeaweedServer(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(autouse=True)
def environment(server: SeaweedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def finish(url: str, generation: int, promises: Promises) -> FeatureStore:
    process = ready("grow", url, generation, 1)
    go(process)
    said = lines_of(process)
    assert (process.returncode, said[-1]) == (0, ["finished"])
    promises.hear(said)
    promises.check(url)
    return FeatureStore.open(url)


def kill_again_and_again(url: str, kills: int, promises: Promises) -> int:
    instants, num_said = random.Random(0), 0
    for kill in range(kills):
        writer, delay_s = ready("grow", url, kill, 10_000), instants.uniform(0, MAX_DELAY_S)
        said = kill_after(writer, delay_s, is_begun=kill % 2 == 1)
        num_said += len(said)
        promises.hear(said)
        promises.check(url)
    return num_said


def test_a_remote_store_killed_at_any_instant_keeps_what_was_acknowledged() -> None:
    url, promises = "s3://bucket/killed", Promises()
    assert kill_again_and_again(url, 3, promises) > 0
    assert finish(url, 3, promises).column("kept").is_complete


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_remote_store_survives_a_hundred_kills() -> None:
    url, promises = "s3://bucket/hundred", Promises()
    assert kill_again_and_again(url, 100, promises) > 100
    assert finish(url, 100, promises).column("kept").is_complete


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back_has_what_was_acknowledged(
    server: SeaweedServer,
) -> None:
    url, promises = "s3://bucket/server", Promises()
    process = ready("grow", url, 0, 10_000)
    go(process)
    assert process.stdout is not None
    said = [process.stdout.readline().split() for _ in range(6)]
    server.kill()
    said += lines_of(process)  # it gives up with an error, or is still retrying when killed
    assert process.returncode != 0
    server.start()
    promises.hear(said)
    promises.check(url)
    assert finish(url, 1, promises).column("kept").is_complete
    assert verify(url) == []
    assert os.environ["AWS_ENDPOINT_URL"] == server.endpoint
