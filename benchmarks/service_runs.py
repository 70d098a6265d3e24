"""A service folder full of finished runs, and runs that go on, written as trainers write them."""

import json
import math
import os
import secrets
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from tests.unit.service.services import training

from scfae.service import HistoryEvent, JobFolder, Queue
from scfae.service.processes import process_of
from scfae.service.record import Submitted

NUM_METRICS = 20
_GROUPS = ("train", "val")


def names() -> list[str]:
    """Return the names of the figures."""
    return [f"{_GROUPS[i % 2]}.figure_{i // 2:02d}" for i in range(NUM_METRICS)]


def epoch(number: int, seed: int) -> dict[str, Any]:
    """Return the event of an epoch."""
    figures: dict[str, dict[str, float]] = {group: {} for group in _GROUPS}
    for i, name in enumerate(names()):
        group, _, figure = name.partition(".")
        figures[group][figure] = math.exp(-number / 30) + ((seed * 31 + i * 7 + number) % 13) / 100
    return {"type": "epoch", "step": 100 * number, "epoch": number, "time": time.time(), **figures}


def fill(queue: Queue, count: int, epochs: int) -> list[str]:
    """Write so many finished runs; return their ids."""
    request = training(epochs=epochs)
    ids = []
    for number in range(count):
        job = f"{number:012x}"
        folder = JobFolder(queue.runs / job)
        if not folder.exists():
            _write(folder, request.model_copy(update={"name": f"run {number}"}), number, epochs)
        ids.append(job)
    queue.reindex()
    return ids


def _write(
    folder: JobFolder, request: Any, number: int, epochs: int, *, first_s: float = 1_790_000_000.0
) -> None:
    begun_s = first_s + 60 * number
    submitted = Submitted(
        id=folder.id, actor="ann", time_s=begun_s, request=request, asked=secrets.token_hex(8)
    )
    # By hand and not by `create`, whose flushes to disk are of no use here.
    (folder.path / "artifacts").mkdir(parents=True)
    folder.run_path.mkdir()
    (folder.path / "job.json").write_text(submitted.model_dump_json())
    folder.log_path.write_text("scfae train\n" * 20)
    figures = [epoch(one, number) for one in range(1, epochs + 1)]
    folder.events_path.write_text("".join(json.dumps(one) + "\n" for one in figures))
    best = {"metric": "figure_00", "value": figures[-1]["val"]["figure_00"], "epoch": epochs}
    summary = {"step": 100 * epochs, "total_steps": 100 * epochs, "epoch": epochs, "best": best}
    summary |= {"spark": [one["val"]["figure_00"] for one in figures[-60:]]}
    process = {"pid": 1, "start": 1, "machine": "elsewhere boot pid"}
    moves: list[dict[str, Any]] = [
        {"state": "starting", "worker": "w", "slot": 0},
        {"state": "running", "process": process},
        {"state": "finished", "summary": summary},
    ]
    lines = [
        HistoryEvent(
            seq=i + 1, time_s=begun_s + i, actor="worker:w", type="state", details=move
        ).model_dump_json()
        for i, move in enumerate(moves)
    ]
    (folder.path / "history.jsonl").write_text("\n".join(lines) + "\n")


class Writers(threading.Thread):
    """Trainings that go on: each appends an epoch a second, as a trainer of small epochs does.

    Args:
        queue: Of the service.
        count: How many.
    """

    def __init__(self, queue: Queue, count: int) -> None:
        super().__init__(daemon=True)
        self.ids = []
        for number in range(count):
            job = f"{0xA00000000000 + number:012x}"
            shutil.rmtree(queue.runs / job, ignore_errors=True)  # of a former call
            folder = JobFolder(queue.runs / job)
            # The newest, so that they are on the first page.
            _write(folder, training(epochs=100_000), number, 1, first_s=time.time() - 3600)
            lines = folder.path.joinpath("history.jsonl").read_text().splitlines()[:2]
            mine = json.dumps({"state": "running", "process": process_of(os.getpid()).model_dump()})
            event = json.loads(lines[1]) | {"details": json.loads(mine)}
            (folder.path / "history.jsonl").write_text(lines[0] + "\n" + json.dumps(event) + "\n")
            self.ids.append(job)
        queue.reindex()
        self._folders = [JobFolder(queue.runs / job) for job in self.ids]
        self.ending = threading.Event()
        self.epochs = 1

    def run(self) -> None:
        while not self.ending.wait(1.0):
            self.epochs += 1
            for number, folder in enumerate(self._folders):
                event = epoch(self.epochs, number)
                with open(folder.events_path, "a") as file:
                    file.write(json.dumps(event) + "\n")
                best = {"metric": "figure_00", "value": 0.5, "epoch": 1}
                state: dict[str, Any] = {
                    "state": "running",
                    "step": event["step"],
                    "total_steps": 10_000_000,
                }
                state |= {"epochs": 100_000, "best": best}
                temporary = folder.run_path / ".state"
                temporary.write_text(json.dumps(state | {"epoch": self.epochs}))
                temporary.replace(folder.run_path / "state.json")


def rss_mib(pid: int) -> float:
    """Return how much memory a process has in use, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def cpu_s(pid: int) -> float:
    """Return how long a process has had a processor, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
