"""Metrics of a trained run for every condition of its task, beside who sees no features.

The selected checkpoint (by validation) is measured on the test split, the same samples each time
with other modalities hidden (for retrieval: by every modality, for every other). A sample that has
none of the shown ones cannot be scored: it is counted as excluded. Test labels choose nothing: not
the epoch, not a threshold, not a temperature.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scfae.store import ColumnInfo, FeatureStore, StoreView
from scfae.store.errors import ConfigError, SchemaMismatch, TaskError

from .averages import averages
from .calibration import calibration
from .config import RunConfig
from .device import choose_device
from .headline import headline
from .kept import keep_scores, write_predictions
from .loading import LoadedRun, load_run
from .metrics import Metrics
from .probes import Probe, linear_probes
from .robustness import robustness, robustness_lines
from .runs import EVALUATION_FILE as EVALUATION_FILE
from .runs import write_json
from .scoring import score_view, show
from .splits import Splits, make_splits
from .tasks import Classification, Measured, Retrieval, Scored, Task
from .validation import mean_metrics

ROLES = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: a set of present modalities, or for retrieval one direction.

    Attributes:
        name: Modalities joined by +, in the run's order; or `image>video`.
        modalities: Those that the model saw.
        measured: Its figures.
    """

    name: str
    modalities: tuple[str, ...]
    measured: Measured

    @property
    def metrics(self) -> Metrics:
        """Every figure; None where undefined."""
        return self.measured.metrics

    @property
    def intervals(self) -> Mapping[str, tuple[float, float] | None]:
        """95 % bootstrap interval of each figure."""
        return self.measured.intervals

    @property
    def n(self) -> int:
        """Samples (queries) scored."""
        return self.measured.n

    @property
    def excluded(self) -> int:
        """Samples that have none of the modalities."""
        return self.measured.excluded

    def as_dict(self) -> dict[str, Any]:
        """Return the condition as plain JSON values."""
        intervals = {
            f"{name}_ci95": None if interval is None else list(interval)
            for name, interval in self.intervals.items()
        }
        return {**self.metrics, **intervals, "n": self.n, "excluded": self.excluded}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A run on a split under every condition.

    Attributes:
        run: The run folder.
        split: What was evaluated.
        task: What was asked.
        columns: Column of each modality, swaps included.
        swapped: The modalities whose column is not the run's own.
        is_random: Columns that are noise.
        conditions: Single modalities first, all together last.
        n: Samples of the split.
        epoch: Epoch of the checkpoint.
        bootstrap: Resamples behind the intervals.
        unimodal: A linear model of each modality alone, on the same split.
        calibration: How far probabilities are what they say; None for a task without.
        robustness: Figures at missing rates, under noise and with offsets, as asked for.
        notes: What a person should know.
    """

    run: str
    split: str
    task: Task
    columns: dict[str, str]
    swapped: tuple[str, ...]
    is_random: tuple[str, ...]
    conditions: tuple[Condition, ...]
    n: int
    epoch: int
    bootstrap: int
    unimodal: Mapping[str, Probe] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    robustness: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=())

    @property
    def majority(self) -> Metrics:
        """What who sees no features scores on the last condition's samples."""
        return self.conditions[-1].measured.baseline

    @property
    def majority_class(self) -> int | float | str:
        """What is always answered then."""
        return self.task.constant_answer

    @property
    def classes(self) -> tuple[int | str, ...]:
        """The classes in the order of the scores."""
        return self.task.classes

    @property
    def averages(self) -> dict[str, Metrics]:
        """Means over conditions, by name; see `averages`."""
        return averages(self.conditions, has_full=self.task.name != Retrieval.name)

    def as_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON values; fractions, not percent."""
        task = self.task
        last = self.conditions[-1]
        return {
            "run": self.run,
            "split": self.split,
            "task": task.name,
            "label": task.label,
            "classes": list(task.classes),
            "metrics": list(task.shown_metrics),
            "headline_metric": task.headline,
            "columns": self.columns,
            "swapped": list(self.swapped),
            "is_random": list(self.is_random),
            "n": self.n,
            "epoch": self.epoch,
            "bootstrap": self.bootstrap,
            "headline": self.headline(),
            "conditions": {one.name: one.as_dict() for one in self.conditions},
            "mean_of_conditions": self.mean(),
            "averages": self.averages,
            "majority": {**self.majority, "class": self.majority_class, "n": last.n},
            "majority_name": task.baseline_name,
            "majority_of_conditions": {c.name: c.measured.baseline for c in self.conditions},
            "confusion": {
                one.name: one.measured.confusion
                for one in self.conditions
                if one.measured.confusion is not None
            },
            "unimodal": {name: probe.as_dict() for name, probe in self.unimodal.items()},
            "calibration": self.calibration,
            "robustness": self.robustness,
            "notes": list(self.notes),
        }

    def headline(self) -> list[str]:
        """Return what a person should read first."""
        return headline(self.task, self.split, {c.name: c.measured for c in self.conditions})

    def mean(self) -> Metrics:
        """Return each metric's mean over the conditions where it is defined."""
        return mean_metrics([one.metrics for one in self.conditions])

    def text(self) -> str:
        """Return a table for a terminal."""
        task = self.task
        names, majority = task.shown_metrics, task.baseline_name
        alone = {f"{name} alone, linear": probe for name, probe in self.unimodal.items()}
        width = max(map(len, [majority, *alone, *(c.name for c in self.conditions)]))
        cell = max(24, *(len(name) + 2 for name in names))
        lines = [
            f"{self.run}: {task.label} on the {self.split} split, {self.n} samples, checkpoint of "
            f"epoch {self.epoch}; fractions with 95 % intervals",
            f"{'present':<{width}}  " + "".join(f"{name:<{cell}}" for name in names) + "n",
        ]
        for one in self.conditions:
            cells = [_cell(one.metrics[m], one.intervals.get(m)).ljust(cell) for m in names]
            left_out = f" ({one.excluded} left out)" if one.excluded else ""
            lines.append(f"{one.name:<{width}}  " + "".join(cells) + f"{one.n}{left_out}")
        for name, means in self.averages.items():
            cells = [_cell(means[m], None).ljust(cell) for m in names]
            lines.append(f"{name:<{width}}  " + "".join(cells).rstrip())
        for name, probe in alone.items():
            cells = [_cell(probe.metrics[m], None).ljust(cell) for m in names]
            lines.append(f"{name:<{width}}  " + "".join(cells) + str(probe.n))
        cells = [_cell(self.majority[m], None).ljust(cell) for m in names]
        lines.append(f"{majority:<{width}}  " + "".join(cells) + str(self.conditions[-1].n))
        lines += robustness_lines(self.robustness, names)
        if self.calibration is not None:
            errors = self.calibration["conditions"][self.conditions[-1].name]
            lines.append(
                f"calibration error {errors['ece']:.3f}; {errors['ece_scaled']:.3f} at the "
                f"temperature {self.calibration['temperature']:.2f} that validation gives"
            )
        lines += [f"noise: {name} has random weights" for name in self.is_random]
        return "\n".join([*lines, *self.notes, *self.headline()])


def evaluate(
    run: str | Path,
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    device: str = "cpu",
    bootstrap: int = 1000,
    probes: bool = True,
    missing_rates: Sequence[float] = (),
    noise: Sequence[float] = (),
    offsets_s: Sequence[float] = (),
) -> Evaluation:
    """Evaluate a run's selected checkpoint under every condition of its task.

    The evaluation of the test split with the run's own columns is kept in the run folder.

    Args:
        run: The run folder.
        split: train, val or test (the default), or the store's name of one of these.
        columns: Other columns of the same width for some modalities.
        device: Where the model runs.
        bootstrap: Resamples behind each interval; 0 leaves intervals out.
        probes: Also fit a linear model of each modality alone.
        missing_rates: Shares of each modality to hide at random, such as 0 to 0.7.
        noise: Standard deviations of noise to add to the features.
        offsets_s: Seconds that one modality comes late against the others.

    Raises:
        RunNotFound, CheckpointError: If there is no run, or nothing was selected yet.
        ConfigError: If a modality, split or number is wrong.
        SchemaMismatch: If a swapped column has another width.
        TaskError: If the split has nothing to evaluate, or labels that training has not.
    """
    if bootstrap < 0:
        raise ConfigError(f"bootstrap must be at least 0, not {bootstrap}.")
    place = choose_device(device)
    loaded = load_run(run, device=place)
    config = _with_columns(loaded, columns or {})
    store = FeatureStore.open(config.data.store, check=config.loop.check)
    infos = {m: store.branch(name).info for m, name in config.data.columns.items()}
    _check_widths(loaded, infos)
    splits = make_splits(store, config.data)
    role = role_of(split, config)
    view: StoreView = getattr(splits, role)
    if not len(view):
        raise TaskError(f"the {role} split is empty: there is nothing to evaluate on.")
    task = loaded.task
    conditions, scored = measure_conditions(loaded, view, device=place, bootstrap=bootstrap)
    own = {m: (info.name, info.fingerprint) for m, info in loaded.columns.items()}
    swapped = tuple(m for m, info in infos.items() if (info.name, info.fingerprint) != own[m])
    evaluation = Evaluation(
        run=str(loaded.run.path),
        split=role,
        task=task,
        columns={m: info.name for m, info in infos.items()},
        swapped=swapped,
        is_random=tuple(info.name for info in infos.values() if info.is_random),
        conditions=conditions,
        n=len(view),
        epoch=loaded.epoch,
        bootstrap=bootstrap,
        # Of windows as they are a linear model would learn nothing, slowly.
        unimodal=linear_probes(task, splits, view)
        if probes and not loaded.config.model.encoders
        else {},
        calibration=_calibration(loaded, splits, scored, place),
        robustness=robustness(
            loaded,
            view,
            splits.train,
            role=role,
            device=place,
            rates=missing_rates,
            noise=noise,
            offsets_s=offsets_s,
        ),
        notes=tuple(_notes(loaded, splits, role, swapped)),
    )
    if role == "test" and not swapped:
        write_json(loaded.run.path / EVALUATION_FILE, evaluation.as_dict())
        write_predictions(loaded, view, scored)
        keep_scores(loaded, view, scored)
    return evaluation


def measure_conditions(
    loaded: LoadedRun, view: StoreView, *, device: str, bootstrap: int
) -> tuple[tuple[Condition, ...], dict[tuple[str, ...], Scored]]:
    """Return a model's figures on a split under every condition, and the scores behind them.

    Args:
        loaded: The run.
        view: The split.
        device: Where the model is.
        bootstrap: Resamples behind each interval; 0 leaves intervals out.
    """
    task, config = loaded.task, loaded.config
    trials = task.trials(view.modalities)
    scored = score_view(
        loaded.model,
        task,
        view,
        show(list(dict.fromkeys(shown for trial in trials for shown in trial.shown))),
        batch_size=config.optim.batch_size,
        device=device,
        group_batches=config.loop.group_batches,
    )
    conditions = tuple(
        Condition(trial.name, trial.modalities, task.measure(trial, scored, bootstrap))
        for trial in trials
    )
    return conditions, scored


def _calibration(
    loaded: LoadedRun, splits: Splits, scored: Mapping[tuple[str, ...], Scored], device: str
) -> dict[str, Any] | None:
    """Return the calibration of a task with classes, by a temperature of the validation split."""
    if not isinstance(loaded.task, Classification):
        return None
    full = tuple(splits.val.modalities)
    validation = score_view(
        loaded.model,
        loaded.task,
        splits.val,
        show([full]),
        batch_size=loaded.config.optim.batch_size,
        device=device,
        group_batches=loaded.config.loop.group_batches,
    )[full]
    return calibration(validation, {"+".join(shown): one for shown, one in scored.items()})


def _with_columns(loaded: LoadedRun, columns: Mapping[str, str]) -> RunConfig:
    data = loaded.config.data
    for modality in columns:
        if modality not in data.columns:
            raise ConfigError(
                f"columns: the run has no modality '{modality}'; it has {', '.join(data.columns)}."
            )
    merged = data.model_copy(update={"columns": {**data.columns, **columns}})
    return loaded.config.model_copy(update={"data": merged})


def _check_widths(loaded: LoadedRun, infos: Mapping[str, ColumnInfo]) -> None:
    for modality, info in infos.items():
        wanted = loaded.columns[modality].dim
        if info.dim != wanted:
            raise SchemaMismatch(
                f"columns: {modality}={info.name} has {info.dim} features a row, but the run was "
                f"trained on {wanted}; train another run on it."
            )


def role_of(split: str | None, config: RunConfig) -> str:
    """Return train, val or test for a split of a run, test for None.

    Raises:
        ConfigError: The run has no such split.
    """
    names = {
        config.data.train_split: "train",
        config.data.val_split: "val",
        config.data.test_split: "test",
    }
    if split is None:
        return "test"
    if split in names:
        return names[split]
    if split in ROLES:
        return split
    raise ConfigError(f"split: the run has no split '{split}'; it has {', '.join(names)}.")


def _notes(loaded: LoadedRun, splits: Splits, role: str, swapped: tuple[str, ...]) -> list[str]:
    notes = list(splits.notes)
    before = loaded.run.read("splits.json")["ids_sha256"][role]
    if splits.record()["ids_sha256"][role] != before:
        notes.append(f"the {role} split has other samples than when the run was trained")
    if swapped:
        notes.append(
            f"swapped without training again: {', '.join(swapped)}; the model never saw such rows"
        )
    return notes


def _cell(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "undefined"
    if interval is None:
        return f"{value:.3f}"
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"
