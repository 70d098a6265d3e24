"""One thread reads ahead, no further than its depth, and is gone when nobody listens."""

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from scfae.store import prefetch
from scfae.store.prefetch import Prefetcher


def wait_until(condition: Callable[[], bool], limit_s: float = 5.0) -> bool:
    end = time.monotonic() + limit_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def threads() -> int:
    return sum(thread.name == "loader" for thread in threading.enumerate())


@pytest.mark.parametrize("depth", [1, 2, 100])
def test_items_come_once_and_in_order(depth: int) -> None:
    assert list(Prefetcher(iter(range(50)), depth)) == list(range(50))
    assert threads() == 0


def test_the_end_stays_the_end() -> None:
    ahead = Prefetcher(iter([1]), 2)
    assert list(ahead) == [1]
    assert list(ahead) == []
    with pytest.raises(StopIteration):
        next(ahead)


@pytest.mark.parametrize("error", [ValueError("bad"), MemoryError(), KeyboardInterrupt()], ids=repr)
def test_an_error_comes_after_the_items_before_it_and_is_the_same(error: BaseException) -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise error

    ahead = Prefetcher(source(), 5)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(type(error)) as raised:
        next(ahead)
    assert raised.value is error
    assert list(ahead) == []
    assert threads() == 0


@pytest.mark.parametrize("depth", [1, 3])
def test_it_reads_no_further_than_its_depth(depth: int) -> None:
    read: list[int] = []

    def source() -> Iterator[int]:
        for i in range(100):
            read.append(i)
            yield i

    ahead = Prefetcher(source(), depth)
    assert wait_until(lambda: len(read) == depth + 1)
    time.sleep(0.05)
    assert len(read) == depth + 1  # the queue, and the one that waits for room
    next(ahead)
    assert wait_until(lambda: len(read) == depth + 2)
    ahead.close()


def test_closing_early_ends_the_thread_also_while_it_waits_for_room() -> None:
    ahead = Prefetcher(iter(range(1000)), 1)
    assert next(ahead) == 0
    assert threads() == 1
    ahead.close()
    ahead.close()
    assert threads() == 0
    assert list(ahead) == []


def test_a_prefetcher_nobody_refers_to_ends_its_thread() -> None:
    ahead = Prefetcher(iter(range(1000)), 1)
    next(ahead)
    del ahead
    gc.collect()
    assert wait_until(lambda: threads() == 0)


def test_a_forked_child_gets_an_error_and_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    # The loader is in the middle of a read that takes for ever, which a fork waits for in vain.
    monkeypatch.setattr(prefetch, "_FORK_WAIT_S", 0.1)
    released = threading.Event()

    def source() -> Iterator[int]:
        released.wait()
        yield 1

    waiting = Prefetcher(source(), 1)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            next(waiting)
        except RuntimeError as error:
            os.write(writing, str(error).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        message = pipe.read()
    os.waitpid(child, 0)
    released.set()
    assert list(waiting) == [1]
    assert "do not use an iterator in a forked process" in message


def test_the_interpreter_ends_while_a_thread_is_reading_ahead() -> None:
    code = """
from scfae.store import FeatureStream, MemoryView
import numpy as np
view = MemoryView([str(i) for i in range(64)], {"v": [np.ones((4, 8), "float32")] * 64})
kept = iter(FeatureStream(view, 2, prefetch=2))
next(kept)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"")
