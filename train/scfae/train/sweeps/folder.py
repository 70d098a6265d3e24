"""A sweep is a folder of runs, and the folder is the truth.

```
SWEEP/
  sweep.yaml         what was asked last: settings that all share, settings that vary, seeds
  lr=0.001,seed=1/   an ordinary run, named by what varies; `scfae evaluate`, `report` … take it
  failures.json      by run, why it failed last
  logs/              what runs wrote that were trained side by side, and tracebacks of failed ones
  results.json       every run, and mean and deviation over seeds of every setting
  comparison.html    the runs side by side
  optuna.journal     the trials of a search, as Optuna keeps them
```

What a repeated command does: what all runs share must be as it was, or the command is refused.
Seeds, values and settings may be added: only what is new is run. A search keeps its space and its
seeds, and takes more trials. What is no longer asked for stays on disk, is not counted, and is
named. A run is found by its settings, whatever its folder is called, so one that is finished is
never run again.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from scfae.store.atomic import clean_temporaries, write_atomic
from scfae.store.errors import ConfigError, RunNotFound, RunStateError, ScfaeError

from ..config import RunConfig
from ..holding import hold
from ..runs import EVALUATION_FILE, RunFolder, write_json
from ..yaml_text import to_yaml
from .plan import Cell, SweepPlan

PLAN_FILE = "sweep.yaml"
FAILURES_FILE = "failures.json"
FORMAT = 1


class SweepFolder:
    """A sweep's folder.

    Args:
        path: The folder of an existing sweep.

    Raises:
        RunNotFound: There is no sweep.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.exists(path):
            raise RunNotFound(f"there is no sweep at {path}: it has no {PLAN_FILE}.")

    @staticmethod
    def exists(path: str | Path) -> bool:
        """Return whether there is a sweep in the folder."""
        return (Path(path) / PLAN_FILE).is_file()

    @classmethod
    def create(cls, path: str | Path, record: dict[str, Any]) -> "SweepFolder":
        """Make the folder of a new sweep.

        Raises:
            RunStateError: It holds something else.
        """
        path = Path(path)
        if RunFolder.exists(path):
            raise RunStateError(
                f"{path} is a run, and a sweep is a folder of runs: choose another with --run."
            )
        if path.exists() and not path.is_dir():
            raise RunStateError(f"{path} is a file; a sweep is a folder.")
        path.mkdir(parents=True, exist_ok=True)
        foreign = sorted(one.name for one in path.iterdir() if not one.name.startswith(".tmp"))
        if foreign:
            raise RunStateError(
                f"{path} is not empty and not a sweep (it holds {', '.join(foreign[:3])}): choose "
                "another folder with --run."
            )
        _write_plan(path, record)
        return cls(path)

    def record(self) -> dict[str, Any]:
        """Return what was asked last, as plain values.

        Raises:
            RunStateError: It is damaged, or of a newer scfae.
        """
        place = self.path / PLAN_FILE
        try:
            record = yaml.safe_load(place.read_text(encoding="utf-8"))
            known = isinstance(record, dict) and isinstance(record["format"], int)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError) as error:
            raise RunStateError(f"{place} is damaged: {error}") from None
        if not known or not {"base", "settings", "seeds"} <= set(record):
            raise RunStateError(f"{place} is damaged: it does not hold what a sweep is.")
        if record["format"] > FORMAT:
            raise RunStateError(
                f"{place} has format {record['format']}, this scfae reads up to {FORMAT}: upgrade "
                "scfae."
            )
        return {key: value for key, value in record.items() if key != "format"}

    def plan(self) -> SweepPlan:
        """Return what was asked last.

        Raises:
            RunStateError: It is damaged, or of a newer scfae.
        """
        return SweepPlan.from_dict(self.record())

    def ask(self, record: dict[str, Any]) -> None:
        """Keep what is asked now."""
        if record != self.record():
            _write_plan(self.path, record)

    def check_same(self, plan: SweepPlan) -> None:
        """Check that what all runs share is as it was; what varies may be anything.

        Raises:
            ConfigError: Names every field that differs, the sweep's value and the new one.
        """
        before, now = self.plan(), plan.probe()
        different: dict[str, tuple[Any, Any]] = {}
        for key in ("space", "seed"):
            was_search, now_search = (
                one.search and one.search.as_dict()[key] for one in (before, plan)
            )
            if was_search != now_search:
                different[f"search, {key}"] = (was_search, now_search)
        if plan.search is not None and before.seeds != plan.seeds:
            different["seeds"] = (before.seeds, plan.seeds)
        then = SweepPlan(before.base, now.settings, now.seeds)
        for was, is_now in zip(then.cells(self.path), now.cells(self.path), strict=True):
            different |= was.config.differences(is_now.config)
        if different:
            lines = [
                f"{name}: {was!r} there, {is_now!r} now"
                for name, (was, is_now) in different.items()
            ]
            raise ConfigError(
                f"{self.path} is a sweep of another config; choose another folder with --run, or "
                "vary what differs by --grid:\n  " + "\n  ".join(lines)
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the sweep for this process.

        Raises:
            RunStateError: Another process runs it; names that one.
        """
        with hold(self.path, f"{self.path} is being run by"):
            clean_temporaries(self.path)
            yield

    def runs(self) -> dict[Path, RunConfig]:
        """Return the config of every run that is in the folder; what is damaged is left out."""
        return self._read()[0]  # `train` says what is wrong with the others, if asked for them

    def damaged(self) -> dict[Path, str]:
        """Return what is wrong with the runs whose config cannot be read."""
        return self._read()[1]

    def _read(self) -> tuple[dict[Path, RunConfig], dict[Path, str]]:
        found, damaged = {}, {}
        for path in sorted(self.path.iterdir()):
            if RunFolder.exists(path):
                try:
                    found[path] = RunFolder(path).config
                except ScfaeError as error:
                    damaged[path] = str(error)
        return found, damaged

    def placed(self, cells: Sequence[Cell]) -> list[Cell]:
        """Return the cells, each at the folder where a run with its settings is, if there is one.

        Raises:
            ConfigError: A cell's own folder holds a run with another config.
        """
        there = self.runs()
        by_digest: dict[str, list[Path]] = {}
        for path, config in there.items():
            by_digest.setdefault(config.digest(), []).append(path)
        placed = []
        for cell in cells:
            own = Path(cell.config.loop.run)
            same = [
                path
                for path in by_digest.get(cell.config.digest(), ())
                if not there[path].differences(cell.config)
            ]
            if not same and own in there:
                RunFolder(own).check_same(cell.config)
            place = own if own in same or not same else same[0]
            config = cell.config.with_loop(run=str(place))
            placed.append(Cell(place.name, cell.setting, cell.seed, config))
        return placed

    def failures(self) -> dict[str, str]:
        """Return by run why it failed last."""
        place = self.path / FAILURES_FILE
        try:
            record = json.loads(place.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise RunStateError(f"{place} cannot be read: {error}") from None
        return {str(name): str(text) for name, text in record.items()}

    def note_failure(self, name: str, text: str | None) -> None:
        """Keep why a run failed; None once it has not."""
        failures = self.failures()
        if failures.get(name) == text:
            return
        failures.pop(name, None)
        write_json(self.path / FAILURES_FILE, failures | ({name: text} if text else {}))


def is_done(cell: Cell, *, evaluated: bool = True) -> bool:
    """Return whether a cell's run is finished and, if wanted, evaluated."""
    if not RunFolder.exists(cell.config.loop.run):
        return False
    run = RunFolder(cell.config.loop.run)
    is_finished = bool(run.state()["state"] == "finished")
    return is_finished and (not evaluated or (run.path / EVALUATION_FILE).is_file())


def named_runs(paths: Sequence[str | Path]) -> list[Path]:
    """Return run folders, those of a sweep in place of its own folder.

    Args:
        paths: Of runs and sweeps.

    Raises:
        RunNotFound: A sweep has no evaluated run yet.
    """
    found = []
    for path in map(Path, paths):
        if not SweepFolder.exists(path):
            found.append(path)
            continue
        runs = [run for run in SweepFolder(path).runs() if (run / EVALUATION_FILE).is_file()]
        if not runs:
            raise RunNotFound(f"{path} is a sweep without an evaluated run yet.")
        found += runs
    return found


def _write_plan(path: Path, record: dict[str, Any]) -> None:
    write_atomic(path / PLAN_FILE, to_yaml({"format": FORMAT, **record}).encode())
