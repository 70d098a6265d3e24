"""Behind a URL only what nothing refers to goes, and only when it is old and no run pins it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfae.store import ColumnInfo, FeatureStore, ShardSample, collect_garbage, pinned, verify
from scfae.store.errors import CorruptShard
from scfae.store.garbage import DAY_S
from scfae.store.remote import RemoteStore, garbage, open_objects, pins
from scfae.store.remote.objects import now_s
from scfae.store.sample_row import SampleRow


def info(seed: int = 0) -> ColumnInfo:
    return ColumnInfo.create("x", "audio", encoder="e", dim=3, weights=f"random:{seed}")


def shard(value: float) -> list[ShardSample]:
    return [ShardSample(rows=np.full((2, 3), value, np.float32)) for _ in range(2)]


@pytest.fixture
def store(url: str) -> FeatureStore:
    store = FeatureStore.create(url, [SampleRow(id=f"s{i}") for i in range(4)], shard_size=2)
    with store.add_column(info()) as writer:
        writer.commit(0, shard(0.0))
        writer.commit(1, shard(1.0))
    return store


def contents(url: str) -> dict[str, bytes]:
    objects = open_objects(url)
    return {one.key: objects.get(one.key) for one in objects.entries()}


def swept(url: str, grace_s: float = 0.0) -> list[str]:
    sweep = collect_garbage(FeatureStore.open(url), grace_s=grace_s, is_deleting=True)
    return [one.file for one in sweep.garbage]


def litter(url: str) -> list[str]:
    """Leave what killed writers and dropped columns leave; return what must go."""
    objects = open_objects(url)
    column = contents(url)["columns/x/column.json"]
    keys = [
        ".probe-0123456789abcdef",
        "columns/gone/column.json",
        "columns/gone/shard-00000.json",
        "columns/gone/shard-00000.0123456789abcdef.zarr.zip",
        "columns/x/shard-00001.0123456789abcdef.zarr.zip",
        "pins/0123.json",
        "samples.0123456789abcdef.parquet",
    ]
    for key in keys:
        objects.put(key, column)
    return keys


def test_a_whole_store_has_no_garbage(store: FeatureStore, url: str) -> None:
    store.append_samples([SampleRow(id="t0")])
    collect_garbage(FeatureStore.open(url), grace_s=0, is_deleting=True)  # the table before
    before = contents(url)
    assert swept(url) == []
    assert contents(url) == before


def test_what_nothing_refers_to_goes_and_nothing_else(store: FeatureStore, url: str) -> None:
    objects = open_objects(url)
    objects.put("notes.txt", b"mine")
    objects.put("columns/gone/notes.txt", b"mine")
    objects.put("claims/00000.json", b"a lease")
    before = contents(url)
    left = litter(url)
    dry = collect_garbage(FeatureStore.open(url), grace_s=0)
    assert sorted(one.file for one in dry.garbage) == sorted(left)
    assert len(contents(url)) == len(before) + len(left)
    assert sorted(swept(url)) == sorted(left)
    assert contents(url) == before
    assert verify(url) == []


def test_what_is_young_stays(store: FeatureStore, url: str) -> None:
    left = litter(url)
    sweep = collect_garbage(FeatureStore.open(url), grace_s=DAY_S, is_deleting=True)
    assert sweep.garbage == []
    assert sorted(one.file for one in sweep.kept) == sorted(left)
    assert all("written" in one.why and "ago" in one.why for one in sweep.kept)


def test_shards_of_a_replaced_column_go_unless_a_run_pins_them(
    store: FeatureStore, url: str, tmp_path: Path
) -> None:
    objects = open_objects(url)
    old = [key for key in contents(url) if key.endswith(".zarr.zip")]
    receipts = {key: data for key, data in contents(url).items() if "shard-0" in key}
    with store.add_column(info(1), replace=True) as writer:
        writer.commit(0, shard(7.0))
    for key in receipts:
        if key.endswith("1.json"):
            objects.put(key, receipts[key])  # as when the replacing writer was killed at once
    run = tmp_path / "run"
    run.mkdir()
    with pinned(store, run, {"x": info().fingerprint}):
        sweep = collect_garbage(FeatureStore.open(url), grace_s=0, is_deleting=True)
    assert [one.file for one in sweep.garbage] == [key for key in old if "shard-00000" in key]
    assert [one.why for one in sweep.kept] == [
        f"of a column that was replaced; the run {run} pins it"
    ]
    run.rmdir()
    assert [key for key in swept(url) if "pins" in key]
    assert swept(url) == [key for key in old if "shard-00001" in key]
    assert FeatureStore.open(url).column("x").rows(0)[0, 0] == 7.0


def test_a_pin_holds_for_a_day_after_it_was_renewed(
    store: FeatureStore, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with pinned(store, run, {"x": info().fingerprint}):
        pass
    with pinned(store, run, {"x": info().fingerprint}):
        pass
    objects = open_objects(url)
    (pin,) = pins.read_pins(objects)
    assert pin.pin.run == str(run)
    assert not pin.is_expired
    elsewhere = pin.pin.model_copy(update={"host": "elsewhere"})
    for age_s, seen, is_expired in [
        (pins.EXPIRY_S - 60, elsewhere, False),
        (pins.EXPIRY_S + 60, elsewhere, True),
        (pins.EXPIRY_S + 60, pin.pin, False),  # its folder is here
    ]:
        assert pins.RemotePin(pin.key, seen, age_s).is_expired == is_expired
    run.rmdir()
    assert pins.RemotePin(pin.key, pin.pin, pins.EXPIRY_S + 60).is_expired
    now = now_s(objects)
    monkeypatch.setattr(pins, "now_s", lambda objects: now + pins.EXPIRY_S + 60)
    assert swept(url) == [pin.key]
    assert pins.read_pins(objects) == []
    store.drop_column("x")


def test_a_pin_is_renewed_while_its_run_goes_on(
    store: FeatureStore, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scfae.store.pins.RENEWAL_S", 0.02)
    objects = open_objects(url)
    with pinned(store, tmp_path, {"x": info().fingerprint}):
        (pin,) = pins.read_pins(objects)
        objects.delete(pin.key)
        while pin.key not in contents(url):
            pass
    objects.delete(pin.key)
    assert pin.key not in contents(url)


def test_a_damaged_pin_stops_what_it_may_forbid(
    store: FeatureStore, url: str, tmp_path: Path
) -> None:
    with pinned(store, tmp_path, {"x": info().fingerprint}):
        pass
    objects = open_objects(url)
    (pin,) = pins.read_pins(objects)
    objects.put(pin.key, objects.get(pin.key)[:-9])
    assert [one.file for one in verify(url)] == [pin.key]
    for refused in (lambda: store.drop_column("x"), lambda: swept(url)):
        with pytest.raises(CorruptShard, match="Remove it if no run needs it"):
            refused()


def test_what_is_written_anew_while_garbage_is_removed_stays(
    store: FeatureStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = open_objects(url)
    table = "samples.0123456789abcdef.parquet"
    objects.put(table, b"left by a kill")
    real = garbage._table_now

    def then(asked: RemoteStore) -> str:
        return table if table not in contents(url) else real(asked)

    monkeypatch.setattr(garbage, "_table_now", then)  # an append commits just that table meanwhile
    sweep = collect_garbage(FeatureStore.open(url), grace_s=0, is_deleting=True)
    assert [one.file for one in sweep.kept] == [table]
    assert contents(url)[table] == b"left by a kill"


def test_only_garbage_collection_lists(
    store: FeatureStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []
    for name in ("entries", "folders"):
        real = getattr(type(open_objects(url)), name)

        def noting(self: Any, *arguments: Any, real: Any = real) -> Any:
            listed.append(real.__name__)
            return real(self, *arguments)

        monkeypatch.setattr(type(open_objects(url)), name, noting)
    again = FeatureStore.open(url)
    again.column("x").rows(0)
    again.rename_column("x", "y")
    again.drop_column("y")
    assert listed == []
    assert swept(url) == []
    assert listed == ["entries"]
