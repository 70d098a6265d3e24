"""Decoding in child processes: bounded in time and number, results in the order of the requests.

A child is started by exec, never by fork alone, and is used for many files. One that takes longer
than the limit, or dies, costs the file it was at: that file is `failed`, and a new child goes on.
"""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self

from .limits import Limits
from .media import Decoded, Fate
from .recipe import Recipe

# Importing the decoders and the first recipe's torch takes seconds on a cold disk.
_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """One file to decode.

    Attributes:
        path: The file.
        recipes: By name; every one of them is fed by the one decode.
    """

    path: Path
    recipes: Mapping[str, Recipe]


class _Child:
    """One decoding process."""

    def __init__(self) -> None:
        ours, theirs = Pipe(duplex=True)
        self.connection: Connection = ours
        command = [sys.executable, "-m", "scfae.extract.decoder_child"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}  # parallel over files instead
        self.process = subprocess.Popen(
            [*command, str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment,
        )
        theirs.close()
        self.is_warm = False

    def decode(self, request: Request, limits: Limits) -> Decoded:
        """Return what became of one file.

        Raises:
            TimeoutError: If it took too long.
            EOFError: If the child died.
        """
        patience_s = limits.timeout_s + (0.0 if self.is_warm else _START_S)
        try:
            self.connection.send((request.path, dict(request.recipes), limits))
            if not self.connection.poll(patience_s):
                raise TimeoutError
            decoded: Decoded = self.connection.recv()
        except (BrokenPipeError, ConnectionResetError):
            raise EOFError from None
        self.is_warm = True
        return decoded

    def stop(self) -> int:
        """Kill the child and return its exit status."""
        self.connection.close()
        self.process.kill()
        return self.process.wait()


class DecoderPool:
    """Child processes that decode; use it in a `with` block.

    Args:
        workers: Children, and so files decoded at a time.
        limits: Bounds on each file.
        ahead: Decoded files that may wait to be taken, beyond those in decoding.
    """

    def __init__(self, workers: int, limits: Limits | None = None, *, ahead: int = 2) -> None:
        self._limits = limits or Limits()
        self._in_flight = workers + ahead
        self._local = threading.local()
        self._children: set[_Child] = set()
        self._lock = threading.Lock()
        self._is_closed = False
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decoder")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the children; files in decoding are given up."""
        with self._lock:
            self._is_closed = True
            children, self._children = self._children, set()
        for child in children:
            child.process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for child in children:
            child.stop()

    def decode(self, requests: Iterable[Request]) -> Iterator[Decoded]:
        """Yield what became of each file, in order; a bounded number is decoded ahead."""
        waiting: deque[Future[Decoded]] = deque()
        pending = iter(requests)
        try:
            for request in pending:
                waiting.append(self._threads.submit(self._decode, request))
                if len(waiting) >= self._in_flight:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _decode(self, request: Request) -> Decoded:
        child = self._child()
        try:
            return child.decode(request, self._limits)
        except TimeoutError:
            self._discard(child)
            return _failed(
                request,
                f"decoding took longer than {self._limits.timeout_s:g} s (--timeout): "
                f"{request.path}",
            )
        except EOFError:
            status = self._discard(child)
            return _failed(request, f"the decoder died ({_ending(status)}): {request.path}")

    def _child(self) -> _Child:
        child: _Child | None = getattr(self._local, "child", None)
        if child is None:
            with self._lock:
                if self._is_closed:
                    raise RuntimeError("the decoder pool is closed")
                child = _Child()
                self._children.add(child)
            self._local.child = child
        return child

    def _discard(self, child: _Child) -> int:
        self._local.child = None
        with self._lock:
            self._children.discard(child)
        return child.stop()


def _failed(request: Request, reason: str) -> Decoded:
    return Decoded({name: Fate("failed", reason) for name in request.recipes})


def _ending(status: int) -> str:
    if status < 0:
        return signal.Signals(-status).name
    return f"exit status {status}"
