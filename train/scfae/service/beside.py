"""The worker beside a server: started with it, started again when it is killed."""

import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from scfae.store.atomic import write_atomic

from .processes import is_alive, process_of, send
from .record import Process

logger = logging.getLogger("scfae.service")

LONGEST_PAUSE_S = 60.0
_STEADY_S = 30.0
"""A worker that lived so long had no trouble of its own; it is started again at once."""
_FILE = "beside.json"


class WorkerBeside:
    """Keeps one worker beside a server.

    It lives on where the server is killed, so a server that comes back ends the one of before: two
    would give two jobs to each GPU.

    Args:
        folder: The service's folder.
        words: Its command.
    """

    def __init__(self, folder: Path, words: Sequence[str]) -> None:
        self._folder, self._words = folder, list(words)
        self._is_ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="worker beside", daemon=True)

    def start(self) -> None:
        """Start it."""
        self._end_former()
        self._process = self._spawn()
        self._thread.start()

    def stop(self) -> None:
        """Ask it to stop; it does to its jobs what it was told."""
        self._is_ending.set()
        self._thread.join()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def _keep(self) -> None:
        pause_s, begun_s = 1.0, time.monotonic()
        while not self._is_ending.wait(0.2):
            status = None if self._process is None else self._process.poll()
            if self._process is not None and status is None:
                continue
            if status == 0:
                return  # it was drained
            pause_s = 1.0 if time.monotonic() - begun_s > _STEADY_S else pause_s * 2
            logger.error("the worker has gone (%s); another is started", status)
            if self._is_ending.wait(min(pause_s, LONGEST_PAUSE_S)):
                return
            begun_s = time.monotonic()
            try:
                self._process = self._spawn()
            except OSError:
                self._process = None
                logger.exception("a worker could not be started")

    def _spawn(self) -> "subprocess.Popen[bytes]":
        # To a file of its own: the worker lives on where the server, and who reads it, is killed.
        with open(self._folder / "worker.log", "ab") as log:
            child = subprocess.Popen(self._words, stderr=log, stdout=log, start_new_session=True)
        both = {"server": process_of(os.getpid()), "worker": process_of(child.pid)}
        text = json.dumps({name: one.model_dump() for name, one in both.items()})
        write_atomic(self._folder / _FILE, text.encode())
        return child

    def _end_former(self) -> None:
        """End the worker of a server that was killed; that of one that lives is let be."""
        try:
            both = json.loads((self._folder / _FILE).read_text())
        except FileNotFoundError:
            return
        server, worker = (Process.model_validate(both[name]) for name in ("server", "worker"))
        if is_alive(server) is False and is_alive(worker):
            # It holds nothing that it cannot lose, and asked to stop it might stop its jobs too.
            send(worker, signal.SIGKILL)
