"""What changes a store behind a URL, against a real server, by processes of their own."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from scfae.store import (
    ColumnInfo,
    FeatureStore,
    ShardSample,
    collect_garbage,
    pinned,
    verify,
)
from scfae.store.errors import ColumnPinned
from scfae.store.remote import open_objects
from scfae.store.remote.testing import SeaweedServer
from scfae.store.sample_row import SampleRow

pytestmark = pytest.mark.fault

APPENDER = """
import sys
from scfae.store import FeatureStore
from scfae.store.sample_row import SampleRow
url, name = sys.argv[1:]
store = FeatureStore.open(url)
print("ready", flush=True)
sys.stdin.readline()
for turn in range(8):
    store.append_samples([SampleRow(id=f"{name}-{turn}-{i}") for i in range(3)])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    with SeaweedServer(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(autouse=True)
def environment(server: SeaweedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_two_processes_that_append_samples_at_once_lose_none() -> None:
    url = "s3://bucket/appended"
    FeatureStore.create(url, [SampleRow(id="first")], shard_size=4)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", APPENDER, url, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in ("a", "b")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    wanted = {f"{name}-{turn}-{i}" for name in "ab" for turn in range(8) for i in range(3)}
    assert set(FeatureStore.open(url).samples.ids.tolist()) == wanted | {"first"}
    assert verify(url) == []


def test_columns_are_pinned_renamed_swept_and_dropped(tmp_path: Path) -> None:
    url = "s3://bucket/catalogue"
    store = FeatureStore.create(url, [SampleRow(id=f"s{i}") for i in range(8)], shard_size=2)
    column = ColumnInfo.create("x", "audio", encoder="e", dim=3, weights="random:0")
    with store.add_column(column) as writer:
        for number in range(4):
            rows = np.full((2, 3), number, np.float32)
            writer.commit(number, [ShardSample(rows), ShardSample(rows)])
    run = tmp_path / "run"
    run.mkdir()
    with pinned(store, run, {"x": column.fingerprint}), pytest.raises(ColumnPinned):
        store.drop_column("x")
    run.rmdir()
    collect_garbage(store, grace_s=0, is_deleting=True)  # the pin, whose run is gone
    store.rename_column("x", "y")
    renamed = FeatureStore.open(url)
    assert [renamed.column("y").rows(i)[0, 0] for i in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    objects = open_objects(url)
    objects.put("columns/y/shard-00001.0123456789abcdef.zarr.zip", b"left by a kill")
    swept = collect_garbage(renamed, grace_s=0, is_deleting=True)
    assert [one.why for one in swept.garbage] == ["a shard that its receipt does not name"]
    assert verify(url) == []
    renamed.drop_column("y")
    assert [one.key for one in objects.entries() if one.key.startswith("columns/")] == []
