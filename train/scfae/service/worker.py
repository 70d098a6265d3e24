"""A worker: claims jobs, starts one process for each, and says how they ended.

It holds nothing that it cannot lose. Its jobs' processes run in sessions of their own and write to
files; when it comes back, or another worker sees that it has gone, those that still run are
adopted and the others' ends are read from their folders.
"""

import logging
import os
import re
import secrets
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Literal

from scfae.store.errors import ConfigError, JobNotFound, ScfaeError

from .ends import after_interruption, end_of
from .processes import is_alive, process_of, send, spawn
from .queue import Queue
from .record import JobRecord
from .roster import Roster, WorkerRecord
from .states import ACTIVE, STARTED_S

logger = logging.getLogger("scfae.service.worker")

HEARTBEAT_S = 5.0
TROUBLE_S = 2.0
"""Pause after a step that failed."""
OnStop = Literal["leave", "checkpoint"]
_GPU = re.compile(r"\d+|(GPU|MIG)-[\w/-]+")


@dataclass
class Worker:
    """One worker of a service folder.

    Attributes:
        queue: The jobs.
        gpus: One GPU a slot; empty for slots that all see what this process sees.
        num_slots: Jobs at a time; ignored where there are GPUs.
        grace_s: Seconds between SIGTERM and SIGKILL of a job that is cancelled.
        on_stop: Whether jobs go on after this worker's end, or save and are queued again.
        poll_s: Seconds between two looks.
        id: Its name in the history.
    """

    queue: Queue
    gpus: Sequence[str] = ()
    num_slots: int = 1
    grace_s: float = 60.0
    on_stop: OnStop = "leave"
    poll_s: float = 0.3
    id: str = field(default_factory=lambda: f"{socket.gethostname()}-{secrets.token_hex(3)}")

    def __post_init__(self) -> None:
        self._roster = Roster(self.queue.database)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._signalled: dict[str, signal.Signals] = {}
        self._told_s = 0.0
        self._stop: int | None = None
        self._is_draining = False

    def run(self) -> None:
        """Work until SIGTERM or SIGINT comes, or the worker is drained and its jobs have ended."""
        before = {one: signal.signal(one, self._ask) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            while self._stop is None:
                try:
                    self.step()
                    if self._is_draining and not self._mine():
                        break
                except (ScfaeError, OSError, sqlite3.Error):
                    # A full disk or a locked index passes; a worker that has gone does not return.
                    logger.exception("worker %s", self.id)
                    time.sleep(TROUBLE_S)
                time.sleep(self.poll_s)
            if self._stop is not None and self.on_stop == "checkpoint":
                self._checkpoint_all()
        finally:
            self._roster.remove(self.id)
            for one, handler in before.items():
                signal.signal(one, handler)

    def step(self) -> None:
        """Look once: beat, end what has ended, take over what is left alone, start what waits."""
        self._beat()
        for record in self.queue.active():
            try:
                self._look(record)
            except JobNotFound:
                self.queue.leave_out(record.id)
                if child := self._children.get(record.id):
                    child.kill()
                self._forget(record.id)
            except (ScfaeError, OSError):
                logger.exception("job %s", record.id)  # the others are looked after all the same
        if self._is_draining or self._stop is not None:
            return
        free = self._free_slots()
        while free:
            claimed = self.queue.claim(self.id, free[0])
            if claimed is None:
                return
            self._start(claimed)
            free = self._free_slots()

    def _look(self, record: JobRecord) -> None:
        if record.state == "interrupted":
            self._after_interruption(record)
        elif record.worker == self.id:
            self._look_after(record)
        elif record.worker is None or self._roster.is_gone(record.worker):
            self._take_over(record)
        elif record.deadline_s is not None and time.time() > record.deadline_s:
            self._interrupt(record, f"worker {record.worker} did not start it in time")

    def _look_after(self, record: JobRecord) -> None:
        """Look after a job of this worker."""
        child = self._children.get(record.id)
        if child is not None and record.state == "starting":
            # Its start could not be written down then.
            process = process_of(child.pid)
            self.queue.start(record.id, record.attempt, process, worker=self.id)
        elif child is not None and child.poll() is None:
            self._obey(record)
        elif child is None and record.process is not None and is_alive(record.process):
            self._obey(record)  # adopted: somebody else's child
        elif record.state == "running":
            self._end(record)
        elif record.deadline_s is not None and time.time() > record.deadline_s:
            self._interrupt(record, "its process could not be started in time")

    def _take_over(self, record: JobRecord) -> None:
        """Adopt a job whose worker has gone, or end it."""
        process = record.process or self.queue.job(record.id).process(record.attempt)
        # Of a process on another machine, whose worker has been silent for long, nothing is hoped.
        if process is not None and is_alive(process):
            slots = self._free_slots()
            if not slots:
                self._obey(record.model_copy(update={"process": process}))
            elif self.queue.adopt(record.id, worker=self.id, slot=slots[0], before=record.worker):
                self.queue.start(record.id, record.attempt, process, worker=self.id)
        elif record.state == "running":
            self._end(record)
        elif process is not None or time.time() > record.changed_s + STARTED_S:
            self._interrupt(record, f"worker {record.worker} has gone")

    def _obey(self, record: JobRecord) -> None:
        """Pass on to a job's processes that someone wants it to end."""
        if record.wish is None or record.process is None or record.wished_s is None:
            return
        is_late = time.time() - record.wished_s > self.grace_s
        wanted = signal.SIGKILL if record.wish == "kill" or is_late else signal.SIGTERM
        if self._signalled.get(record.id) != wanted:
            self._signalled[record.id] = wanted
            logger.info("job %s: %s", record.id, wanted.name)
            send(record.process, wanted)

    def _end(self, record: JobRecord) -> None:
        """Say how a job ended whose process has gone."""
        folder = self.queue.job(record.id)
        end = end_of(record, folder)
        details = {"summary": folder.summary(), "is_planned": end.is_planned}
        attempt = record.attempt
        after = self.queue.move(
            record.id,
            end.state,
            actor=f"worker:{self.id}",
            reason=end.reason,
            details=details,
            only_if=lambda now: now.state == "running" and now.attempt == attempt,
        )
        self._forget(record.id)
        logger.info("job %s: %s %s", record.id, after.state, after.reason)
        if after.state == "interrupted":
            self._after_interruption(after)

    def _interrupt(self, record: JobRecord, reason: str) -> None:
        """Give up an attempt that has not begun; nothing happens if it has meanwhile."""
        attempt = record.attempt
        after = self.queue.move(
            record.id,
            "interrupted",
            actor=f"worker:{self.id}",
            reason=reason,
            only_if=lambda now: now.state == "starting" and now.attempt == attempt,
        )
        self._forget(record.id)
        if after.state == "interrupted":
            self._after_interruption(after)

    def _after_interruption(self, record: JobRecord) -> None:
        # A process that was slow to say that it is there may have begun all the same; it must not
        # work beside the next one.
        late = self.queue.job(record.id).process(record.attempt)
        if late is not None and is_alive(late):
            send(late, signal.SIGKILL)
            return
        end = after_interruption(record)
        seq = record.seq
        self.queue.move(
            record.id,
            end.state,
            actor=f"worker:{self.id}",
            reason=end.reason,
            only_if=lambda now: now.state == "interrupted" and now.seq == seq,
        )

    def _start(self, record: JobRecord) -> None:
        folder = self.queue.job(record.id)
        gpu = self.gpus[record.slot or 0] if self.gpus else None
        try:
            child = spawn(folder, record.attempt, gpu)
        except (ScfaeError, OSError) as error:
            self._interrupt(record, f"its process could not be started: {error}")
            return
        self._children[record.id] = child
        self.queue.start(record.id, record.attempt, process_of(child.pid), worker=self.id)
        logger.info("job %s: attempt %d is process %d", record.id, record.attempt, child.pid)

    def _checkpoint_all(self) -> None:
        """Have every job save and stop, and queue it again for the next worker."""
        for record in self._mine():
            if record.process is not None:
                send(record.process, signal.SIGTERM)
        until = time.monotonic() + self.grace_s
        while self._mine() and time.monotonic() < until:
            for record in self._mine():
                self._look_after(record)
            self._beat()
            time.sleep(self.poll_s)

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._told_s < HEARTBEAT_S and self._told_s:
            return
        self._told_s = now
        record = WorkerRecord(
            id=self.id,
            process=process_of(os.getpid()),
            host=socket.gethostname(),
            num_slots=len(self.gpus) or self.num_slots,
            gpus=tuple(self.gpus),
            on_stop=self.on_stop,
        )
        self._is_draining = self._roster.beat(record)

    def _free_slots(self) -> list[int]:
        taken = {record.slot for record in self._mine()}
        return [slot for slot in range(len(self.gpus) or self.num_slots) if slot not in taken]

    def _mine(self) -> list[JobRecord]:
        return [
            record
            for record in self.queue.active()
            if record.worker == self.id and record.state in ACTIVE
        ]

    def _forget(self, job_id: str) -> None:
        child = self._children.pop(job_id, None)
        if child is not None:
            child.wait()
        self._signalled.pop(job_id, None)

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        self._stop = signum


def visible_gpus() -> list[str]:
    """Return the numbers of the GPUs that this process may use."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [one.strip() for one in named.split(",") if one.strip()]
    return sorted(
        (path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")), key=int
    )


def named_gpus(words: Sequence[str], num_slots: int) -> list[str]:
    """Return the GPU of each slot as a job's environment takes it; no slots for no GPUs.

    Args:
        words: `auto` for all there are, `none` to hide them, or numbers and UUIDs of GPUs.
        num_slots: Jobs at a time where GPUs are hidden.

    Raises:
        ConfigError: A word is none of these, or comes twice.
    """
    if tuple(words) == ("auto",):
        return visible_gpus()
    if tuple(words) == ("none",):
        return [""] * num_slots
    for word in words:
        if not _GPU.fullmatch(word):
            raise ConfigError(
                f"--gpus {word}: numbers of GPUs are due, such as 0 1, or their UUIDs; or auto "
                "alone, or none alone."
            )
    if len(set(words)) < len(words):
        raise ConfigError(f"--gpus {' '.join(words)}: a GPU is named twice.")
    return list(words)
