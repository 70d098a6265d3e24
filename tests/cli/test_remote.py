"""The whole way on a store behind a URL, by the command line, against a real S3 server."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scfae.demo.clips import make_media
from scfae.store import FeatureStore
from scfae.store.remote.testing import SeaweedServer

Scfae = Callable[..., "subprocess.CompletedProcess[str]"]
URL = "s3://bucket/features"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    with SeaweedServer(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(autouse=True)
def environment(server: SeaweedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def store_objects() -> list[str]:
    """Return the digests of all committed shards."""
    store = FeatureStore.open(URL)
    return [store.column(name).content_sha256 for name in ("ge2e", "efficientnet-lite0")]


def done(result: "subprocess.CompletedProcess[str]") -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_media_to_evaluation_through_a_bucket(scfae: Scfae, tmp_path: Path) -> None:
    counts = {"train": 6, "val": 3, "test": 3}
    media = make_media(tmp_path / "media", counts, fake_ratio=0.0, seed=3)
    extract = ("extract", media, URL, "-e", "ge2e", "-e", "efficientnet-lite0")
    done(scfae(*extract, "--shard-size", 4))
    before = store_objects()
    done(scfae(*extract))
    assert store_objects() == before
    info = json.loads(done(scfae("store", "info", URL, "--json")))
    assert info["path"] == URL
    status = json.loads(done(scfae("store", "status", URL, "--json")))
    assert status["counts"]["ge2e"]["ok"] == 12
    assert json.loads(done(scfae("store", "verify", URL, "--json"))) == {"ok": True, "damage": []}
    run = tmp_path / "run"
    columns = ("--columns", "video=efficientnet-lite0", "audio=ge2e")
    done(scfae("train", "--store", URL, *columns, "--label", "digit", "--epochs", 1, "--run", run))
    evaluation = json.loads(done(scfae("evaluate", run, "--json")))
    assert evaluation["conditions"]["video+audio"]["n"] == 3

    store = FeatureStore.open(URL)
    receipt = store.column("ge2e").receipt(1)
    assert receipt is not None
    store.objects.delete(f"columns/ge2e/{receipt.file}")  # type: ignore[attr-defined]
    result = scfae("store", "verify", URL)
    assert result.returncode == 1
    assert f"columns/ge2e/{receipt.file}: the object is gone" in result.stdout


def test_a_url_that_leads_nowhere_is_one_sentence(scfae: Scfae) -> None:
    result = scfae("store", "info", "s3://bucket/nothing")
    assert result.returncode == 1
    assert "there is no feature store at s3://bucket/nothing" in result.stderr
    assert "Traceback" not in result.stderr
    result = scfae("store", "info", "gopher://somewhere/else")
    assert result.returncode == 2
    assert "gopher://somewhere/else cannot be opened" in result.stderr
