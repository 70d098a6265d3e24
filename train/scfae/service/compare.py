"""Runs of a service side by side: what differs, figures by modalities, seeds together, curves."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from scfae.store.errors import ConfigError, JobStateError
from scfae.train.alike import alike_notes
from scfae.train.config import RunConfig, load_config
from scfae.train.runs import EVALUATION_FILE, RunFolder, read_events
from scfae.train.seeds import common_name, figures_over_seeds, same_configs
from scfae.train.settings import PLACES
from scfae.train.sweeps.folder import SweepFolder

from .compare_views import (
    ComparedRun,
    Comparison,
    Differing,
    Measured,
    OverSeedsView,
    SeedGroup,
)
from .folder import JobFolder
from .jobs import SweepJob, TrainJob
from .series import Curves, curves

MOST_RUNS = 200
_NAME_CHARS = 80


@dataclass(frozen=True)
class Source:
    """A run as it lies in its folder.

    Attributes:
        id: See `ComparedRun`.
        job: Its job.
        name: What people call it.
        config: Its settings.
        path: The run folder; there may be none yet.
    """

    id: str
    job: JobFolder
    name: str
    config: RunConfig
    path: Path

    def evaluation(self) -> dict[str, Any] | None:
        """Return what `scfae evaluate` kept, or None."""
        there = (self.path / EVALUATION_FILE).is_file()
        return RunFolder(self.path).read(EVALUATION_FILE) if there else None

    def best(self) -> dict[str, JsonValue]:
        """Return what selected the epoch; empty if unknown."""
        if not RunFolder.exists(self.path):
            return {}
        return dict(RunFolder(self.path).state().get("best") or {})


def sources(jobs: Sequence[JobFolder]) -> list[Source]:
    """Return the runs of jobs, those of a sweep in place of it.

    Raises:
        ConfigError: A job trains nothing, or there are too many runs.
        JobStateError: A sweep has no run yet.
    """
    found: list[Source] = []
    for job in jobs:
        request = job.submitted().request
        name = job.record().name or job.id
        if isinstance(request.job, TrainJob):
            path = job.run_path
            is_there = RunFolder.exists(path)
            config = (
                RunFolder(path).config
                if is_there
                else load_config(None, {**request.job.config, "run": str(path)})
            )
            found.append(Source(job.id, job, name, config, path))
        elif isinstance(request.job, SweepJob):
            found += _of_sweep(job, name)
        else:
            raise ConfigError(f"ids: job {job.id} is of kind {request.job.kind}: no training.")
    if len(found) > MOST_RUNS:
        raise ConfigError(f"ids: {len(found)} runs with those of sweeps; {MOST_RUNS} at most.")
    return found


def compare(jobs: Sequence[JobFolder], keys: Sequence[str] = (), points: int = 500) -> Comparison:
    """Return jobs side by side.

    Args:
        jobs: Trainings and sweeps.
        keys: Curves to give, e.g. `val.accuracy`.
        points: Most points of a curve.

    Raises:
        ConfigError: A job trains nothing, or there are too many runs.
        JobStateError: A sweep has no run yet.
        RunStateError: What a run has kept is damaged.
    """
    runs = sources(jobs)
    names = _names(runs)
    evaluations = [run.evaluation() for run in runs]
    there = [one for one in evaluations if one is not None]
    differing, equal = _settings([run.config for run in runs])
    drawn = {run.id: _curves(run, keys, points) for run in runs}
    return Comparison(
        runs=tuple(
            _compared(run, name, evaluation)
            for run, name, evaluation in zip(runs, names, evaluations, strict=True)
        ),
        differing=differing,
        equal=equal,
        metric=there[0]["headline_metric"] if there else None,
        metrics=_unique(metric for one in there for metric in one["metrics"]),
        conditions=_unique(name for one in there for name in one["conditions"]),
        groups=tuple(_groups(runs, evaluations)),
        keys=_unique(key for one in drawn.values() for key in one.keys),
        curves=drawn if keys else {},
        notes=tuple(_notes(names, evaluations)),
    )


def _of_sweep(job: JobFolder, name: str) -> list[Source]:
    path = job.run_path
    runs = SweepFolder(path).runs() if SweepFolder.exists(path) else {}
    if not runs:
        raise JobStateError(f"job {job.id} is a sweep without a run yet.")
    return [
        Source(f"{job.id}/{one.name}", job, f"{name}/{one.name}", config, one)
        for one, config in runs.items()
    ]


def _names(runs: Sequence[Source]) -> list[str]:
    names = [run.name for run in runs]
    return [f"{run.name} ({run.id})" if names.count(run.name) > 1 else run.name for run in runs]


def _compared(run: Source, name: str, evaluation: Mapping[str, Any] | None) -> ComparedRun:
    metrics = evaluation["metrics"] if evaluation else ()
    conditions = evaluation["conditions"] if evaluation else {}
    return ComparedRun(
        id=run.id,
        job=run.job.id,
        name=name,
        state=run.job.record().state,
        seed=run.config.loop.seed,
        best=run.best(),
        conditions={
            condition: {
                metric: Measured(value=one.get(metric), interval=one.get(f"{metric}_ci95"))
                for metric in metrics
            }
            for condition, one in conditions.items()
        },
        baseline={metric: evaluation["majority"].get(metric) for metric in metrics}
        if evaluation
        else {},
        n=evaluation["n"] if evaluation else None,
    )


def _settings(configs: Sequence[RunConfig]) -> tuple[tuple[Differing, ...], dict[str, JsonValue]]:
    flat = [_flat(config) for config in configs]
    differing, equal = [], {}
    for name in _unique(name for one in flat for name in one):
        values = tuple(one.get(name) for one in flat)
        if all(value == values[0] for value in values):
            equal[name] = values[0]
        else:
            differing.append(Differing(name=name, values=values))
    # The order of the columns is the cycle of the model.
    orders = [tuple(config.data.columns) for config in configs]
    if len({frozenset(order) for order in orders}) == 1 and len(set(orders)) > 1:
        shown = tuple(" > ".join(order) for order in orders)
        differing.append(Differing(name="order of columns", values=shown))
    return tuple(differing), equal


def _flat(config: RunConfig) -> dict[str, JsonValue]:
    """Return the settings by name, those in mappings as `columns.video`."""
    flat: dict[str, JsonValue] = {}
    for name, value in config.flat().items():
        if name in PLACES:
            continue
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    return flat


def _groups(
    runs: Sequence[Source], evaluations: Sequence[Mapping[str, Any] | None]
) -> Iterable[SeedGroup]:
    for group in same_configs([run.config for run in runs]):
        # The same seed again is the same run again: it says nothing new of how figures spread.
        by_seed: dict[int, Mapping[str, Any]] = {}
        for place in group:
            evaluation = evaluations[place]
            if evaluation is not None:
                by_seed.setdefault(runs[place].config.loop.seed, evaluation)
        if len(by_seed) < 2:
            continue
        yield SeedGroup(
            runs=tuple(runs[place].id for place in group),
            name=_group_name([runs[place].name for place in group]),
            seeds=tuple(by_seed),
            conditions={
                condition: {
                    metric: OverSeedsView(mean=one.mean, sd=one.sd, n=one.n)
                    for metric, one in figures.items()
                }
                for condition, figures in figures_over_seeds(list(by_seed.values())).items()
            },
        )


def _group_name(names: Sequence[str]) -> str:
    common = common_name(names)
    return common if len(common) <= _NAME_CHARS else f"{names[0]} and {len(names) - 1} more"


def _curves(run: Source, keys: Sequence[str], points: int) -> Curves:
    return curves(read_events(run.path / "events.jsonl"), keys, points)


def _notes(names: Sequence[str], evaluations: Sequence[Mapping[str, Any] | None]) -> list[str]:
    without = [name for name, one in zip(names, evaluations, strict=True) if one is None]
    told = [(name, one) for name, one in zip(names, evaluations, strict=True) if one is not None]
    notes = [f"Not evaluated yet: {', '.join(without)}."] if without else []
    if told:
        notes += alike_notes([name for name, _ in told], [one for _, one in told])
    return notes


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
