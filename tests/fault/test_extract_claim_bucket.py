"""`--claim` on a bucket of a real S3 server, one of three processes killed: the bytes of one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scfae.demo.clips import make_media
from scfae.store import FeatureStore, verify
from scfae.store.header import CLAIMS_FOLDER
from scfae.store.remote.testing import SeaweedServer

from .test_extract_claim import WORKER, events
from .test_extract_kill import command

SHARDS = 6
URL = "s3://bucket/claimed"

pytestmark = [pytest.mark.fault, pytest.mark.slow]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SeaweedServer]:
    with SeaweedServer(tmp_path / "seaweed") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield server


def contents(store: FeatureStore) -> dict[str, str]:
    return {name: store.column(name).content_sha256 for name in sorted(store.columns)}


@pytest.mark.usefixtures("server")
@pytest.mark.timeout(900)
def test_a_bucket_is_shared_and_a_dead_process_inherited(tmp_path: Path) -> None:
    manifest = make_media(tmp_path / "media", {"train": 2 * SHARDS}, fake_ratio=0.0, seed=6)
    whole = tmp_path / "whole"
    subprocess.run(command(manifest, whole), check=True, capture_output=True)
    log = tmp_path / "log"
    words = ["extract", str(manifest), URL, *command(manifest, whole)[4:]]
    words += ["--claim", "--workers", "1", "--lease", "20"]
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(log), *words], stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    end_s = time.monotonic() + 400
    victim = None
    while victim is None and time.monotonic() < end_s:
        time.sleep(0.02)
        begun, done = events(log, "begin"), events(log, "commit")
        busy = [pid for shard, pid in begun if (shard, pid) not in done]
        victim = next((p for p in processes if p.pid in busy and done), None)
    assert victim is not None
    os.kill(victim.pid, signal.SIGKILL)
    for process in processes:
        _, stderr = process.communicate(timeout=600)
        assert process.returncode == (-signal.SIGKILL if process is victim else 0), stderr
    store = FeatureStore.open(URL)
    assert verify(URL) == []
    assert contents(store) == contents(FeatureStore.open(whole))
    shards = [shard for shard, _ in events(log, "begin")]
    assert sorted(set(shards)) == list(range(SHARDS))
    assert len(shards) - SHARDS <= 1  # the one it was at
    left = [one.key for one in store.objects.entries()]  # type: ignore[attr-defined]
    assert [key for key in left if key.startswith(CLAIMS_FOLDER)] == []
