"""A run is a folder, and the folder is the truth.

```
RUN/
  config.yaml        every setting; written last of the static files: with it, the run exists
  environment.json   versions, commit, machine, threads
  columns.json       each modality's column as it was: where the run's input came from
  splits.json        sizes, digests of the ids, what was carved or left out
  task.json          the classes, in the order of the logits
  events.jsonl       one JSON object a line, only ever appended to
  gradients.jsonl    how gradients met at sampled steps, if the run was to keep that
  state.json         running | finished | failed | interrupted, and how far
  checkpoints/       last.pt, best.pt
  evaluation.json    every subset of modalities on the test split, by `scfae evaluate`
  predictions.jsonl  what the model says of each test sample with all it has
  scores.npz         its scores under every set of modalities
  report.html        one self-contained page
  tensorboard/       the same figures as events.jsonl, for TensorBoard
  trackers.json      by which id MLflow and W&B know the run, if they are to
```
"""

import hashlib
import json
import os
import signal as signals
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from scfae.store import ColumnInfo
from scfae.store.atomic import write_atomic
from scfae.store.errors import ConfigError, RunNotFound, RunStateError

from .config import RunConfig, load_config
from .holding import hold

EVALUATION_FILE = "evaluation.json"
STATIC = ("environment.json", "columns.json", "splits.json", "task.json")


class Interrupted(Exception):
    """A run was stopped by a signal after it wrote a checkpoint; the text says how to resume.

    Attributes:
        signum: The signal, e.g. 15 for SIGTERM.
        run: The run's folder.
    """

    def __init__(self, signum: int, run: Path, step: int) -> None:
        self.signum = signum
        self.run = run
        name = signals.Signals(signum).name
        super().__init__(
            f"stopped by {name} after step {step}, with a checkpoint; "
            f"go on with: scfae train --resume {run}"
        )


class RunFolder:
    """A run's folder.

    Args:
        path: The folder of an existing run.

    Raises:
        RunNotFound: There is no run.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.exists(path):
            raise RunNotFound(f"there is no run at {path}: it has no config.yaml.")

    @staticmethod
    def exists(path: str | Path) -> bool:
        """Return whether there is a run in the folder."""
        return (Path(path) / "config.yaml").is_file()

    @classmethod
    def create(
        cls,
        config: RunConfig,
        *,
        environment: dict[str, Any],
        columns: dict[str, Any],
        splits: dict[str, Any],
        task: dict[str, Any],
    ) -> "RunFolder":
        """Make the folder of a new run.

        Args:
            config: Its settings.
            environment: Versions, machine, threads.
            columns: `{"fingerprint": …, "columns": {modality: ColumnInfo as a dict}}`.
            splits: `Splits.record()`.
            task: `Task.as_dict()`.

        Raises:
            RunStateError: The folder holds something that is not a run.
        """
        path = Path(config.loop.run)
        if path.exists() and not path.is_dir():
            raise RunStateError(f"{path} is a file; a run is a folder.")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (NotADirectoryError, FileExistsError):
            raise RunStateError(
                f"{path} would lie in a file: choose another folder with --run."
            ) from None
        # A kill while a run is made leaves some of the static files; they are written anew.
        foreign = sorted(
            one.name
            for one in path.iterdir()
            if one.name not in (*STATIC, ".lock", "checkpoints") and not one.name.startswith(".tmp")
        )
        if foreign:
            raise RunStateError(
                f"{path} is not empty and not a run (it holds {', '.join(foreign[:3])}): "
                "choose another folder with --run."
            )
        (path / "checkpoints").mkdir(exist_ok=True)
        for name, record in zip(STATIC, (environment, columns, splits, task), strict=True):
            write_json(path / name, record)
        write_atomic(path / "config.yaml", config.yaml().encode())
        return cls(path)

    @property
    def config(self) -> RunConfig:
        """The run's settings, with `run` as the folder is called now."""
        try:
            nested = yaml.safe_load((self.path / "config.yaml").read_text(encoding="utf-8"))
            nested["loop"]["run"] = str(self.path)
        except (yaml.YAMLError, KeyError, TypeError) as error:
            raise RunStateError(f"{self.path / 'config.yaml'} is damaged: {error}") from None
        return load_config(None, nested, source=self.path / "config.yaml")

    @property
    def columns(self) -> dict[str, ColumnInfo]:
        """Each modality's column as it was when the run began, in the run's order."""
        record = self.read("columns.json")["columns"]
        return {modality: ColumnInfo.model_validate(info) for modality, info in record.items()}

    @property
    def best(self) -> Path:
        """Checkpoint of the selected epoch."""
        return self.path / "checkpoints" / "best.pt"

    @property
    def best_sha256(self) -> str:
        """Digest of the selected epoch's checkpoint: what is read from it is of that one.

        Raises:
            RunStateError: Nothing was selected yet.
        """
        try:
            with self.best.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise RunStateError(f"{self.best} cannot be read: {error}") from None

    @property
    def last(self) -> Path:
        """Checkpoint to go on from."""
        return self.path / "checkpoints" / "last.pt"

    def read(self, name: str) -> dict[str, Any]:
        """Return a JSON document of the run.

        Raises:
            RunStateError: Missing or damaged.
        """
        try:
            record = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            hint = (
                f"`scfae evaluate {self.path}` writes it"
                if name == EVALUATION_FILE
                else "the run folder is not whole: copy it anew, or train again"
            )
            raise RunStateError(f"there is no {self.path / name}: {hint}.") from None
        except (OSError, ValueError) as error:
            hint = f"; `scfae evaluate {self.path}` writes it again"
            hint = hint if name == EVALUATION_FILE else ""
            raise RunStateError(f"{self.path / name} cannot be read: {error}{hint}.") from None
        if not isinstance(record, dict):
            raise RunStateError(f"{self.path / name} holds no JSON object.")
        return record

    def evaluation(self) -> dict[str, Any] | None:
        """Return the evaluation as `scfae evaluate` kept it, None if there is none yet.

        Raises:
            RunStateError: It is damaged.
        """
        return self.read(EVALUATION_FILE) if (self.path / EVALUATION_FILE).is_file() else None

    def check_same(self, config: RunConfig) -> None:
        """Check that a config is the run's own.

        Raises:
            ConfigError: Names every field that differs, the run's value and the new one.
        """
        different = self.config.differences(config)
        if different:
            lines = [
                f"{name}: {was!r} there, {now!r} now" for name, (was, now) in different.items()
            ]
            raise ConfigError(
                f"{self.path} is a run with another config; choose another folder with --run, or "
                "go on with it by --resume:\n  " + "\n  ".join(lines)
            )

    def state(self) -> dict[str, Any]:
        """Return how far the run is, as plain JSON values.

        A run whose process was killed says `interrupted`, though nobody could write that down.
        """
        if not (self.path / "state.json").is_file():
            state: dict[str, Any] = {"state": "interrupted", "step": 0}
        else:
            state = self.read("state.json")
        if state["state"] == "running" and not self.is_locked():
            state["state"] = "interrupted"
        return {"run": str(self.path), **state}

    def write_state(self, state: str, **details: Any) -> None:
        """Write state.json atomically: running, finished, failed or interrupted."""
        write_json(self.path / "state.json", {"state": state, **details})

    def summary(self) -> str:
        """Return one line for a person: what became of the run."""
        state = self.state()
        text = f"{self.path}: {state['state']}, step {state['step']}"
        text += f" of {state['total_steps']}" if "total_steps" in state else ""
        best = state.get("best")
        if best:
            text += (
                f"; best epoch {best['epoch']}: validation {best['metric']} {best['value']:.4f}"
                f", loss {best['loss']:.4f}"
            )
        return text

    def is_locked(self) -> bool:
        """Return whether a process is training this run now."""
        try:
            with self.lock():
                return False
        except RunStateError:
            return True

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process; the system lets go of it when the process dies.

        Raises:
            RunStateError: Another process trains this run; names it.
        """
        with hold(self.path, f"{self.path} is being trained by"):
            yield

    def events(self) -> list[dict[str, Any]]:
        """Return the run's events in order, without those that a resume superseded."""
        return read_events(self.path / "events.jsonl")


class EventLog:
    """Appends to events.jsonl: one JSON object a line with type, step, epoch and time.

    Args:
        path: The file; a half-written last line of a killed process is closed first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        whole = not path.exists() or path.read_bytes()[-1:] in (b"\n", b"")
        if not whole:
            self._write("\n")

    def append(self, kind: str, *, step: int, epoch: int, **details: Any) -> None:
        """Append one event; NaN becomes null."""
        event = {"type": kind, "step": step, "epoch": epoch, "time": round(time.time(), 3)}
        self._write(json_line(event | details))

    def _write(self, text: str) -> None:
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())


def read_events(path: Path) -> list[dict[str, Any]]:
    """Return the events of a file, without superseded and half-written ones.

    After a kill a run goes on from its last checkpoint at step k: what was logged after step k
    is lived through again, so at a `resumed` event the earlier events beyond its step fall away.
    """
    if not path.exists():
        return []
    events: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # cut off by a kill; the writer began a new line after it
        if event["type"] == "resumed":
            events = [one for one in events if one["step"] <= event["step"]]
        events.append(event)
    return events


def json_line(record: dict[str, Any]) -> str:
    """Return a JSON object as one line, its end included."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a JSON document atomically."""
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(path, (text + "\n").encode())
