"""Metrics of a trained run for every subset of present modalities, beside the majority class.

The selected checkpoint (by validation) is measured on the test split, the same samples each time
with other modalities hidden. A sample that has none of the shown ones cannot be scored: it is
counted as excluded. Test labels choose nothing: not the epoch, not a threshold.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from scfae.store import ColumnInfo, FeatureStore, FeatureStream, StoreView
from scfae.store.atomic import write_atomic
from scfae.store.errors import ConfigError, SchemaMismatch, TaskError

from .bootstrap import bootstrap_intervals
from .config import RunConfig
from .device import choose_device
from .loading import LoadedRun, load_run
from .metrics import METRICS, confusion_matrix, majority_metrics
from .model import apply_model
from .runs import json_line, write_json
from .splits import Splits, make_splits

EVALUATION_FILE = "evaluation.json"
PREDICTIONS_FILE = "predictions.jsonl"
ROLES = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Condition:
    """One set of present modalities.

    Attributes:
        modalities: Those that the model saw, in the run's order.
        metrics: Every figure as a fraction; None where undefined.
        intervals: 95 % bootstrap interval of each.
        n: Samples scored.
        excluded: Samples that have none of the modalities.
        confusion: Counts `[C][C]`, rows true classes.
    """

    modalities: tuple[str, ...]
    metrics: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float] | None]
    n: int
    excluded: int
    confusion: list[list[int]]

    @property
    def name(self) -> str:
        """The modalities joined by +."""
        return "+".join(self.modalities)

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
        label: The label.
        classes: Its values in the order of the logits.
        columns: Column of each modality, swaps included.
        swapped: The modalities whose column is not the run's own.
        is_random: Columns that are noise.
        conditions: Single modalities first, all together last.
        majority: Metrics of always answering the training split's most frequent class.
        majority_class: That class.
        n: Samples of the split.
        epoch: Epoch of the checkpoint.
        bootstrap: Resamples behind the intervals.
        notes: What a person should know.
    """

    run: str
    split: str
    label: str
    classes: tuple[int | str, ...]
    columns: dict[str, str]
    swapped: tuple[str, ...]
    is_random: tuple[str, ...]
    conditions: tuple[Condition, ...]
    majority: Mapping[str, float | None]
    majority_class: int | str
    n: int
    epoch: int
    bootstrap: int
    notes: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON values; fractions, not percent."""
        return {
            "run": self.run,
            "split": self.split,
            "label": self.label,
            "classes": list(self.classes),
            "columns": self.columns,
            "swapped": list(self.swapped),
            "is_random": list(self.is_random),
            "n": self.n,
            "epoch": self.epoch,
            "bootstrap": self.bootstrap,
            "conditions": {one.name: one.as_dict() for one in self.conditions},
            "mean_of_conditions": self.mean(),
            "majority": {**self.majority, "class": self.majority_class, "n": self.n},
            "confusion": {one.name: one.confusion for one in self.conditions},
            "notes": list(self.notes),
        }

    def mean(self) -> dict[str, float | None]:
        """Return each metric's mean over the conditions where it is defined."""
        means: dict[str, float | None] = {}
        for name in METRICS:
            known = [c.metrics[name] for c in self.conditions if c.metrics[name] is not None]
            means[name] = float(np.mean([v for v in known if v is not None])) if known else None
        return means

    def text(self) -> str:
        """Return a table for a terminal."""
        width = max(len("always the majority"), *(len(c.name) for c in self.conditions))
        lines = [
            f"{self.run}: {self.label} on the {self.split} split, {self.n} samples, checkpoint of "
            f"epoch {self.epoch}; fractions with 95 % intervals",
            f"{'present':<{width}}  " + "".join(f"{name:<24}" for name in METRICS) + "n",
        ]
        for one in self.conditions:
            cells = [_cell(one.metrics[m], one.intervals.get(m)).ljust(24) for m in METRICS]
            left_out = f" ({one.excluded} left out)" if one.excluded else ""
            lines.append(f"{one.name:<{width}}  " + "".join(cells) + f"{one.n}{left_out}")
        cells = [_cell(self.majority[m], None).ljust(24) for m in METRICS]
        lines.append(f"{'always the majority':<{width}}  " + "".join(cells) + str(self.n))
        lines += [f"noise: {name} has random weights" for name in self.is_random]
        return "\n".join([*lines, *self.notes])


def evaluate(
    run: str | Path,
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    device: str = "cpu",
    bootstrap: int = 1000,
) -> Evaluation:
    """Evaluate a run's selected checkpoint under every non-empty subset of its modalities.

    The evaluation of the test split with the run's own columns is kept in the run folder.

    Args:
        run: The run folder.
        split: train, val or test (the default), or the store's name of one of these.
        columns: Other columns of the same width for some modalities.
        device: Where the model runs.
        bootstrap: Resamples behind each interval; 0 leaves intervals out.

    Raises:
        RunNotFound, CheckpointError: If there is no run, or nothing was selected yet.
        ConfigError: If a modality, split or number is wrong.
        SchemaMismatch: If a swapped column has another width.
        TaskError: If the split has nothing to evaluate.
    """
    if bootstrap < 0:
        raise ConfigError(f"bootstrap must be at least 0, not {bootstrap}.")
    loaded = load_run(run, device=choose_device(device))
    config = _with_columns(loaded, columns or {})
    store = FeatureStore.open(config.data.store, check=config.loop.check)
    infos = {m: store.column(name).info for m, name in config.data.columns.items()}
    _check_widths(loaded, infos)
    splits = make_splits(store, config.data)
    role = _role(split, config)
    view: StoreView = getattr(splits, role)
    if not len(view):
        raise TaskError(f"the {role} split is empty: there is nothing to evaluate on.")
    targets, probabilities, available = _predict(loaded, view, device)
    conditions = [
        _condition(loaded, subset, targets, probabilities[subset], available, bootstrap)
        for subset in _subsets(view.modalities)
    ]
    task = loaded.task
    train_targets = task.targets(splits.train)
    own = {m: (info.name, info.fingerprint) for m, info in loaded.columns.items()}
    swapped = tuple(m for m, info in infos.items() if (info.name, info.fingerprint) != own[m])
    evaluation = Evaluation(
        run=str(loaded.run.path),
        split=role,
        label=task.label,
        classes=task.classes,
        columns={m: info.name for m, info in infos.items()},
        swapped=swapped,
        is_random=tuple(info.name for info in infos.values() if info.is_random),
        conditions=tuple(conditions),
        majority=majority_metrics(train_targets, targets, task.num_outputs),
        majority_class=task.classes[task.majority],
        n=len(view),
        epoch=loaded.epoch,
        bootstrap=bootstrap,
        notes=tuple(_notes(loaded, splits, role, swapped)),
    )
    if role == "test" and not swapped:
        write_json(loaded.run.path / EVALUATION_FILE, evaluation.as_dict())
        full = probabilities[tuple(view.modalities)]
        _write_predictions(loaded, view, targets, full, available)
    return evaluation


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


def _role(split: str | None, config: RunConfig) -> str:
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


def _subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    return [
        subset
        for size in range(1, len(modalities) + 1)
        for subset in itertools.combinations(modalities, size)
    ]


@torch.no_grad()
def _predict(
    loaded: LoadedRun, view: StoreView, device: str
) -> tuple[npt.NDArray[np.int64], dict[tuple[str, ...], npt.NDArray[Any]], npt.NDArray[np.bool_]]:
    """Return targets `[N]`, probabilities `[N, C]` by subset and availability `[N, M]`.

    Every row is read once for all subsets; a sample with none of a subset has NaN.
    """
    stream = FeatureStream(
        view,
        batch_size=loaded.config.optim.batch_size,
        shuffle=False,
        group_batches=loaded.config.loop.group_batches,
    )
    subsets = _subsets(view.modalities)
    encode = loaded.task.encoder(view)
    found: dict[tuple[str, ...], list[npt.NDArray[Any]]] = {subset: [] for subset in subsets}
    targets: list[npt.NDArray[np.int64]] = []
    present: list[npt.NDArray[np.bool_]] = []
    ids: list[str] = []
    place = choose_device(device)
    for cpu_batch in stream:
        batch = cpu_batch.to(place)
        targets.append(encode(batch.labels[loaded.task.label]).cpu().numpy())
        present.append(cpu_batch.present.numpy())
        ids += batch.ids
        for subset in subsets:
            shown = torch.tensor([m in subset for m in view.modalities], device=place)
            mask = batch.present & shown
            rows = mask.any(dim=1)
            output = np.full((len(batch), loaded.task.num_outputs), np.nan)
            if rows.any():
                logits, _ = apply_model(
                    loaded.model,
                    {m: x[rows] for m, x in batch.features.items()},
                    mask[rows],
                    {m: x[rows] for m, x in batch.lengths.items()},
                    groups=None if batch.groups is None else batch.groups[rows],
                )
                output[rows.cpu().numpy()] = loaded.task.probabilities(logits).cpu().numpy()
            found[subset].append(output)
    # Whole dialogues come in an order of their own; what is written follows the view's.
    place_of = {name: i for i, name in enumerate(view.ids.tolist())}
    order = np.argsort([place_of[name] for name in ids])
    probabilities = {subset: np.concatenate(parts)[order] for subset, parts in found.items()}
    return np.concatenate(targets)[order], probabilities, np.concatenate(present)[order]


def _condition(
    loaded: LoadedRun,
    subset: tuple[str, ...],
    targets: npt.NDArray[np.int64],
    probabilities: npt.NDArray[Any],
    available: npt.NDArray[np.bool_],
    bootstrap: int,
) -> Condition:
    places = [list(loaded.columns).index(modality) for modality in subset]
    scored = available[:, places].any(axis=1)
    truth, scores = targets[scored], probabilities[scored]
    matrix = confusion_matrix(truth, scores.argmax(axis=1), loaded.task.num_outputs)
    return Condition(
        modalities=subset,
        metrics=loaded.task.metrics(truth, scores),
        intervals=bootstrap_intervals(truth, scores, resamples=bootstrap),
        n=int(scored.sum()),
        excluded=int((~scored).sum()),
        confusion=matrix.tolist(),
    )


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


def _write_predictions(
    loaded: LoadedRun,
    view: StoreView,
    targets: npt.NDArray[np.int64],
    probabilities: npt.NDArray[Any],
    available: npt.NDArray[np.bool_],
) -> None:
    """Keep what the model said of every sample with all it has: one JSON line a sample."""
    classes = loaded.task.classes
    lines = [
        json_line(
            {
                "id": str(name),
                "label": classes[target],
                "prediction": classes[int(scores.argmax())],
                "probabilities": {
                    str(c): round(float(p), 6) for c, p in zip(classes, scores, strict=True)
                },
                "present": [m for m, there in zip(view.modalities, has, strict=True) if there],
            }
        )
        for name, target, scores, has in zip(
            view.ids, targets, probabilities, available, strict=True
        )
        if has.any()
    ]
    write_atomic(loaded.run.path / PREDICTIONS_FILE, "".join(lines).encode())


def _cell(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "undefined"
    if interval is None:
        return f"{value:.3f}"
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"
