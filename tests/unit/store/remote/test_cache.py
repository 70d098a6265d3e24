"""The local cache: bounded, filled ahead in plan order, what is behind goes first."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from scfae.store import ColumnInfo, FeatureStore, ShardSample
from scfae.store.atomic import sha256_file
from scfae.store.errors import ConfigError
from scfae.store.files import FilePool
from scfae.store.remote import ShardCache, open_objects
from scfae.store.sample_row import SampleRow

SHARDS = 8


class Recorder:
    """The objects of a store, noting what is downloaded."""

    def __init__(self, url: str) -> None:
        self._objects = open_objects(url)
        self.url = url
        self.keys: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failures = 0

    def download(self, key: str, path: Path) -> str:
        self.gate.wait(10)
        if self.failures > 0:
            self.failures -= 1
            raise OSError("the server is away")
        self.keys.append(key)
        return self._objects.download(key, path)

    def __getattr__(self, name: str) -> object:
        return getattr(self._objects, name)


@pytest.fixture
def store(url: str) -> FeatureStore:
    rows = [SampleRow(id=f"s{i}") for i in range(SHARDS)]
    store = FeatureStore.create(url, rows, shard_size=1)
    info = ColumnInfo.create("x", "audio", encoder="e", dim=100, weights="random:0")
    with store.add_column(info) as writer:
        for shard in range(SHARDS):
            rows_of = np.full((2, 100), shard, np.float32)
            writer.commit(shard, [ShardSample(rows=rows_of)])
    return store


@pytest.fixture
def parts(
    store: FeatureStore, url: str, tmp_path: Path
) -> tuple[ShardCache, Recorder, list[Path], int]:
    """Return a cache for three shards, its objects, the path of each shard, and a shard's size."""
    column = store.column("x")
    receipts = [column.receipt(shard) for shard in range(SHARDS)]
    size = max(one.bytes for one in receipts if one is not None)
    objects = Recorder(url)
    pool = FilePool()
    cache = ShardCache(objects, tmp_path / "copies", max_bytes=3 * size, pool=pool)  # type: ignore[arg-type]
    pool.fetch = cache.ensure
    paths = [cache.path(f"columns/x/{r.file}", r) for r in receipts if r is not None]
    return cache, objects, paths, size


def wait_until(condition: object, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:  # type: ignore[operator]
        time.sleep(0.01)
    assert condition()  # type: ignore[operator]


def test_the_plan_is_fetched_ahead_and_what_is_behind_goes_first(
    parts: tuple[ShardCache, Recorder, list[Path], int],
) -> None:
    cache, objects, paths, size = parts
    order = [paths[k] for k in (5, 1, 7, 0, 2)]
    cache.plan([[path] for path in order])
    wait_until(lambda: sum(path.exists() for path in order) == 3)
    assert {p for p in order if p.exists()} == set(order[:3])
    for path in order:
        cache.ensure(path)
        assert path.exists()
        # One look at the folder: shards come and go meanwhile.
        assert len({one.name for one in paths} & set(os.listdir(path.parent))) <= 3
    assert len(objects.keys) == len(order)  # none was fetched twice
    assert cache.num_bytes <= 3 * size


def test_fetching_ahead_goes_on_after_a_server_was_away(
    parts: tuple[ShardCache, Recorder, list[Path], int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("scfae.store.remote.cache._PAUSE_S", 0.02)
    monkeypatch.setattr("scfae.store.remote.cache._WAIT_S", 0.02)
    cache, objects, paths, _ = parts
    objects.failures = 12  # more than there are threads
    cache.plan([[path] for path in paths[:3]])
    wait_until(lambda: all(path.exists() for path in paths[:3]))
    assert len(objects.keys) == 3
    assert 1 <= len(caplog.messages) <= 3
    assert "ahead failed, trying again: the server is away" in caplog.text


def test_a_shard_that_cannot_be_fetched_holds_up_no_other(
    parts: tuple[ShardCache, Recorder, list[Path], int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("scfae.store.remote.cache._PAUSE_S", 0.001)
    monkeypatch.setattr("scfae.store.remote.cache._WAIT_S", 0.02)
    cache, objects, paths, _ = parts
    objects.delete(cache._known[paths[0]].key)  # type: ignore[operator]
    before = set(threading.enumerate())
    cache.plan([paths[:3]])
    wait_until(lambda: paths[1].exists() and paths[2].exists())
    wait_until(lambda: set(threading.enumerate()) <= before)  # the fillers have ended
    assert "ahead failed 8 times" in caplog.text
    with pytest.raises(FileNotFoundError):
        cache.ensure(paths[0])


def test_without_a_plan_the_least_recently_used_goes(
    parts: tuple[ShardCache, Recorder, list[Path], int],
) -> None:
    cache, _, paths, _ = parts
    for k in (0, 1, 2, 0, 3):
        cache.ensure(paths[k])
    assert [path.exists() for path in paths[:4]] == [True, False, True, True]


def test_two_windows_that_do_not_fit_are_refused_before_anything_is_read(
    parts: tuple[ShardCache, Recorder, list[Path], int],
) -> None:
    cache, objects, paths, _ = parts
    with pytest.raises(ConfigError, match="cache_bytes: the stream mixes shards of"):
        cache.plan([paths[:2], paths[2:4]])
    assert objects.keys == []


def test_threads_that_want_one_shard_fetch_it_once(
    parts: tuple[ShardCache, Recorder, list[Path], int],
) -> None:
    cache, objects, paths, _ = parts
    objects.gate.clear()
    threads = [threading.Thread(target=cache.ensure, args=(paths[0],)) for _ in range(4)]
    for thread in threads:
        thread.start()
    objects.gate.set()
    for thread in threads:
        thread.join()
    assert len(objects.keys) == 1


def test_a_cache_folder_of_another_bound_is_brought_within_it(
    parts: tuple[ShardCache, Recorder, list[Path], int], url: str
) -> None:
    cache, _, paths, size = parts
    for path in paths[:3]:
        cache.ensure(path)
    (paths[0].parent / ".tmp-left").write_bytes(b"killed")
    ShardCache(open_objects(url), paths[0].parent, max_bytes=size, pool=FilePool())
    assert len(list(paths[0].parent.iterdir())) == 1


def test_a_copy_of_an_earlier_process_is_compared_before_it_is_read(
    parts: tuple[ShardCache, Recorder, list[Path], int],
) -> None:
    cache, objects, paths, size = parts
    for path in paths[:3]:
        cache.ensure(path)
    paths[0].write_bytes(paths[0].read_bytes()[:-1] + b"x")
    paths[1].write_bytes(b"")  # as a power cut may leave it
    del objects.keys[:]
    again = ShardCache(objects, paths[0].parent, max_bytes=3 * size, pool=FilePool())  # type: ignore[arg-type]
    for path, known in cache._known.items():
        again._known[path] = known
    assert not any(path.exists() for path in paths)
    for path in paths[:3]:
        again.ensure(path)
        assert sha256_file(path) == path.name.partition(".")[0]
    assert len(objects.keys) == 2  # the third was whole
    assert again.num_bytes == sum(path.stat().st_size for path in paths[:3])
    assert len(list(paths[0].parent.iterdir())) == 3


def test_a_view_says_which_shards_come(store: FeatureStore, url: str) -> None:
    one = FeatureStore.open(url, cache_bytes=10_000)
    view = one.view(x="x")
    view.will_read([[3, 1], [0]])
    copies = one.path.parent / "shards"
    wait_until(lambda: len([p for p in copies.iterdir() if p.suffix == ".zip"]) == 3)
    assert view[3].features["x"][0, 0] == float(one.column("x").rows(3)[0, 0])
    store.view(x="x").will_read([[0]])
