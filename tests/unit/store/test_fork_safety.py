"""What a reader computes once and keeps holds no lock that a forked child would wait for."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfae.store import FeatureStore, reader, view
from scfae.store.lazy import lazy_property
from scfae.store.shard import ShardReader
from scfae.store.testing import make_store

WAIT_S = 20.0


def first_shard(store: FeatureStore) -> ShardReader:
    column = store.column("video")
    receipt = column.receipt(0)
    assert receipt is not None
    return ShardReader(column.folder / receipt.file, receipt)


def read_all(store: FeatureStore) -> None:
    column = store.column("video")
    counts = column.lengths
    out = np.zeros((int(counts.sum()), column.info.dim), np.float32)
    column.read_batch(np.arange(len(counts)), out, at=np.cumsum(counts) - counts, counts=counts)


INSIDE: list[tuple[Any, str, Callable[[FeatureStore], object]]] = [
    (ShardReader, "locate", lambda s: first_shard(s).layout),
    (reader, "read_index", lambda s: s.column("video").lengths),
    (reader, "Places", read_all),
    (view, "digest", lambda s: s.view(video="video").fingerprint),
]


def status_of(child: int) -> int | None:
    """Return how a child ended; None, and it is killed, if it waits for ever."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return None


@pytest.mark.parametrize(
    ("owner", "name", "use"), INSIDE, ids=["layout", "index", "places", "fingerprint"]
)
def test_a_child_forked_while_a_thread_computes_what_is_kept_computes_it_itself(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    use: Callable[[FeatureStore], object],
) -> None:
    make_store(tmp_path, num_samples=12, shard_size=4)
    is_inside, may_go_on = threading.Event(), threading.Event()
    compute, forker = getattr(owner, name), threading.get_ident()

    def slowly(*arguments: Any, **options: Any) -> Any:
        if threading.get_ident() != forker:
            is_inside.set()
            may_go_on.wait()
        return compute(*arguments, **options)

    monkeypatch.setattr(owner, name, slowly)
    thread = threading.Thread(target=use, args=(FeatureStore.open(tmp_path),))
    thread.start()
    try:
        assert is_inside.wait(WAIT_S)
        child = os.fork()
        if child == 0:
            use(FeatureStore.open(tmp_path))
            os._exit(7)
        assert status_of(child) == 7
    finally:
        may_go_on.set()
        thread.join()


def test_what_was_computed_first_is_what_all_threads_get() -> None:
    both = threading.Barrier(2)

    class Thing:
        @lazy_property
        def value(self) -> object:
            """A new object each time."""
            both.wait(WAIT_S)
            return object()

    thing, found = Thing(), []
    threads = [threading.Thread(target=lambda: found.append(thing.value)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] is found[1] is thing.value
    assert Thing.__dict__["value"].__doc__ == "A new object each time."


def test_the_store_keeps_nothing_under_a_lock_of_all_objects() -> None:
    folder = Path(reader.__file__).parent
    users = [p.name for p in folder.rglob("*.py") if "import cached_property" in p.read_text()]
    assert users == []
