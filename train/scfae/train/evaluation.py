"""Metrics of a trained run for every condition of its task, beside who sees no features.

The selected checkpoint (by validation) is measured on the test split, the same samples each time
with other modalities hidden (for retrieval: by every modality, for every other). A sample that has
none of the shown ones cannot be scored: it is counted as excluded. Test labels choose nothing: not
the epoch, not a threshold, not a temperature.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scfae.extract.device import choose_device
from scfae.store import ColumnInfo, FeatureStore, StoreView
from scfae.store.errors import ConfigError, SchemaMismatch, TaskError

from .calibration import calibration
from .config import RunConfig
from .evaluated import Condition, Evaluation
from .kept import keep_scores, write_predictions
from .loading import LoadedRun, load_run
from .probes import linear_probes
from .robustness import robustness
from .runs import EVALUATION_FILE as EVALUATION_FILE
from .runs import write_json
from .scoring import score_view, show
from .splits import Splits, make_splits
from .tasks import Classification, Scored

ROLES = ("train", "val", "test")


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
