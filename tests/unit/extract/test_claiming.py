"""Several extractions of one store: they share the shards, and the bytes are those of one."""

import threading
from pathlib import Path

import pytest

from scfae.extract import ExtractReport
from scfae.extract.leases import Leases
from scfae.store import FeatureStore, verify
from scfae.store.errors import ConfigError, StoreError, StoreLocked
from scfae.store.lock import FolderLock

from .small_jobs import run, shard_files

ENCODER = ["ge2e"]


@pytest.fixture(scope="module")
def whole(kept_media: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    store = tmp_path_factory.mktemp("whole") / "store"
    run(kept_media, store, ENCODER, shard_size=2)
    return shard_files(store)


def test_two_at_once_share_the_shards(
    kept_media: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    store = tmp_path / "store"
    reports: list[ExtractReport] = []

    def claim() -> None:
        reports.append(run(kept_media, store, ENCODER, shard_size=2, claim=True, workers=1))

    threads = [threading.Thread(target=claim) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shard_files(store) == whole
    assert sum(report.columns[0].shards_done for report in reports) == 5
    assert {path.name for path in store.iterdir()} == {"store.json", "samples.parquet", "columns"}
    assert verify(store) == []


def test_shards_that_others_hold_are_left_to_them_until_they_are_done(
    kept_media: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    store = tmp_path / "store"
    run(kept_media, store, ["ge2e@random:1"], shard_size=2, column_as="other")
    opened = FeatureStore.open(store)
    with Leases(opened, ENCODER) as other:
        assert all(other.take(shard) for shard in (1, 3))

        def progress(done: int, total: int, text: str) -> None:
            if done == 5:  # files of the three shards that are free
                other.release(1)
                other.release(3)

        report = run(
            kept_media, store, ENCODER, claim=True, lease_s=1.0, workers=1, progress=progress
        )
    assert report.columns[0].shards_done == 5
    ours = {name: data for name, data in shard_files(store).items() if "/ge2e/" in name}
    assert ours == whole


def test_a_column_that_one_process_writes_alone_is_not_shared(
    kept_media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scfae.extract.writers._BEGIN_PATIENCE_S", 0.1)
    store = tmp_path / "store"
    run(kept_media, store, ENCODER)
    (store / "columns/ge2e/shard-00000.json").unlink()
    with FolderLock(store / "columns/ge2e", "column 'ge2e'"):
        for is_sharing in (True, False):
            with pytest.raises(StoreLocked, match="locked by process"):
                run(kept_media, store, ENCODER, claim=is_sharing)


def test_claiming_and_retrying_do_not_go_together(kept_media: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--claim"):
        run(kept_media, tmp_path / "store", ENCODER, claim=True, retry_failed=True)


def test_processes_of_one_machine_share_the_shards(
    kept_media: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    store = tmp_path / "store"
    told: list[tuple[int, int, str]] = []
    report = run(
        kept_media,
        store,
        ENCODER,
        shard_size=2,
        processes=2,
        progress=lambda *args: told.append(args),
    )
    assert shard_files(store) == whole
    assert report.columns[0].shards_done == 5
    assert report.files == 8
    assert report.notices == []
    assert sorted(report.shares) == ["decode", "forward", "write"]
    assert told[-1][:2] == (8, 8)
    assert not (store / "claims").exists()


def test_what_stops_one_process_is_said_by_the_parent(kept_media: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run(kept_media, store, ["ge2e@random:1"], shard_size=2, column_as="other")
    (store / "columns/ge2e").mkdir()
    (store / "columns/ge2e/shard-00000.zarr.zip").mkdir()
    with pytest.raises(StoreError, match="Is a directory"):
        run(kept_media, store, ENCODER, processes=2)
