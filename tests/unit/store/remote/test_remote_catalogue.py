"""Columns behind a URL are renamed and dropped whole, whoever writes them meanwhile."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfae.store import ColumnInfo, FeatureStore, ShardSample, collect_garbage, pinned, verify
from scfae.store.errors import (
    ColumnPinned,
    ConfigError,
    CorruptShard,
    StoreError,
    UnknownColumn,
)
from scfae.store.remote import RemoteStore, catalogue, open_objects
from scfae.store.sample_row import SampleRow
from scfae.store.testing import make_store


def info(name: str = "x", seed: int = 0) -> ColumnInfo:
    return ColumnInfo.create(name, "audio", encoder="e", dim=3, weights=f"random:{seed}")


def shard(value: float) -> list[ShardSample]:
    return [ShardSample(rows=np.full((2, 3), value, np.float32)) for _ in range(2)]


@pytest.fixture
def store(url: str) -> FeatureStore:
    """Return a store of six samples in three shards; two of them are extracted into `x`."""
    rows = [SampleRow(id=f"s{i}") for i in range(6)]
    store = FeatureStore.create(url, rows, shard_size=2)
    with store.add_column(info()) as writer:
        writer.commit(0, shard(0.0))
        writer.commit(1, shard(1.0))
    return store


def keys(url: str, under: str) -> list[str]:
    return [one.key for one in open_objects(url).entries() if one.key.startswith(under)]


def test_a_renamed_column_is_the_same_under_its_new_name(store: FeatureStore, url: str) -> None:
    store.rename_column("x", "y")
    again = FeatureStore.open(url)
    assert list(again.columns) == ["y"]
    assert again.columns["y"].fingerprint == info().fingerprint
    assert again.column("y").rows(2).tolist() == [[1.0] * 3] * 2
    assert again.column("y").missing_shards == [2]
    assert verify(url) == []
    assert keys(url, "columns/x/") == []
    with again.add_column(info("y")) as writer:
        writer.commit(2, shard(2.0))
    assert FeatureStore.open(url).column("y").is_complete


def test_names_that_are_taken_or_wrong_are_refused(store: FeatureStore, url: str) -> None:
    with store.add_column(info("y", 1)) as writer:
        writer.commit(0, shard(5.0))
    with pytest.raises(StoreError, match=f"{url} has a column 'y' already"):
        store.rename_column("x", "y")
    with pytest.raises(ConfigError, match="is no column name"):
        store.rename_column("x", "../y")
    with pytest.raises(UnknownColumn, match="has no column 'z'"):
        store.rename_column("z", "w")
    with pytest.raises(UnknownColumn, match="has no column 'z'"):
        store.drop_column("z")
    assert FeatureStore.open(url).column("y").rows(0)[0, 0] == 5.0


def test_a_dropped_column_is_gone_and_begins_anew(store: FeatureStore, url: str) -> None:
    assert store.column_bytes("x") > 0
    store.drop_column("x")
    assert FeatureStore.open(url).columns == {}
    assert keys(url, "columns/x") == []
    with store.add_column(info()) as writer:
        assert writer.missing_shards() == [0, 1, 2]


def test_what_a_run_pins_is_neither_renamed_dropped_nor_replaced(
    store: FeatureStore, url: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with pinned(store, run, {"x": info().fingerprint}) as held:
        assert held
    refused: list[Callable[[], Any]] = [
        lambda: store.rename_column("x", "y"),
        lambda: store.drop_column("x"),
        lambda: store.add_column(info("x", 1), replace=True),
    ]
    for refuse in refused:
        with pytest.raises(ColumnPinned, match=f"pinned by {url}/pins/.*the run {run}"):
            refuse()
    with store.add_column(info()) as writer:
        writer.commit(2, shard(2.0))  # completing it changes nothing under the run
    assert verify(url) == []


@pytest.mark.parametrize("how", ["dropped", "renamed"])
def test_a_writer_whose_column_went_is_told_at_its_next_shard(
    store: FeatureStore, url: str, how: str
) -> None:
    other = FeatureStore.open(url)
    with other.add_column(info()) as writer:
        store.drop_column("x") if how == "dropped" else store.rename_column("x", "y")
        with pytest.raises(StoreError, match="was dropped, renamed or replaced while it was being"):
            writer.commit(2, shard(2.0))
    assert list(FeatureStore.open(url).columns) == ([] if how == "dropped" else ["y"])


def test_a_writer_does_not_undo_a_replacement(store: FeatureStore, url: str) -> None:
    other = FeatureStore.open(url)
    with other.add_column(info()) as old:
        with store.add_column(info("x", 1), replace=True) as writer:
            writer.commit(0, shard(7.0))
        with pytest.raises(StoreError, match="was dropped, renamed or replaced"):
            old.commit(0, shard(0.0))
    assert FeatureStore.open(url).column("x").rows(0)[0, 0] == 7.0


def test_a_shard_that_is_committed_during_a_renaming_is_carried_over(
    store: FeatureStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = FeatureStore.open(url)
    with other.add_column(info()) as writer:
        carry = catalogue._carry
        calls = []

        def then_commit(*arguments: Any) -> None:
            carry(*arguments)
            calls.append(1)
            if len(calls) == 1:
                writer.commit(2, shard(2.0))  # after the copies, before the swap of names

        monkeypatch.setattr(catalogue, "_carry", then_commit)
        store.rename_column("x", "y")
    assert FeatureStore.open(url).column("y").rows(4)[0, 0] == 2.0
    assert keys(url, "columns/x") == []


def names_of(url: str) -> list[str]:
    return list(FeatureStore.open(url).columns)


@pytest.mark.parametrize(
    ("operation", "requests"),
    [("rename", n) for n in (2, 5, 6, 10)] + [("drop", n) for n in (1, 3, 5)],
)
def test_a_kill_between_any_two_requests_leaves_one_or_the_other(
    store: FeatureStore,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    requests: int,
) -> None:
    assert isinstance(store, RemoteStore)

    def act(name: str) -> None:
        store.rename_column(name, "y") if operation == "rename" else store.drop_column(name)

    with monkeypatch.context() as dying, suppress(KeyboardInterrupt):
        die_after(store, requests, dying)
        act("x")
    names = names_of(url)
    assert names in (["x"], ["y"] if operation == "rename" else [])
    for name in names:
        assert FeatureStore.open(url).column(name).rows(2)[0, 0] == 1.0
    fresh = FeatureStore.open(url)
    for left in {"x", "y"} - set(names):
        if keys(url, f"columns/{left}/column.json"):
            with pytest.raises(StoreError, match=r"its objects are not all gone.*store drop"):
                fresh.add_column(info(left)).__enter__()
            fresh.drop_column(left)
    assert names_of(url) == names
    assert verify(url) == []


def die_after(store: RemoteStore, requests: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store's connection end, as by a kill, after a number of requests that change it."""
    left = [requests]
    for name in ("put", "create", "replace", "copy", "delete"):
        real = getattr(store.objects, name)

        def counted(*arguments: Any, real: Any = real, **options: Any) -> Any:
            if left[0] <= 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return real(*arguments, **options)

        monkeypatch.setattr(store.objects, name, counted)
    monkeypatch.setattr(catalogue, "PARALLEL_REQUESTS", 1)


def test_rows_in_the_wrong_place_are_still_found_after_a_renaming(
    store: FeatureStore, url: str
) -> None:
    store.rename_column("x", "y")
    with store.add_column(info("z")) as writer:
        writer.commit(0, shard(9.0))
    objects = open_objects(url)
    objects.put("columns/y/shard-00000.json", objects.get("columns/z/shard-00000.json"))
    with pytest.raises(CorruptShard, match="is the receipt of shard 0 of column 'z'"):
        FeatureStore.open(url).column("y")


def test_a_file_system_without_conditions_takes_one_who_changes_it_at_a_time(
    tmp_path: Path,
) -> None:
    local = make_store(tmp_path / "local", num_samples=6, shard_size=3)
    url = "memory://bucket/catalogue"
    objects = open_objects(url)
    for path in local.path.rglob("*"):
        if path.is_file():
            objects.put(str(path.relative_to(local.path)), path)
    store = FeatureStore.open(url)
    with pinned(store, tmp_path, {"video": store.columns["video"].fingerprint}):
        with pytest.raises(ColumnPinned):
            store.drop_column("video")
        store.rename_column("audio", "sound")
    objects.put("columns/sound/shard-00001.0123456789abcdef.zarr.zip", b"left by a kill")
    sweep = collect_garbage(store, grace_s=0, is_deleting=True)
    assert [one.why for one in sweep.garbage] == ["a shard that its receipt does not name"]
    again = FeatureStore.open(url)
    assert list(again.columns) == ["sound", "video"]
    assert again.column("sound").lengths.tolist() == local.column("audio").lengths.tolist()
