"""The folder of a job: the request, its history, what its process printed and left."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from scfae.store.atomic import atomic_folder, write_atomic
from scfae.store.errors import JobNotFound, RunError, ServiceError
from scfae.train.runs import RunFolder
from scfae.train.yaml_text import to_yaml

from .events import Events
from .jobs import JOB_ID
from .pace import Pace, pace
from .record import HistoryEvent, JobRecord, Process, Submitted, fold

_TAIL_BYTES = 8192
_HELD_S = 30.0
_EVENTS = Events()


class JobFolder:
    """A job's folder.

    Args:
        path: `SERVICE/runs/<id>`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        """The job's id."""
        return self.path.name

    @property
    def run_path(self) -> Path:
        """Folder of the run, or of the sweep."""
        return self.path / "run"

    @property
    def events_path(self) -> Path:
        """The run's events."""
        return self.run_path / "events.jsonl"

    @property
    def log_path(self) -> Path:
        """What the job's processes printed."""
        return self.path / "log.txt"

    @property
    def artifacts(self) -> Path:
        """What kinds other than trainings write."""
        return self.path / "artifacts"

    def exists(self) -> bool:
        """Return whether there is such a job."""
        return bool(JOB_ID.match(self.id)) and (self.path / "job.json").is_file()

    def create(self, submitted: Submitted) -> None:
        """Make the folder, whole or not at all."""
        with atomic_folder(self.path) as folder:
            (folder / "job.json").write_text(submitted.model_dump_json(indent=2) + "\n")
            settings = submitted.request.job.settings(self.path)
            if settings is not None:
                (folder / "request.yaml").write_text(to_yaml(settings), encoding="utf-8")
            (folder / "artifacts").mkdir()
            (folder / "log.txt").touch()

    def submitted(self) -> Submitted:
        """Return what was asked.

        Raises:
            JobNotFound: There is no such job.
            ServiceError: job.json is damaged.
        """
        path = self.path / "job.json"
        try:
            return Submitted.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise JobNotFound(f"there is no job {self.id}.") from None
        except (OSError, ValidationError) as error:
            raise ServiceError(f"{path} cannot be read: {error}") from None

    def history(self) -> list[HistoryEvent]:
        """Return every change since, in order; a line that a kill cut off does not count."""
        try:
            lines = (self.path / "history.jsonl").read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        events = []
        for line in lines:
            try:
                events.append(HistoryEvent.model_validate_json(line))
            except ValidationError:
                continue
        return events

    def record(self) -> JobRecord:
        """Return the job as it is now, by its folder."""
        return fold(self.submitted(), self.history())

    def append(self, event: HistoryEvent) -> None:
        """Append to the history; it survives a power cut. The caller holds the queue's lock."""
        with open(self.path / "history.jsonl", "ab+") as file:
            line = event.model_dump_json().encode() + b"\n"
            if file.tell() and not _ends_a_line(file.fileno(), file.tell()):
                line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the job for this process until its end; yield False if another has it for long.

        The process of an earlier attempt may still be on its way out.
        """
        with open(self.path / ".lock", "a") as file:
            until = time.monotonic() + _HELD_S
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > until:
                        yield False
                        return
                    time.sleep(0.1)
                else:
                    yield True
                    return

    def write_process(self, attempt: int, process: Process) -> None:
        """Write down which process does an attempt: its worker may be killed before it can."""
        text = json.dumps({"attempt": attempt, "process": process.model_dump()}) + "\n"
        write_atomic(self.path / "process.json", text.encode())

    def process(self, attempt: int) -> Process | None:
        """Return the process that does an attempt, by its own word; None if it said none."""
        try:
            document = json.loads((self.path / "process.json").read_text())
        except (OSError, ValueError):
            return None
        is_it = document["attempt"] == attempt
        return Process.model_validate(document["process"]) if is_it else None

    def write_exit(self, attempt: int, status: int) -> None:
        """Write down how a process of the job ended."""
        text = json.dumps({"attempt": attempt, "status": status}) + "\n"
        write_atomic(self.path / "exit.json", text.encode())

    def exit_status(self, attempt: int) -> int | None:
        """Return how the process of an attempt ended; None if it could not say."""
        try:
            document = json.loads((self.path / "exit.json").read_text())
        except (OSError, ValueError):
            return None
        return int(document["status"]) if document["attempt"] == attempt else None

    def run(self) -> RunFolder | None:
        """Return the run of a training, if it has begun."""
        return RunFolder(self.run_path) if RunFolder.exists(self.run_path) else None

    def progress(self) -> dict[str, Any]:
        """Return how far the run is: step, total_steps, epoch, epochs, best; empty if unknown."""
        try:
            state = json.loads((self.run_path / "state.json").read_text())
        except (OSError, ValueError):
            return {}
        kept = ("step", "total_steps", "epoch", "epochs", "best", "error")
        return {name: state[name] for name in kept if name in state}

    def summary(self) -> dict[str, Any]:
        """Return what a list of jobs shows of an ended run: how far it is, and its line."""
        progress = self.progress()
        return progress | {"spark": list(self.pace().spark)} if progress else progress

    def pace(self) -> Pace:
        """Return how fast the run goes, or went."""
        return pace(_EVENTS.of(self.events_path), self.progress())

    def is_run_finished(self) -> bool:
        """Return whether the run is trained, and measured if that was asked for."""
        job = self.submitted().request.job
        try:
            run = self.run()
            if run is None or run.state()["state"] != "finished":
                return False
            return not job.then(self.path) or run.evaluation() is not None
        except RunError:
            return False

    def last_line(self) -> str:
        """Return the last line of the log that says something."""
        try:
            with open(self.log_path, "rb") as file:
                file.seek(max(0, self.log_path.stat().st_size - _TAIL_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return ""
        said = (line.strip() for line in reversed(lines))
        return next((line for line in said if line), "")


def job_folders(runs: Path) -> Iterator[JobFolder]:
    """Yield the folder of every job, by id."""
    for path in sorted(runs.iterdir()):
        folder = JobFolder(path)
        if folder.exists():
            yield folder


def _ends_a_line(descriptor: int, size: int) -> bool:
    return os.pread(descriptor, 1, size - 1) == b"\n"
