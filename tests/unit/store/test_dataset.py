"""The stream behind a DataLoader: the same batches, with workers too, and no hang after a fork."""

import os
import pickle
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from torch.utils.data import DataLoader

from scfae.store import Batch, FeatureStream, MemoryView, StoreView, StreamDataset
from scfae.store.errors import StreamStateError
from scfae.store.prefetch import Prefetcher
from scfae.store.testing import make_store

TIMEOUT_S = 60
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),  # on a machine of one core
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> StoreView:
    folder = tmp_path_factory.mktemp("dataset") / "store"
    return make_store(folder, missing=0.3, shard_size=3).view(
        video="video", audio="audio", labels=["digit"]
    )


def stream(view: Any, **settings: Any) -> FeatureStream:
    return FeatureStream(view, 4, seed=3, masking="bernoulli:0.4", window_shards=4, **settings)


def loader(dataset: StreamDataset, workers: int, **settings: Any) -> DataLoader[Batch]:
    if workers:
        settings = {"multiprocessing_context": "fork", "timeout": TIMEOUT_S} | settings
    return DataLoader(dataset, batch_size=None, num_workers=workers, **settings)


def assert_same(some: list[Batch], others: list[Batch]) -> None:
    assert [batch.ids for batch in some] == [batch.ids for batch in others]
    for one, other in zip(some, others, strict=True):
        assert (one.present == other.present).all()
        assert (one.epoch, one.position) == (other.epoch, other.position)
        assert all((one.features[m] == other.features[m]).all() for m in one.features)


def test_without_workers_a_loader_gives_the_stream_and_moves_it(view: StoreView) -> None:
    mine = stream(view)
    assert_same(list(loader(mine.dataset(), 0)), list(stream(view)))
    assert mine.epoch == 1


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("has_read", [False, True])
def test_forked_workers_take_turns_and_do_not_hang(
    view: StoreView, workers: int, has_read: bool
) -> None:
    mine = stream(view, prefetch=2)
    kept = iter(stream(view, prefetch=2))
    if has_read:
        next(kept)  # its thread and open files are alive while the workers are forked
    loaded = loader(mine.dataset(), workers)
    assert len(loaded) == len(mine)
    assert_same(list(loaded), list(stream(view)))
    if has_read:
        assert len([next(kept), *kept]) == len(mine) - 1


def test_the_stream_itself_may_be_half_read_when_workers_are_forked(view: StoreView) -> None:
    mine = stream(view, prefetch=2)
    under_way = iter(mine)
    first = next(under_way)
    rest = list(loader(mine.dataset(), 2))
    assert_same([first, *rest], list(stream(view)))
    assert_same(list(under_way), list(stream(view))[1:])


def test_ranks_and_workers_together_are_the_stream(view: StoreView) -> None:
    parts = [list(loader(stream(view, rank=rank, world_size=2).dataset(), 2)) for rank in range(2)]
    together = [one.ids + other.ids for one, other in zip(*parts, strict=True)]
    assert together == [batch.ids for batch in stream(view)]


@pytest.mark.parametrize("persistent", [False, True])
def test_each_epoch_with_workers_is_set_and_a_repeated_one_refused(
    view: StoreView, persistent: bool
) -> None:
    dataset = stream(view).dataset()
    loaded = loader(dataset, 2, persistent_workers=persistent)
    for epoch in (0, 1, 5):
        dataset.set_epoch(epoch)
        assert_same(list(loaded), list(stream(view, epoch=epoch)))
    again: Any = iter(loaded)
    with pytest.raises(StreamStateError, match=r"call\s+dataset.set_epoch\(epoch\)"):
        next(again)
    again._shutdown_workers()  # the traceback keeps it: torch's __del__ would wait 5 s for each


def test_evaluation_may_be_repeated_with_workers(view: StoreView) -> None:
    dataset = FeatureStream(view, 4, shuffle=False).dataset()
    loaded = loader(dataset, 2)
    assert_same(list(loaded), list(loaded))


def test_the_state_behind_a_batch_of_a_worker_resumes_exactly(view: StoreView) -> None:
    dataset = stream(view).dataset()
    dataset.set_epoch(2)
    batches = list(loader(dataset, 2))
    with pytest.raises(StreamStateError, match="give that batch"):
        dataset.state_dict()
    again = stream(view).dataset()
    again.load_state_dict(dataset.state_dict(batches[3]))
    assert_same(list(loader(again, 2)), batches[4:])
    alone = stream(view)
    alone.load_state_dict(dataset.state_dict(batches[3]))
    assert_same(list(alone), batches[4:])


def test_a_stream_goes_to_another_process(view: StoreView) -> None:
    mine = stream(view)
    under_way = iter(mine)
    next(under_way)
    again = pickle.loads(pickle.dumps(mine))
    assert_same(list(again), list(stream(view))[1:])


@pytest.mark.slow
def test_spawned_workers_take_turns(view: StoreView) -> None:
    loaded = loader(stream(view).dataset(), 2, multiprocessing_context="forkserver")
    assert_same(list(loaded), list(stream(view)))


class Locking(MemoryView):
    """Holds a lock for a while in each read, as caches, codecs and file pools do."""

    lock = threading.Lock()

    def read_rows(self, i: int, modality: str, out: npt.NDArray[Any], *, first: int = 0) -> None:
        with self.lock:
            time.sleep(0.005)
            super().read_rows(i, modality, out, first=first)


def test_a_lock_that_the_loader_thread_holds_does_not_stop_a_forked_worker() -> None:
    rows = [np.ones((1, 2), dtype=np.float32)] * 24
    locking = Locking([f"s{i}" for i in range(24)], {"video": rows})
    expected = [batch.ids for batch in stream(locking)]
    # The thread of this iteration is in the middle of a read at nearly every instant.
    busy = iter(stream(locking, prefetch=20))
    next(busy)
    dataset = stream(locking).dataset()
    assert [batch.ids for batch in loader(dataset, 2, timeout=20)] == expected


def test_a_fork_waits_until_no_loader_reads() -> None:
    is_reading = threading.Event()

    def source() -> Iterator[int]:
        for i in range(3):
            is_reading.set()
            time.sleep(0.2)
            is_reading.clear()
            yield i

    ahead = Prefetcher(source(), 5)
    assert is_reading.wait(5)
    child = os.fork()
    if child == 0:
        os._exit(int(is_reading.is_set()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list(ahead) == [0, 1, 2]


def test_a_prefetcher_of_the_parent_is_harmless_in_a_child() -> None:
    ahead = Prefetcher(iter(range(100)), 1)
    next(ahead)
    is_held, is_forked = threading.Event(), threading.Event()

    def hold() -> None:  # as its thread may, in the instant of the fork
        with ahead._channel._changed:
            is_held.set()
            is_forked.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait()
    child = os.fork()
    if child == 0:
        ahead.close()
        os._exit(0)
    is_forked.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    ahead.close()
