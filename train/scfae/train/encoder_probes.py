"""What an encoder is worth by itself after it was trained: the fusion taken away, a linear probe.

Of a run that trains encoders (or adapters) each is taken alone: its features of every sample, their
mean over the rows, and a logistic regression on the training split, whose C validation chooses, for
the question that its modality can answer (a deepfake's picture is asked for its own label). Kept in
the run folder as `encoder_probes.json`, and what the probes said of each test sample beside it.

Beside a run that trained the same encoder with nothing to fuse (same seed, weights and steps) the
difference says what joint training did to it: below 0, damage. Its interval is of the bootstrap
over test samples that both have. It is kept in the joint run's folder as `degradation.json`.

Shapes: B samples of a batch, N of a split, d features.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from scfae.extract.device import choose_device
from scfae.fusion.pooling import masked_mean
from scfae.store import FeatureStore, FeatureStream, StoreView
from scfae.store.atomic import write_atomic
from scfae.store.errors import RunStateError, TaskError

from .bootstrap import Interval, bootstrap_intervals, resampled_intervals
from .loading import LoadedRun, load_run
from .metrics import Metrics, classification_metrics
from .model import rows_before_fusion
from .probes import alone, probe_scores
from .runs import RunFolder, write_json
from .splits import make_splits
from .tasks import Classification

PROBES_FILE: Final = "encoder_probes.json"
PROBE_SCORES_FILE: Final = "encoder_probes.npz"
DEGRADATION_FILE: Final = "degradation.json"
COMPARED: Final = ("accuracy", "roc_auc")

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class EncoderProbe:
    """A linear model of what one encoder says.

    Attributes:
        metrics: Of the test samples that have the modality.
        intervals: Their 95 % intervals over samples; None where undefined.
        n: How many samples those are.
        strength: The C that validation chose.
    """

    metrics: Metrics
    intervals: Mapping[str, Interval | None]
    n: int
    strength: float

    def as_dict(self) -> dict[str, Any]:
        """Return the probe as plain JSON values."""
        ends = {f"{k}_ci95": None if v is None else list(v) for k, v in self.intervals.items()}
        return {**self.metrics, **ends, "n": self.n, "strength": self.strength}


def probe_encoders(
    run: str | Path, *, device: str = "cpu", bootstrap: int = 1000
) -> dict[str, EncoderProbe]:
    """Return a probe of each encoder, or adapter, that a run has trained; keep them.

    Args:
        run: The run folder; its selected epoch is taken.
        device: Where the encoders run.
        bootstrap: Resamples behind each interval; 0 leaves intervals out.

    Raises:
        RunNotFound, CheckpointError: If there is no run, or nothing was selected yet.
        RunStateError: If it trains neither encoders nor adapters.
        TaskError: If it does not tell classes, or a split has no sample of a modality.
    """
    place = choose_device(device)
    loaded = load_run(run, device=place)
    model, task = loaded.config.model, loaded.task
    if not (model.encoders or model.adapters):
        raise RunStateError(f"{run} trains neither encoders nor adapters: there is none to probe.")
    if not isinstance(task, Classification):
        raise TaskError(f"{run} is a run of {task.name}: encoders are probed for classes.")
    data = loaded.config.data
    splits = make_splits(FeatureStore.open(data.store, check=loaded.config.loop.check), data)
    train, val, test = (
        _vectors(loaded, view, place) for view in (splits.train, splits.val, splits.test)
    )
    found: dict[str, EncoderProbe] = {}
    arrays: dict[str, Array] = {}
    for modality, there in test.items():
        if not all(modality in one and len(one[modality].ids) for one in (train, val, test)):
            raise TaskError(f"{run}: a split has no sample of {modality}, so it cannot be probed.")
        scores, strength = probe_scores(
            task,
            (train[modality].features, train[modality].targets),
            (val[modality].features, val[modality].targets),
            there.features,
        )
        found[modality] = EncoderProbe(
            task.metrics(there.targets, scores),
            bootstrap_intervals(there.targets, scores, resamples=bootstrap),
            len(there.ids),
            strength,
        )
        arrays[f"ids/{modality}"] = there.ids
        arrays[f"targets/{modality}"] = there.targets
        arrays[f"scores/{modality}"] = scores
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomic(loaded.run.path / PROBE_SCORES_FILE, buffer.getvalue())
    record = {name: one.as_dict() for name, one in found.items()}
    of = {"epoch": loaded.epoch, "checkpoint_sha256": loaded.run.best_sha256}
    write_json(loaded.run.path / PROBES_FILE, {**of, "modalities": record})
    return found


def is_probed(run: str | Path) -> bool:
    """Return whether a run has probes, and of the checkpoint that is selected now."""
    return _probed_sha256(run) == RunFolder(run).best_sha256


def _probed_sha256(run: str | Path) -> str | None:
    """Return which checkpoint a run's probes are of; None without probes."""
    if not (Path(run) / PROBES_FILE).is_file():
        return None
    found: str | None = RunFolder(run).read(PROBES_FILE).get("checkpoint_sha256")
    return found


@dataclass(frozen=True, slots=True)
class Change:
    """What joint training did to one encoder, by one figure.

    Attributes:
        joint: Of the probe after joint training.
        alone: Of the probe after training alone.
        delta: Joint minus alone; None where one is undefined.
        interval: Its 95 % interval over test samples that both have.
    """

    joint: float | None
    alone: float | None
    delta: float | None
    interval: Interval | None

    def as_dict(self) -> dict[str, Any]:
        """Return the change as plain JSON values."""
        ends = None if self.interval is None else list(self.interval)
        return {"joint": self.joint, "alone": self.alone, "delta": self.delta, "ci95": ends}


def degradation(
    joint: str | Path, alone: Mapping[str, str | Path], *, bootstrap: int = 1000
) -> dict[str, dict[str, Change]]:
    """Return by modality what joint training did to accuracy and AUC of an encoder; keep it.

    Args:
        joint: Folder of the run that trained encoders together, probed.
        alone: By modality, folder of the run that trained its encoder alone, probed.
        bootstrap: Resamples behind each interval; 0 leaves intervals out.

    Raises:
        RunStateError: One is not probed yet, or they share no test sample.
    """
    path = Path(joint)
    both = _kept(path)
    found: dict[str, dict[str, Change]] = {}
    for modality, run in alone.items():
        found[modality] = _changes(
            _of(both, modality, path), _of(_kept(Path(run)), modality, Path(run)), bootstrap
        )
    record = {
        **_basis(path, alone),
        "modalities": {
            modality: {name: one.as_dict() for name, one in changes.items()}
            for modality, changes in found.items()
        },
    }
    write_json(path / DEGRADATION_FILE, record)
    return found


def is_compared(joint: str | Path, alone: Mapping[str, str | Path]) -> bool:
    """Return whether a run is compared with these, and by the probes that they have now."""
    folder = RunFolder(joint)
    if not (folder.path / DEGRADATION_FILE).is_file():
        return False
    kept, now = folder.read(DEGRADATION_FILE), _basis(folder.path, alone)
    return {name: kept.get(name) for name in now} == now


def _basis(joint: Path, alone: Mapping[str, str | Path]) -> dict[str, Any]:
    """Return what a comparison is of: the runs, and the checkpoints that their probes are of."""
    return {
        "alone": {modality: str(run) for modality, run in alone.items()},
        "checkpoints": {
            "joint": _probed_sha256(joint),
            "alone": {modality: _probed_sha256(run) for modality, run in alone.items()},
        },
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Vectors:
    """Ids `[N]`, targets `[N]`, and features `[N, d]` or scores `[N, C]`."""

    ids: Array
    targets: Array
    features: Array


@torch.no_grad()
def _vectors(loaded: LoadedRun, view: StoreView, device: str) -> dict[str, _Vectors]:
    """Return mean features and targets of the samples that have each modality."""
    encode = loaded.task.encoder(view)
    parts: dict[str, list[tuple[Array, Array, Array]]] = {}
    size = loaded.config.optim.batch_size
    for cpu_batch in FeatureStream(view, batch_size=size, shuffle=False):
        batch = cpu_batch.to(device)
        rows = rows_before_fusion(loaded.model, batch.features, batch.present, batch.lengths)
        for modality, encoded in rows.items():
            place = view.modalities.index(modality)
            shown = alone(batch.present, place)
            has = shown[:, place]
            steps = torch.arange(encoded.shape[1], device=encoded.device)
            valid = steps < batch.lengths[modality][:, None]
            mean = masked_mean(encoded.double().masked_fill(~valid[:, :, None], 0.0), valid)[has]
            ids = np.array(batch.ids)[has.cpu().numpy()]
            targets = encode(batch, shown)[has].cpu().numpy()
            parts.setdefault(modality, []).append((ids, targets, mean.cpu().numpy()))
    return {
        modality: _Vectors(*(np.concatenate(one) for one in zip(*some, strict=True)))
        for modality, some in parts.items()
    }


def read_probe_scores(run: str | Path, modality: str) -> tuple[Array, Array, Array]:
    """Return what a run's probe said of one encoder: ids `[N]`, targets `[N]`, scores `[N, C]`.

    Raises:
        RunStateError: The run is not probed yet, or has no such encoder.
    """
    one = _of(_kept(Path(run)), modality, Path(run))
    return one.ids, one.targets, one.features


def _kept(run: Path) -> Mapping[str, Array]:
    path = run / PROBE_SCORES_FILE
    if not path.is_file():
        raise RunStateError(f"{run} is not probed yet.")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _of(kept: Mapping[str, Array], modality: str, run: Path) -> _Vectors:
    if f"ids/{modality}" not in kept:
        raise RunStateError(f"{run} has trained no encoder of {modality}.")
    names = (f"{what}/{modality}" for what in ("ids", "targets", "scores"))
    return _Vectors(*(kept[name] for name in names))


def _changes(joint: _Vectors, alone: _Vectors, bootstrap: int) -> dict[str, Change]:
    shared, mine, theirs = np.intersect1d(joint.ids, alone.ids, return_indices=True)
    if not len(shared):
        raise RunStateError("the two runs share no test sample, so nothing can be compared.")

    def measure(rows: Array) -> Metrics:
        first = _figures(joint, mine[rows])
        second = _figures(alone, theirs[rows])
        return {name: _less(first[name], second[name]) for name in COMPARED}

    every = np.arange(len(shared))
    ends = resampled_intervals(measure, len(shared), COMPARED, resamples=bootstrap)
    first, second, delta = _figures(joint, mine), _figures(alone, theirs), measure(every)
    return {name: Change(first[name], second[name], delta[name], ends[name]) for name in COMPARED}


def _figures(one: _Vectors, rows: Array) -> Metrics:
    return classification_metrics(one.targets[rows], one.features[rows])


def _less(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def read_degradation(run: str | Path) -> Mapping[str, Any]:
    """Return what `degradation` kept, by modality and figure; empty if it kept nothing."""
    folder = RunFolder(run)
    if not (folder.path / DEGRADATION_FILE).is_file():
        return {}
    found: Mapping[str, Any] = folder.read(DEGRADATION_FILE)["modalities"]
    return found
