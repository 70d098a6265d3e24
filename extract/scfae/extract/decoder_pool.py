"""Decoding in child processes: bounded in time and memory, results in the order of the requests.

A child is started by exec, never by fork alone, and is used for many files. One that takes longer
than the limit, or dies, costs the file it was at: that file is `failed`, and a new child goes on.
A long file comes in parts, and a child waits while nobody takes them; waiting is not counted.
"""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from .decoders import DecoderName
from .limits import Limits
from .media import Decoded, Fate, Part
from .recipe import Recipe
from .texts import MediaSource

# Importing the decoders, or a recipe's library, takes long on a cold disk: not the file's time.
_START_S = 300.0
_END_S = 5.0
_PARTS_AHEAD = 2
_CLOSED_CHECK_S = 0.2

Message = Part | Decoded


@dataclass(frozen=True, slots=True)
class Request:
    """One file to decode.

    Attributes:
        path: The file, or a text.
        recipes: By name; every one of them is fed by the one decode.
    """

    path: MediaSource
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

    def decode(self, request: Request, limits: Limits, decoder: DecoderName) -> Iterator[Message]:
        """Yield the parts of one file and then what became of it.

        Raises:
            TimeoutError: If the child worked on it for too long.
            EOFError: If the child died.
        """
        left_s = limits.timeout_s
        try:
            self.connection.send((request.path, dict(request.recipes), limits, decoder))
            self._receive(_START_S)
            while True:
                begun_s = time.monotonic()
                message: Message = self._receive(max(0.0, left_s))
                left_s -= time.monotonic() - begun_s
                yield message
                if isinstance(message, Decoded):
                    return
        except TimeoutError:
            raise
        except OSError:  # it died, perhaps in the middle of a message
            raise EOFError from None

    def _receive(self, within_s: float) -> Any:
        if not self.connection.poll(within_s):
            raise TimeoutError
        return self.connection.recv()

    def stop(self, *, is_ending: bool = False) -> int:
        """Kill the child and return its exit status, its own one if it is ending anyway."""
        if is_ending:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_END_S)
        self.process.kill()
        status = self.process.wait()
        self.connection.close()
        return status


class DecoderPool:
    """Child processes that decode; use it in a `with` block.

    Args:
        workers: Children, and so files decoded at a time.
        limits: Bounds on each file.
        ahead: Decoded files that may wait to be taken, beyond those in decoding.
        decoder: Who decodes the pictures of videos.
    """

    def __init__(
        self,
        workers: int,
        limits: Limits | None = None,
        *,
        ahead: int = 2,
        decoder: DecoderName = "pyav",
    ) -> None:
        self._decoder = decoder
        self._limits = limits or Limits()
        self._in_flight = workers + ahead
        self._local = threading.local()
        self._children: set[_Child] = set()
        self._lock = threading.Lock()
        self._is_closed = threading.Event()
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
        # First of all no file may begin any more: it would begin a child that nobody stops.
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._is_closed.set()
            children, self._children = self._children, set()
        for child in children:
            child.process.kill()
        self._threads.shutdown(wait=True)
        for child in children:
            child.stop()

    def decode(self, requests: Iterable[Request]) -> Iterator[Message]:
        """Yield, request by request in order, the parts of a file and then what became of it.

        A bounded number of files is decoded ahead, each up to a bounded number of parts.
        """
        waiting: deque[queue.Queue[Message | BaseException]] = deque()
        pending = iter(requests)
        while True:
            while len(waiting) < self._in_flight:
                request = next(pending, None)
                if request is None:
                    break
                messages: queue.Queue[Message | BaseException] = queue.Queue(_PARTS_AHEAD)
                self._threads.submit(self._decode, request, messages)
                waiting.append(messages)
            if not waiting:
                return
            message = waiting[0].get()
            if isinstance(message, BaseException):
                raise message
            if isinstance(message, Decoded):
                waiting.popleft()
            yield message

    def _decode(self, request: Request, out: "queue.Queue[Message | BaseException]") -> None:
        try:
            child = self._child()
            try:
                for message in child.decode(request, self._limits, self._decoder):
                    self._put(out, message)
            except TimeoutError:
                self._discard(child)
                limit = f"{self._limits.timeout_s:g} s (--timeout)"
                self._put(out, _failed(request, f"decoding took longer than {limit}"))
            except EOFError:
                status = self._discard(child, is_ending=True)
                self._put(out, _failed(request, f"the decoder died ({_ending(status)})"))
        except BaseException as error:  # whatever it is, the consumer must not wait for ever
            self._put(out, error)
            raise

    def _put(self, out: "queue.Queue[Message | BaseException]", message: object) -> None:
        while not self._is_closed.is_set():
            try:
                out.put(message, timeout=_CLOSED_CHECK_S)  # type: ignore[arg-type]
                return
            except queue.Full:
                continue

    def _child(self) -> _Child:
        child: _Child | None = getattr(self._local, "child", None)
        if child is None:
            with self._lock:
                if self._is_closed.is_set():
                    raise InterruptedError("the decoder pool is closed")
                child = _Child()
                self._children.add(child)
            self._local.child = child
        return child

    def _discard(self, child: _Child, *, is_ending: bool = False) -> int:
        self._local.child = None
        with self._lock:
            self._children.discard(child)
        return child.stop(is_ending=is_ending)


def _failed(request: Request, reason: str) -> Decoded:
    return Decoded({name: Fate("failed", f"{reason}: {request.path}") for name in request.recipes})


def _ending(status: int) -> str:
    if status < 0:
        return signal.Signals(-status).name
    return f"exit status {status}"
