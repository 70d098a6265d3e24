"""A store behind a URL reads and writes like a local one, against a real S3-compatible server."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfae.store import (
    Chain,
    ColumnInfo,
    FeatureStore,
    FeatureStream,
    ShardSample,
    derive,
    verify,
)
from scfae.store.errors import (
    ConfigError,
    CorruptShard,
    FingerprintMismatch,
    StoreError,
    StoreLocked,
    StoreNotFound,
    UnknownColumn,
)
from scfae.store.exchange import export, restore
from scfae.store.exchange.manifest import Form
from scfae.store.remote import open_objects
from scfae.store.remote.obstore_objects import ObstoreObjects
from scfae.store.sample_row import SampleRow
from scfae.store.samples import SampleTable
from scfae.store.testing import make_store
from scfae.store.verification import requeue

SETTINGS: dict[str, Any] = {"num_samples": 20, "shard_size": 6, "missing": 0.3}


def copy_up(folder: Path, url: str) -> None:
    """Copy a local store's files as `aws s3 sync` does."""
    objects = open_objects(url)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            objects.put(str(path.relative_to(folder)), path)


def assert_same(one: FeatureStore, other: FeatureStore) -> None:
    assert one.samples.ids.tolist() == other.samples.ids.tolist()
    assert one.columns == other.columns
    for name in one.columns:
        a, b = one.column(name), other.column(name)
        assert a.status.tolist() == b.status.tolist()
        assert a.reasons == b.reasons
        for i in range(len(a)):
            np.testing.assert_array_equal(a.rows(i), b.rows(i))
            np.testing.assert_array_equal(a.times(i), b.times(i))


def info(seed: int = 0) -> ColumnInfo:
    return ColumnInfo.create("x", "audio", encoder="e", dim=3, weights=f"random:{seed}")


def shard(value: float, count: int = 4) -> list[ShardSample]:
    return [ShardSample(rows=np.full((2, 3), value, np.float32)) for _ in range(count)]


def small_store(url: str) -> FeatureStore:
    return FeatureStore.create(url, [SampleRow(id=f"s{i}") for i in range(4)], shard_size=4)


def test_a_store_written_behind_a_url_is_that_written_locally(url: str, tmp_path: Path) -> None:
    local = make_store(tmp_path / "local", **SETTINGS)
    make_store(url, **SETTINGS)
    remote = FeatureStore.open(url)
    assert_same(local, remote)
    assert local.column("video").content_sha256 == remote.column("video").content_sha256
    assert list(FeatureStream(remote.view(video="video"), 4, seed=1))


def test_a_local_store_that_was_copied_to_a_bucket_opens(url: str, tmp_path: Path) -> None:
    local = make_store(tmp_path / "local", **SETTINGS)
    copy_up(local.path, url)
    assert_same(local, FeatureStore.open(url))


def test_a_stream_over_a_url_gives_the_local_batches(url: str, tmp_path: Path) -> None:
    local = make_store(tmp_path / "local", **SETTINGS)
    copy_up(local.path, url)
    streams = [
        FeatureStream(s.view(video="video", audio="audio"), 4, seed=1, masking="bernoulli:0.3")
        for s in (local, FeatureStore.open(url))
    ]
    assert streams[0].state_dict() == streams[1].state_dict()
    for a, b in zip(*streams, strict=True):
        assert a.ids == b.ids
        assert all((a.features[m] == b.features[m]).all() for m in a.modalities)


def test_samples_are_appended_and_extracted_behind_a_url(url: str) -> None:
    store = small_store(url)
    with store.add_column(info()) as writer:
        writer.commit(0, shard(1.0))
    assert store.append_samples([SampleRow(id="t0")]) == ["t0"]
    with store.add_column(info()) as writer:
        assert writer.missing_shards() == [1]
        writer.commit(1, shard(2.0, 1))
    again = FeatureStore.open(url)
    assert again.samples.ids.tolist()[-1] == "t0"
    assert again.column("x").rows(4).tolist() == [[2.0] * 3] * 2


def test_the_first_of_two_writers_of_a_shard_wins(url: str) -> None:
    small_store(url)
    one, other = FeatureStore.open(url), FeatureStore.open(url)
    assert one.path != other.path  # a cache of their own each
    with one.add_column(info()) as a, other.add_column(info()) as b:
        first = a.commit(0, shard(1.0))
        second = b.commit(0, shard(2.0))
    assert second == first
    assert FeatureStore.open(url).column("x").rows(0)[0, 0] == 1.0
    assert other.column("x").rows(0)[0, 0] == 1.0


def test_another_encoder_needs_replacing(url: str) -> None:
    store = small_store(url)
    with store.add_column(info()) as writer:
        writer.commit(0, shard(1.0))
    with pytest.raises(FingerprintMismatch):
        store.add_column(info(1))
    before = store.column("x")
    with store.add_column(info(1), replace=True) as writer:
        assert writer.missing_shards() == [0]
        assert not store.column("x").is_complete
        writer.commit(0, shard(3.0))
    assert store.column("x").rows(0)[0, 0] == 3.0
    assert before.rows(0)[0, 0] == 1.0  # an open reader keeps what it began with


def test_a_changed_medium_replaces_its_shard(url: str) -> None:
    store = small_store(url)
    for value, digest in ((1.0, "a" * 64), (2.0, "b" * 64)):
        samples = [ShardSample(rows=one.rows, media_sha256=digest) for one in shard(value)]
        with store.add_column(info()) as writer:
            assert writer.missing_shards([digest] * 4) == [0]
            writer.commit(0, samples)
            assert writer.missing_shards([digest] * 4) == []
    assert FeatureStore.open(url).column("x").rows(0)[0, 0] == 2.0


def test_a_server_without_conditional_creation_is_refused_for_writing() -> None:
    store = small_store("memory://without/conditions")
    with pytest.raises(StoreLocked, match="does not enforce conditional creation"):
        store.add_column(info()).__enter__()
    assert FeatureStore.open("memory://without/conditions").columns == {}


def test_what_is_not_there_is_said_with_its_url(url: str) -> None:
    with pytest.raises(StoreNotFound, match=f"no feature store at {url}: it has no store.json"):
        FeatureStore.open(url)
    store = small_store(url)
    with pytest.raises(UnknownColumn, match=f"{url} has no column 'y'"):
        store.column("y")
    with pytest.raises(StoreError, match="is a feature store already"):
        small_store(url)


def test_a_server_that_is_away_is_one_sentence(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scfae.store.remote.obstore_objects.RETRIES", 1)
    with pytest.raises(StoreError, match=r"store.json cannot be read or written .*network"):
        FeatureStore.open(url, options={"endpoint": "http://127.0.0.1:9"})


def test_an_object_that_was_damaged_is_never_read(url: str) -> None:
    store = small_store(url)
    with store.add_column(info()) as writer:
        receipt = writer.commit(0, shard(1.0))
    key = f"columns/x/{receipt.file}"
    objects = open_objects(url)
    data = bytearray(objects.get(key))
    data[-1] ^= 1
    objects.put(key, bytes(data))
    with pytest.raises(CorruptShard, match=f"{key} differs from the sha256"):
        store.column("x").rows(0)
    objects.delete(key)
    with pytest.raises(CorruptShard, match="is gone"):
        store.column("x").rows(0)


def test_a_cache_too_small_for_one_shard_says_so(url: str) -> None:
    store = small_store(url)
    with store.add_column(info()) as writer:
        writer.commit(0, shard(1.0))
    small = FeatureStore.open(url, cache_bytes=10)
    with pytest.raises(ConfigError, match="cache_bytes: 10 bytes are too few"):
        small.column("x").rows(0)


def test_copies_of_an_earlier_process_are_used_again(url: str, tmp_path: Path) -> None:
    store = small_store(url)
    with store.add_column(info()) as writer:
        receipt = writer.commit(0, shard(1.0))
    cached = FeatureStore.open(url, cache=tmp_path)
    cached.column("x").rows(0)
    del cached
    open_objects(url).delete(f"columns/x/{receipt.file}")
    assert len(list((tmp_path / "0" / "shards").iterdir())) == 1
    assert FeatureStore.open(url, cache=tmp_path).column("x").rows(0)[0, 0] == 1.0


def test_a_forked_child_is_told_to_open_the_store_itself(url: str) -> None:
    store = small_store(url)
    with store.add_column(info()) as writer:
        writer.commit(0, shard(1.0))
    column = store.column("x")
    child = os.fork()
    if child == 0:
        try:
            column.rows(0)
        except StoreError as error:
            os._exit(0 if "open the store again" in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_store_behind_a_url_is_exported_as_a_local_one(url: str, tmp_path: Path) -> None:
    local = make_store(tmp_path / "local", **SETTINGS)
    make_store(url, **SETTINGS)
    for to, joined in (("npz", False), ("webdataset", True), ("zarr", False)):
        outs = [tmp_path / f"{to}-{name}" for name in ("local", "remote")]
        for store, out in zip((local, url), outs, strict=True):
            export(store, out, to=to, joined=joined)  # type: ignore[arg-type]
        files = [{p.relative_to(out): p for p in out.rglob("*") if p.is_file()} for out in outs]
        assert files[0].keys() == files[1].keys()
        same = [name for name in files[0] if name.suffix in (".npz", ".tar", ".zip")]
        assert same
        for name in same:
            assert files[0][name].read_bytes() == files[1][name].read_bytes()
    restored = restore(tmp_path / "npz-remote", tmp_path / "again")
    assert restored["samples"] == 20
    assert_same(local, FeatureStore.open(tmp_path / "again"))


@pytest.mark.parametrize("to", ["zarr", "npz"])
def test_an_export_becomes_a_store_behind_a_url(url: str, tmp_path: Path, to: Form) -> None:
    local = make_store(tmp_path / "local", **SETTINGS)
    export(local, tmp_path / "out", to=to)
    restored = restore(tmp_path / "out", url)
    assert restored["store"] == url
    assert all(one["same_bytes"] for one in restored["columns"].values())
    assert_same(local, FeatureStore.open(url))
    assert verify(url) == []
    again = restore(tmp_path / "out", url)
    assert [one["shards"] for one in again["columns"].values()] == [0, 0]


def test_an_export_fits_into_a_cache_of_one_shard_and_says_what_is_gone(
    url: str, tmp_path: Path
) -> None:
    store = small_store(url)
    store.append_samples([SampleRow(id=f"t{i}") for i in range(4)])
    with store.add_column(info()) as writer:
        receipts = [writer.commit(number, shard(number)) for number in (0, 1)]
    small = FeatureStore.open(url, cache_bytes=max(one.bytes for one in receipts))
    export(small, tmp_path / "out", to="webdataset")
    open_objects(url).delete(f"columns/x/{receipts[0].file}")
    del small
    again = FeatureStore.open(url, cache=tmp_path / "cache")
    with pytest.raises(CorruptShard, match=r"column 'x', shard 0: .* is gone"):
        export(again, tmp_path / "other", to="webdataset")


def test_a_damaged_object_is_found_and_its_receipt_withdrawn(url: str) -> None:
    store = small_store(url)
    with store.add_column(info()) as writer:
        receipt = writer.commit(0, shard(1.0))
    assert verify(url) == []
    objects = open_objects(url)
    objects.put(f"columns/x/{receipt.file}", b"altered")
    (damage,) = verify(store)
    assert (damage.column, damage.shard, damage.file) == ("x", 0, f"columns/x/{receipt.file}")
    assert requeue(url, [damage]).withdrawn == [("x", 0)]
    with FeatureStore.open(url).add_column(info()) as writer:
        assert writer.missing_shards() == [0]
        writer.commit(0, shard(1.0))
    assert verify(url) == []


def test_a_column_is_derived_behind_a_url(url: str) -> None:
    store = small_store(url)
    with store.add_column(info()) as writer:
        writer.commit(0, shard(1.0))
    derive(store, "x", "x-mean", Chain.create(pool="mean"))
    assert FeatureStore.open(url).column("x-mean").rows(0).tolist() == [[1.0] * 3]


def test_folders_of_chunks_are_refused_behind_a_url(url: str, tmp_path: Path) -> None:
    local = make_store(tmp_path / "local", **SETTINGS, form="zarr-dir")
    with pytest.raises(StoreError, match=r"zarr-dir.*no single objects.*export or derive"):
        small_store(f"{url}/new").add_column(local.columns["video"])
    copy_up(local.path, f"{url}/copied")
    with pytest.raises(StoreError, match="column 'video' are folders"):
        FeatureStore.open(f"{url}/copied").column("video")


def test_compressed_shards_are_read_behind_a_url(url: str, tmp_path: Path) -> None:
    local = make_store(tmp_path / "local", **SETTINGS, form="zarr-zstd")
    make_store(url, **SETTINGS, form="zarr-zstd")
    assert_same(local, FeatureStore.open(url))
    assert verify(url) == []


def test_samples_appended_by_two_at_once_are_all_there(url: str) -> None:
    small_store(url)
    one, other = FeatureStore.open(url), FeatureStore.open(url)
    seen: list[int] = []

    def slowly(samples: SampleTable) -> SampleTable:
        seen.append(len(samples))
        if len(seen) == 1:
            other.append_samples([SampleRow(id="t0")])  # between our reading and our writing
        return samples.append([SampleRow(id="t1")])

    one._rewrite(slowly)
    assert seen == [4, 5]
    assert sorted(FeatureStore.open(url).samples.ids) == ["s0", "s1", "s2", "s3", "t0", "t1"]
    assert one.samples.ids.tolist() == FeatureStore.open(url).samples.ids.tolist()
    assert verify(url) == []


def test_many_who_append_samples_and_columns_at_once_lose_nothing(url: str) -> None:
    small_store(url)

    def write(number: int) -> None:
        store = FeatureStore.open(url)
        for turn in range(3):
            store.append_samples([SampleRow(id=f"t{number}-{turn}")])
        column = ColumnInfo.create(f"x{number}", "audio", encoder="e", dim=3)
        with store.add_column(column) as writer:
            writer.commit(0, shard(number))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    store = FeatureStore.open(url)
    assert len(store.samples) == 4 + 9
    assert list(store.columns) == ["x0", "x1", "x2"]
    assert verify(url) == []


def test_who_never_gets_a_turn_is_told_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = small_store(url)
    monkeypatch.setattr("scfae.store.remote.names._PAUSE_S", 0.0)
    monkeypatch.setattr(ObstoreObjects, "replace", lambda *arguments: False)
    with pytest.raises(StoreLocked, match=r"store.json was changed by other writers.*run the same"):
        store.append_samples([SampleRow(id="t0")])
    assert len(FeatureStore.open(url).samples) == 4


def test_a_replacement_of_what_another_has_changed_is_refused(url: str) -> None:
    objects = open_objects(url)
    objects.put("key", b"1")
    _, version = objects.get_versioned("key")
    assert objects.replace("key", b"2", version)
    assert not objects.replace("key", b"3", version)
    assert objects.get("key") == b"2"
