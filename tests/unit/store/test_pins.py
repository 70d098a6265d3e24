"""A run pins what it reads; a pin is found again, verified, and in the way of a replacement."""

import os
from pathlib import Path

import pytest

from scfae.store import ColumnInfo, FeatureStore, pin_run, verify
from scfae.store.errors import ColumnPinned, CorruptShard
from scfae.store.pins import read_pins
from scfae.store.testing import make_store


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return make_store(tmp_path / "store", num_samples=6, shard_size=3, dims={"video": 3})


def pin(store: FeatureStore, run: Path) -> None:
    run.mkdir(exist_ok=True)
    assert pin_run(store.path, run, {"video": store.columns["video"].fingerprint})


def replacement(store: FeatureStore) -> ColumnInfo:
    fields = store.columns["video"].model_dump(exclude={"fingerprint"}) | {"encoder": "other"}
    return ColumnInfo.create(**fields)


def test_a_run_has_one_pin_however_often_it_starts(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(store, tmp_path / "run")
    pin(store, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    pin(store, Path("run"))
    pin(store, tmp_path / "other")
    pins = list(read_pins(store.path).values())
    assert sorted(one.run for one in pins) == [str(tmp_path / "other"), str(tmp_path / "run")]
    assert {one.columns["video"] for one in pins} == {store.columns["video"].fingerprint}
    assert verify(store) == []
    assert store.fingerprint == FeatureStore.open(store.path).fingerprint


def test_a_pinned_column_is_completed_but_not_replaced(store: FeatureStore, tmp_path: Path) -> None:
    pin(store, tmp_path / "run")
    with store.add_column(store.columns["video"], replace=True) as writer:
        assert writer.missing_shards() == []
    other = replacement(store)
    with pytest.raises(ColumnPinned, match=f"column 'video' is pinned by .*{tmp_path / 'run'}"):
        store.add_column(other, replace=True)
    with store.add_column(other.model_copy(update={"name": "beside"}), replace=True):
        pass


def test_a_pin_of_what_the_column_is_no_more_is_not_in_the_way(
    store: FeatureStore, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    pin_run(store.path, tmp_path / "run", {"video": "an older fingerprint", "audio": "x"})
    with store.add_column(replacement(store), replace=True) as writer:
        assert writer.missing_shards() == [0, 1]


def test_a_damaged_pin_is_damage_and_stops_what_it_may_forbid(
    store: FeatureStore, tmp_path: Path
) -> None:
    pin(store, tmp_path / "run")
    (path,) = read_pins(store.path)
    path.write_bytes(path.read_bytes()[:-9])
    assert [one.file for one in verify(store)] == [f"pins/{path.name}"]
    with pytest.raises(CorruptShard, match="Remove it if no run needs it"):
        store.drop_column("video")
    path.unlink()
    store.drop_column("video")


def test_a_store_that_is_read_only_is_not_pinned(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "run").mkdir()
    monkeypatch.setattr(os, "mkdir", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert not pin_run(store.path, tmp_path / "run", {"video": "x"})
