"""The models of a service: runs that were promoted under a name, version by version.

```
SERVICE/models/<name>/
  <version>/model.json     the run, its figure, what it was trained on; never changed
  <version>/deleted.json   who took the version back, and when; its number is not given again
```

The folder is the truth and there is no index. The checkpoint stays the run's: a job whose run is
promoted cannot go to the trash, and a checkpoint that has changed since is noticed by its digest.
"""

import time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from scfae.store.atomic import atomic_folder, sha256_file, write_atomic
from scfae.store.config import Frozen
from scfae.store.errors import (
    ConfigError,
    JobStateError,
    ModelNotFound,
    RunStateError,
    ServiceError,
)
from scfae.train.runs import EVALUATION_FILE, RunFolder

from .folder import JobFolder
from .model_views import (
    MODEL_NAME,
    ModelColumn,
    ModelDetail,
    ModelFigure,
    ModelVersion,
    ModelView,
)
from .states import ENDED

_SAMPLES = "samples, labels and splits"  # as `opening` calls their fingerprint
_ENDS = {"failed": "failed", "cancelled": "was cancelled", "finished": "ended"}
_MODEL, _DELETED = "model.json", "deleted.json"


class Models:
    """The models of a service folder.

    Args:
        service: The service's folder.
    """

    def __init__(self, service: Path) -> None:
        self.folder = service / "models"
        self._runs = service / "runs"

    def models(self) -> list[ModelView]:
        """Return every model that has a version, by name."""
        found = []
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            versions = self._versions(path.name)
            if versions:
                view = ModelView(name=path.name, versions=len(versions), newest=versions[0])
                found.append(view)
        return found

    def model(self, name: str) -> ModelDetail:
        """Return a model with its versions.

        Raises:
            ModelNotFound: There is none.
        """
        versions = self._versions(name)
        if not versions:
            raise ModelNotFound(f"there is no model {name!r}.")
        return ModelDetail(name=name, versions=tuple(versions))

    def version(self, name: str, number: int | None = None) -> ModelVersion:
        """Return one version of a model, the newest if none is named.

        Raises:
            ModelNotFound: There is none.
        """
        versions = self.model(name).versions
        for one in versions:
            if number in (None, one.version):
                return one
        known = ", ".join(str(one.version) for one in reversed(versions))
        raise ModelNotFound(f"model {name} has no version {number}; it has {known}.")

    def run_of(self, version: ModelVersion) -> Path:
        """Return the run folder of a version."""
        run = self._runs / version.job / "run"
        return run if version.member is None else run / version.member

    def of_job(self, job: str) -> list[ModelVersion]:
        """Return the versions whose run a job has trained."""
        names = sorted(one.name for one in self.folder.iterdir()) if self.folder.is_dir() else []
        return [one for name in names for one in self._versions(name) if one.job == job]

    def promote(
        self, name: str, job: JobFolder, *, member: str | None, actor: str, note: str
    ) -> ModelVersion:
        """Make a run the next version of a model; the caller holds the queue's lock.

        Args:
            name: Of the model; a new one begins with version 1.
            job: Whose run it is.
            member: The run's folder in a sweep.
            actor: Who asks.
            note: Why.

        Raises:
            ConfigError: The name is none, or the job trains nothing.
            JobStateError: It has not ended.
            RunStateError, RunNotFound: It has no run of this name, or nothing was selected yet.
        """
        if not MODEL_NAME.match(name):
            raise ConfigError(
                f"name = {name!r}: letters, digits and . _ - only, 64 at most, beginning with a "
                "letter or a digit."
            )
        record = job.record()
        if record.state not in ENDED:
            raise JobStateError(f"job {job.id} is {record.state}: promote it when it has ended.")
        if record.kind == "train" and not RunFolder.exists(job.run_path):
            why = f", {record.reason}" if record.reason else ""
            raise RunStateError(
                f"job {job.id} has no run to promote: it {_ENDS[record.state]} before it began"
                f"{why.removesuffix('.')}."
            )
        run = _run_of(job, record.kind, member)
        if not run.best.is_file():
            raise RunStateError(f"job {job.id} has no checkpoint to promote.")
        config, columns = run.config, run.read("columns.json")
        task = run.read("task.json")
        best = run.state().get("best") or {}
        place = self.folder / name
        place.mkdir(parents=True, exist_ok=True)
        version = ModelVersion(
            name=name,
            version=1 + max(_numbers(place), default=0),
            job=job.id,
            member=member,
            figure=_figure(run, best),
            task=config.data.task,
            label=config.data.label,
            classes=tuple(task.get("classes") or ()),
            store=config.data.store,
            data_fingerprint=columns["fingerprints"][_SAMPLES],
            columns={
                branch: ModelColumn(
                    name=info.name, encoder=info.encoder, fingerprint=info.fingerprint
                )
                for branch, info in run.columns.items()
            },
            config_digest=config.digest(),
            checkpoint_sha256=sha256_file(run.best),
            epoch=best.get("epoch"),
            actor=actor,
            time_s=time.time(),
            note=note,
        )
        with atomic_folder(place / str(version.version)) as folder:
            (folder / _MODEL).write_text(version.model_dump_json(indent=2) + "\n", "utf-8")
        return version

    def delete(self, name: str, number: int, *, actor: str) -> None:
        """Take a version back; the caller holds the queue's lock.

        Raises:
            ModelNotFound: There is none.
        """
        version = self.version(name, number)
        record = _Deleted(actor=actor, time_s=time.time())
        path = self.folder / name / str(version.version) / _DELETED
        write_atomic(path, record.model_dump_json(indent=2).encode() + b"\n")

    def _versions(self, name: str) -> list[ModelVersion]:
        """Return the versions of a model that were not taken back, the newest first."""
        place = self.folder / name
        if not MODEL_NAME.match(name) or not place.is_dir():
            return []
        return [
            _read(place / str(number) / _MODEL)
            for number in sorted(_numbers(place), reverse=True)
            if not (place / str(number) / _DELETED).is_file()
        ]


class _Deleted(Frozen):
    actor: str
    time_s: float


def refuse_promoted(service: Path, job: str) -> None:
    """Check that no model is a job's run, so that the job may go.

    Raises:
        JobStateError: Names the models.
    """
    found = [f"{one.name} version {one.version}" for one in Models(service).of_job(job)]
    if found:
        raise JobStateError(
            f"job {job} is the model {' and '.join(found)}: delete that version first."
        )


def _run_of(job: JobFolder, kind: str, member: str | None) -> RunFolder:
    if kind not in ("train", "sweep"):
        raise ConfigError(f"run: job {job.id} is of kind {kind}, which trains nothing.")
    if (kind == "sweep") != (member is not None):
        say = "name one of its runs as member" if kind == "sweep" else "leave member out"
        raise ConfigError(f"member: job {job.id} is a {kind}; {say}.")
    if member is None:
        return RunFolder(job.run_path)
    if member != Path(member).name or member.startswith("."):
        raise ConfigError(f"member = {member!r}: the name of a folder of the sweep is due.")
    return RunFolder(job.run_path / member)


def _figure(run: RunFolder, best: dict[str, Any]) -> ModelFigure | None:
    if (run.path / EVALUATION_FILE).is_file():
        evaluation = run.read(EVALUATION_FILE)
        metric = evaluation["headline_metric"]
        full = list(evaluation["conditions"].values())[-1]
        return ModelFigure(
            metric=metric,
            value=full[metric],
            interval=full.get(f"{metric}_ci95"),
            baseline=evaluation["majority"].get(metric),
            split=evaluation["split"],
        )
    if not best:
        return None
    return ModelFigure(metric=best["metric"], value=best["value"], split="val")


def _numbers(place: Path) -> list[int]:
    return [int(one.name) for one in place.iterdir() if one.name.isdecimal() and one.name.isascii()]


def _read(path: Path) -> ModelVersion:
    try:
        return ModelVersion.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ServiceError(f"{path} cannot be read: {error}") from None
