"""The run that a config asks for: a new folder, or the one that is there, if it is still the same.

Whatever is wrong with settings, labels, splits or the model is said before there is a folder.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from scfae.store import ColumnInfo, FeatureStore, FeatureStream
from scfae.store.branches import modality_of
from scfae.store.config import digest
from scfae.store.errors import ConfigError, RunStateError
from scfae.store.joined import medium_of, parts_of

from .config import RunConfig
from .environment import changes, environment
from .joint import check_inputs
from .model import build_model, check_loss_weights, fusion_of
from .optimizer import learning_bytes
from .recipe import dialogue_notes
from .runs import RunFolder
from .selection import fit_task
from .settings import DataConfig
from .splits import Splits, make_splits
from .tasks import Task
from .trackers import check_trackers

logger = logging.getLogger("scfae.train")


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run that can be trained.

    Attributes:
        run: Its folder.
        store: Where its features are.
        fingerprints: Of each column that it reads, by the column's name.
        splits: Its views.
        task: What is learned.
        changed: What differs in the environment since the run began.
    """

    run: RunFolder
    store: FeatureStore
    fingerprints: dict[str, str]
    splits: Splits
    task: Task
    changed: dict[str, list[Any]]


def open_run(config: RunConfig, device: str) -> OpenedRun:
    """Return the run of a config; make its folder if there is none.

    Raises:
        ConfigError: A setting cannot be used here.
        RunStateError: The store has changed since the run began.
        TaskError: Labels or splits do not fit.
    """
    check_trackers(config.loop.trackers)
    store, splits, columns, task = _fitted(config)
    fingerprints = data_fingerprints(store, config.data, splits)
    now = environment(device)
    changed: dict[str, list[Any]] = {}
    if RunFolder.exists(config.loop.run):
        run = RunFolder(config.loop.run)
        _check_store(run, fingerprints)
        changed = changes(run.read("environment.json"), now)
    else:
        check_method(config, splits, task)
        run = RunFolder.create(
            config,
            environment=now,
            columns={
                "store": str(config.data.store),
                "fingerprints": fingerprints,
                "columns": {m: info.model_dump(mode="json") for m, info in columns.items()},
            },
            splits=splits.record(),
            task=task.as_dict(),
        )
        for note in [*splits.notes, *dialogue_notes(config, splits)]:
            logger.warning(note)
    own = {one.name: one.fingerprint for info in columns.values() for one in parts_of(info)}
    return OpenedRun(run, store, own, splits, task, changed)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a training would be, found out without one.

    Attributes:
        sizes: Samples of each split.
        notes: What a person should know before it begins.
        num_parameters: Of the model.
        steps_per_epoch: Of the first epoch, on one process.
        feature_bytes: Of the training split's rows, as they are stored; an epoch reads them once.
        learning_bytes: Of weights, gradients and the optimizer's averages of them.
        row_bytes: Of the features of one row of every column together, as they are stored.
    """

    sizes: dict[str, int]
    notes: tuple[str, ...]
    num_parameters: int
    steps_per_epoch: int
    feature_bytes: int
    learning_bytes: int
    row_bytes: int


def rehearse(config: RunConfig) -> Rehearsal:
    """Check everything that `open_run` checks of a new run, and make none.

    Raises:
        ConfigError: A setting cannot be used here.
        TaskError: Labels or splits do not fit.
    """
    check_trackers(config.loop.trackers)
    _, splits, columns, task = _fitted(config)
    trial = check_method(config, splits, task)
    row_bytes = {m: info.dim * np.dtype(info.dtype).itemsize for m, info in columns.items()}
    return Rehearsal(
        sizes={name: len(view) for name, view in splits.roles.items()},
        notes=(*splits.notes, *dialogue_notes(config, splits)),
        num_parameters=sum(one.numel() for one in trial.parameters()),
        steps_per_epoch=len(training_stream(config, splits)),
        feature_bytes=sum(
            int(splits.train.lengths(m).sum()) * size for m, size in row_bytes.items()
        ),
        learning_bytes=learning_bytes(config.optim, trial),
        row_bytes=sum(row_bytes.values()),
    )


def training_stream(
    config: RunConfig,
    splits: Splits,
    *,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
) -> FeatureStream:
    """Return the batches that a run learns from.

    Args:
        config: The settings.
        splits: By `make_splits`.
        rank: Of this process.
        world_size: Processes that share each batch.
        pin_memory: For a GPU.
    """
    loop = config.loop
    return FeatureStream(
        splits.train,
        batch_size=config.optim.batch_size,
        seed=loop.seed,
        rank=rank,
        world_size=world_size,
        masking=loop.masking,
        bucketing=loop.bucketing,
        balance=loop.balance,
        group_batches=loop.group_batches,
        crop=loop.max_train_rows,
        on_damage=loop.on_damage,
        pin_memory=pin_memory,
    )


def _fitted(
    config: RunConfig,
) -> tuple[FeatureStore, Splits, dict[str, ColumnInfo], Task]:
    store = FeatureStore.open(config.data.store, check=config.loop.check)
    splits = make_splits(store, config.data)
    columns = {branch: store.branch(name).info for branch, name in config.data.columns.items()}
    _check_branches(columns)
    check_inputs(config, columns)
    return store, splits, columns, fit_task(config, splits)


def check_method(config: RunConfig, splits: Splits, task: Task) -> nn.Module:
    """Return the untrained model of a config, to see that it can be built and can do the task.

    Raises:
        ConfigError: It cannot.
    """
    trial = build_model(config, splits.train.dims, task.num_outputs)
    fusion = fusion_of(trial)
    task.check_model(fusion, fusion.dims, config.model.fusion)
    check_loss_weights(trial, config)
    return trial


def data_fingerprints(store: FeatureStore, data: DataConfig, splits: Splits) -> dict[str, str]:
    """Return the digests of what a run reads: each modality's column, and all samples' rows.

    Args:
        store: The data's store.
        data: Columns, label and splits.
        splits: As `make_splits` makes them of both.
    """
    found = {branch: store.branch(name).info.fingerprint for branch, name in data.columns.items()}
    found["samples, labels and splits"] = digest([splits.record(), splits.everything.fingerprint])
    return found


def _check_branches(columns: Mapping[str, ColumnInfo]) -> None:
    """Check that the branches of a modality are several columns of one medium.

    Raises:
        ConfigError: They are not.
    """
    seen: dict[tuple[str, str], str] = {}
    firsts: dict[str, tuple[str, ColumnInfo]] = {}
    for branch, info in columns.items():
        modality = modality_of(branch)
        first, other = firsts.setdefault(modality, (branch, info))
        if medium_of(other) != medium_of(info):
            raise ConfigError(
                f"columns.{branch} = {info.name}: this is a column of {info.modality}, and {first} "
                f"is {other.modality}: branches of a modality go missing together, so name it "
                "after what it is."
            )
        before = seen.setdefault((modality, info.fingerprint), branch)
        if before != branch:
            raise ConfigError(
                f"columns.{branch} = {info.name}: {before} is the same column; a second branch of "
                "it tells the model nothing."
            )


def _check_store(run: RunFolder, now: dict[str, str]) -> None:
    before = run.read("columns.json")["fingerprints"]
    changed = [name for name, fingerprint in now.items() if before.get(name) != fingerprint]
    if changed:
        raise RunStateError(
            f"the store has changed since {run.path} began ({', '.join(changed)}), so going on "
            "would mix two data sets: start another run with --run."
        )
