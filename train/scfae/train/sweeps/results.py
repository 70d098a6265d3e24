"""What a sweep has found, read back from its folder: every run, and every setting over its seeds.

The setting that is best is so on validation alone; the test figures beside it choose nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..runs import EVALUATION_FILE, RunFolder
from ..seeds import OverSeeds, figures_over_seeds
from ..selection import is_better
from .folder import SweepFolder
from .plan import Cell, shown


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run.

    Attributes:
        name: Of its folder.
        path: Its folder.
        setting: What varies, seed aside.
        seed: Its seed.
        state: waiting (not begun), running, interrupted, failed, finished.
        failure: Why it failed, or None.
        best: Metric, value, loss, step and epoch of the selected epoch; empty for none.
        evaluation: As `scfae evaluate` kept it, or None.
    """

    name: str
    path: Path
    setting: Mapping[str, Any]
    seed: int
    state: str
    failure: str | None
    best: Mapping[str, Any]
    evaluation: Mapping[str, Any] | None

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain JSON values."""
        return {
            "run": str(self.path),
            "setting": dict(self.setting),
            "seed": self.seed,
            "state": self.state,
            "failure": self.failure,
            "best": dict(self.best) or None,
        }


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting over its seeds.

    Attributes:
        setting: What varies, seed aside.
        runs: One a seed.
        metric: The validation figure that selects; None where no run has one.
        validation: It, over seeds.
        loss: The validation loss, over seeds; breaks ties.
        test: Test figures over seeds, by condition and metric; empty until evaluated.
    """

    setting: Mapping[str, Any]
    runs: tuple[RunRow, ...]
    metric: str | None
    validation: OverSeeds
    loss: OverSeeds
    test: Mapping[str, Mapping[str, OverSeeds]]

    @property
    def is_whole(self) -> bool:
        """Whether the run of every seed is finished."""
        return all(run.state == "finished" for run in self.runs)

    @property
    def name(self) -> str:
        """`lr=0.001, masking=none`."""
        return ", ".join(f"{k}={shown(v)}" for k, v in self.setting.items()) or "the config"

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain JSON values."""
        return {
            "setting": dict(self.setting),
            "seeds": [run.seed for run in self.runs],
            "is_whole": self.is_whole,
            "metric": self.metric,
            "validation": self.validation.as_dict(),
            "validation_loss": self.loss.as_dict(),
            "test": {
                condition: {metric: one.as_dict() for metric, one in figures.items()}
                for condition, figures in self.test.items()
            },
        }


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep has found so far.

    Attributes:
        path: Its folder.
        settings: In the order they were asked for.
        not_counted: Runs of the folder that are not asked for now.
    """

    path: Path
    settings: tuple[SettingRow, ...]
    not_counted: tuple[str, ...] = field(default=())

    @property
    def runs(self) -> list[RunRow]:
        """Every run, the seeds of the first setting first."""
        return [run for setting in self.settings for run in setting.runs]

    @property
    def failed(self) -> list[RunRow]:
        """The runs that failed."""
        return [run for run in self.runs if run.failure is not None]

    @property
    def best(self) -> SettingRow | None:
        """The setting of the best mean on validation, by the lower loss where that is equal.

        None until one is whole, or where settings are selected by different figures.
        """
        whole = [one for one in self.settings if one.is_whole and one.metric is not None]
        if len({one.metric for one in whole}) != 1:
            return None
        best: SettingRow | None = None
        found: dict[str, float] = {}
        for one in whole:
            assert one.metric is not None
            assert one.validation.mean is not None
            assert one.loss.mean is not None
            mean = (one.validation.mean, one.loss.mean)
            if is_better(one.metric, mean, found):
                best, found = one, {"value": mean[0], "loss": mean[1]}
        return best

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        return {
            "sweep": str(self.path),
            "runs": {run.name: run.as_dict() for run in self.runs},
            "settings": [one.as_dict() for one in self.settings],
            "best": None if self.best is None else dict(self.best.setting),
            "not_counted": list(self.not_counted),
        }

    def text(self) -> str:
        """Return a table for a terminal."""
        best = self.best
        rows = [("  setting", "seeds", f"validation {self._metric()}", *self._test_names())]
        for one in self.settings:
            done = sum(run.state == "finished" for run in one.runs)
            mark = "* " if one is best else "  "
            validation, *test = (figure.text() for figure in self._figures(one))
            rows.append((f"{mark}{one.name}", f"{done}/{len(one.runs)}", validation, *test))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        lines += ["mean ± standard deviation over seeds"]
        lines += ["* best on validation; test figures chose nothing"] if best else []
        lines += [f"failed: {run.name}: {run.failure}" for run in self.failed]
        if self.not_counted:
            lines.append(f"not asked for now, so not counted: {', '.join(self.not_counted)}")
        return "\n".join(lines)

    def _metric(self) -> str:
        metrics = {one.metric for one in self.settings if one.metric}
        return metrics.pop() if len(metrics) == 1 else "figure"

    def _shown(self) -> tuple[str, str] | None:
        """Return the condition and the metric of the test figure that is shown."""
        for run in self.runs:
            if run.evaluation is not None:
                return list(run.evaluation["conditions"])[-1], run.evaluation["headline_metric"]
        return None

    def _test_names(self) -> list[str]:
        shown = self._shown()
        return [] if shown is None else [f"test {shown[1]}, {shown[0]}"]

    def _figures(self, one: SettingRow) -> list[OverSeeds]:
        shown = self._shown()
        if shown is None:
            return [one.validation]
        return [one.validation, one.test.get(shown[0], {}).get(shown[1], OverSeeds.of(()))]


def read_results(sweep: SweepFolder, cells: Sequence[Cell]) -> SweepResult:
    """Return what a sweep has found so far.

    Args:
        sweep: Its folder.
        cells: Its runs, as `SweepFolder.placed` places them.
    """
    failures = sweep.failures()
    by_setting: dict[str, list[RunRow]] = {}
    for cell in cells:
        row = _row(cell, failures.get(cell.name))
        by_setting.setdefault(repr(cell.setting), []).append(row)
    asked = {Path(cell.config.loop.run) for cell in cells}
    others = tuple(path.name for path in sweep.runs() if path not in asked)
    return SweepResult(sweep.path, tuple(map(_setting, by_setting.values())), others)


def _row(cell: Cell, failure: str | None) -> RunRow:
    path = Path(cell.config.loop.run)
    state: dict[str, Any] = {"state": "waiting"}
    evaluation = None
    if RunFolder.exists(path):
        run = RunFolder(path)
        state = run.state()
        if (path / EVALUATION_FILE).is_file():
            evaluation = run.read(EVALUATION_FILE)
    name = "failed" if failure is not None else state["state"]
    best = state.get("best") or {}
    return RunRow(cell.name, path, cell.setting, cell.seed, name, failure, best, evaluation)


def _setting(runs: Sequence[RunRow]) -> SettingRow:
    ended = [run for run in runs if run.state == "finished" and run.best]
    evaluated = [run.evaluation for run in ended if run.evaluation is not None]
    return SettingRow(
        setting=runs[0].setting,
        runs=tuple(runs),
        metric=ended[0].best["metric"] if ended else None,
        validation=OverSeeds.of(run.best["value"] for run in ended),
        loss=OverSeeds.of(run.best["loss"] for run in ended),
        test=figures_over_seeds(evaluated),
    )
