"""What can be asked of the service: one model a kind, and the command that does it.

A request holds settings only: no import path, no shell, and every path under a configured root.
Each kind is a command of `scfae`, so what a job did can be done again by hand.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue, ValidationError

from scfae.extract import parse_encoder
from scfae.extract.registry import find_entry
from scfae.store.config import Frozen
from scfae.store.errors import ConfigError, UnknownEncoder

from .faults import faults
from .kind import Kind, Name
from .reproduce_job import ReproduceJob
from .roots import Roots
from .submitted import checked_config, checked_grid

JOB_ID = re.compile(r"^[0-9a-f]{12}$")
Modality = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(:\w+)?$", max_length=100)]
"""Of a run, or a branch of one; never a flag of the command that gets it as a word."""
RunId = Annotated[str, Field(pattern=JOB_ID.pattern)]
Rates = Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(max_length=20)]
_ENCODER = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(@[^:]+(:\d+)?)?(:[\w=.,+-]*)?$")
_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")


class TrainJob(Kind):
    """Train a fusion model; `scfae train`."""

    kind: Literal["train"] = "train"
    config: dict[str, JsonValue]
    """Settings of a run, flat or in groups, without `run`; see /api/v1/schema/run."""
    evaluate: bool = True
    """Measure it with every subset of modalities when it is trained."""
    missing_rates: Rates = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    """Also measure it with each modality hidden from so large a share of the samples."""

    def checked(self, roots: Roots, runs: Path) -> "TrainJob":
        """Return it with the whole config, defaults filled in."""
        return self.model_copy(update={"config": checked_config(self.config, roots)})

    @property
    def reads(self) -> str | None:
        """The store, once the config is whole."""
        return _store_of(self.config)

    def settings(self, folder: Path) -> dict[str, Any]:
        """Return the config."""
        return self.config

    def words(self, folder: Path) -> list[str]:
        """Return the words of `scfae train`."""
        return ["train", str(folder / "request.yaml"), "--run", str(folder / "run")]

    def then(self, folder: Path) -> list[list[str]]:
        """Return the words of `scfae evaluate`."""
        if not self.evaluate:
            return []
        config: Any = self.config
        words = ["evaluate", str(folder / "run"), "--device", config["loop"]["device"]]
        # Retrieval embeds each modality alone, so none can be missing beside it.
        if self.missing_rates and config["data"]["task"] != "retrieval":
            words += ["--missing-rates", *map(str, self.missing_rates)]
        return [words]

    @property
    def about(self) -> str:
        """Words to find the job by."""
        return _about(self.config)


class SweepJob(Kind):
    """Train many runs that differ in seeds and settings; `scfae sweep`."""

    kind: Literal["sweep"] = "sweep"
    config: dict[str, JsonValue]
    """Settings that all runs share, as those of a training."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(max_length=1000)] = ()
    """Each setting is trained once with each seed."""
    grid: dict[Name, tuple[JsonValue, ...]] = Field(default_factory=dict)
    """Values of settings, combined in every way."""
    jobs: Annotated[int, Field(ge=1, le=64)] = 1
    """Runs at a time."""

    def checked(self, roots: Roots, runs: Path) -> "SweepJob":
        """Return it with the whole config, and every setting of the grid checked as one."""
        config = checked_config(self.config, roots)
        grid = checked_grid(config, self.grid, roots)
        return self.model_copy(update={"config": config, "grid": grid})

    @property
    def reads(self) -> str | None:
        """The store, once the config is whole."""
        return _store_of(self.config)

    def settings(self, folder: Path) -> dict[str, Any]:
        """Return the config with its `sweep` section."""
        varied: dict[str, Any] = {}
        if self.seeds:
            varied["seeds"] = list(self.seeds)
        if self.grid:
            varied["grid"] = {name: list(values) for name, values in self.grid.items()}
        return self.config | {"sweep": varied}

    def words(self, folder: Path) -> list[str]:
        """Return the words of `scfae sweep`."""
        words = ["sweep", str(folder / "request.yaml"), "--run", str(folder / "run")]
        return [*words, "--jobs", str(self.jobs)]

    @property
    def about(self) -> str:
        """Words to find the job by."""
        return _about(self.config)


class EvaluateJob(Kind):
    """Measure a run with every subset of modalities; `scfae evaluate`."""

    kind: Literal["evaluate"] = "evaluate"
    run: RunId
    """Id of the job that trained it."""
    columns: dict[Modality, Name] = Field(default_factory=dict)
    """Columns of the same width in place of the run's own."""
    bootstrap: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Resamples behind each interval."""
    missing_rates: Rates = ()
    """Also hide each modality from so large a share of the samples."""
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?|mps)$")] = "cpu"
    """cpu, cuda or cuda:N."""

    def checked(self, roots: Roots, runs: Path) -> "EvaluateJob":
        """Return it; the run must be there."""
        _check_run(runs, self.run)
        return self

    def words(self, folder: Path) -> list[str]:
        """Return the words of `scfae evaluate`."""
        words = ["evaluate", str(folder.parent / self.run / "run"), "--json"]
        words += ["--bootstrap", str(self.bootstrap), "--device", self.device]
        if self.columns:
            words += ["--columns", *(f"{name}={value}" for name, value in self.columns.items())]
        if self.missing_rates:
            words += ["--missing-rates", *map(str, self.missing_rates)]
        return words

    @property
    def prints(self) -> str:
        """The evaluation."""
        return "evaluation.json"

    @property
    def about(self) -> str:
        """Words to find the job by."""
        return self.run


class ExtractJob(Kind):
    """Run encoders over media into a store; `scfae extract`."""

    kind: Literal["extract"] = "extract"
    media: Name
    """Folder or manifest, under a media root."""
    store: Name
    """Feature store, under a store root; made if it is not there."""
    encoders: Annotated[tuple[Name, ...], Field(min_length=1, max_length=20)]
    """Each NAME[@WEIGHTS][:option=value,…]."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """auto, cpu, cuda or cuda:N."""
    dtype: Literal["float32", "float16"] = "float32"
    """Type of the stored features."""
    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    """Decoding processes."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 8
    """Windows a forward pass."""
    max_failures: Annotated[int, Field(ge=0)] = 0
    """More quarantined inputs than this fail the job."""

    def checked(self, roots: Roots, runs: Path) -> "ExtractJob":
        """Return it with absolute paths."""
        encoders = tuple(_checked_encoder(encoder, roots) for encoder in self.encoders)
        media, store = roots.media_path(self.media), roots.store(self.store)
        if not Path(media).exists():
            raise ConfigError(f"media = {self.media!r}: there is nothing of that name.")
        return self.model_copy(update={"media": media, "store": store, "encoders": encoders})

    def words(self, folder: Path) -> list[str]:
        """Return the words of `scfae extract`."""
        words = ["extract", self.media, self.store, "--device", self.device, "--dtype", self.dtype]
        words += [word for encoder in self.encoders for word in ("-e", encoder)]
        words += ["--batch-size", str(self.batch_size), "--max-failures", str(self.max_failures)]
        return words if self.workers is None else [*words, "--workers", str(self.workers)]

    @property
    def about(self) -> str:
        """Words to find the job by."""
        return " ".join([self.media, self.store, *self.encoders])


class DeriveJob(Kind):
    """Compute a column from another; `scfae store derive`."""

    kind: Literal["derive"] = "derive"
    store: Name
    """Feature store, under a store root."""
    column: Annotated[str, Field(pattern=r"^[^/\\-][^/\\]*$", max_length=200)]
    """The column to compute from."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$", max_length=200)]
    """Name of the new column."""
    pool: Literal["mean", "max", "std", "mean+std"] | None = None
    """One row a sample."""
    pca: Annotated[int, Field(ge=1)] | None = None
    """So many principal components, fitted on the training split."""
    project: Annotated[int, Field(ge=1)] | None = None
    """So many random projections."""
    dtype: Literal["float32", "float16"] | None = None
    """How the rows are stored; as those of the parent if not given."""

    def checked(self, roots: Roots, runs: Path) -> "DeriveJob":
        """Return it with an absolute path."""
        store = roots.store(self.store)
        return self.model_copy(update={"store": store})

    @property
    def reads(self) -> str | None:
        """The store."""
        return self.store

    def words(self, folder: Path) -> list[str]:
        """Return the words of `scfae store derive`."""
        words = ["store", "derive", self.store, self.column, "--as", self.name]
        for flag in ("pool", "pca", "project", "dtype"):
            value = getattr(self, flag)
            words += [] if value is None else [f"--{flag}", str(value)]
        return words

    @property
    def about(self) -> str:
        """Words to find the job by."""
        return f"{self.store} {self.column} {self.name}"


class PredictJob(Kind):
    """Predict a folder or manifest of media by a run; `scfae predict`."""

    kind: Literal["predict-batch"] = "predict-batch"
    run: RunId
    """Id of the job that trained the model."""
    media: Name
    """File, folder or manifest, under a media root."""
    only: Annotated[tuple[Modality, ...], Field(max_length=50)] = ()
    """Modalities to use; all of the run's if empty."""
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?|mps)$")] = "cpu"
    """cpu, cuda or cuda:N."""
    max_failures: Annotated[int, Field(ge=0)] = 0
    """More unreadable samples than this fail the job."""

    def checked(self, roots: Roots, runs: Path) -> "PredictJob":
        """Return it with an absolute path; the run must be there."""
        _check_run(runs, self.run)
        media = roots.media_path(self.media)
        if not Path(media).exists():
            raise ConfigError(f"media = {self.media!r}: there is nothing of that name.")
        return self.model_copy(update={"media": media})

    def words(self, folder: Path) -> list[str]:
        """Return the words of `scfae predict`."""
        words = ["predict", str(folder.parent / self.run / "run"), self.media]
        words += ["--device", self.device, "--max-failures", str(self.max_failures)]
        return [*words, "--only", *self.only] if self.only else words

    @property
    def prints(self) -> str:
        """One JSON object a line."""
        return "predictions.jsonl"

    @property
    def about(self) -> str:
        """Words to find the job by."""
        return f"{self.run} {self.media}"


Job = Annotated[
    TrainJob | SweepJob | EvaluateJob | ExtractJob | DeriveJob | PredictJob | ReproduceJob,
    Field(discriminator="kind"),
]
"""One of the kinds."""


class JobRequest(Frozen):
    """A job as it is asked for."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    job: Job
    """What is to be done."""
    name: Annotated[str, Field(max_length=200)] = ""
    """What people call it."""
    tags: Annotated[tuple[Annotated[str, Field(max_length=60)], ...], Field(max_length=20)] = ()
    """Words to find it by."""
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    """Jobs of higher priority start first; within one, in the order they came."""
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """So many unplanned interruptions, and the job has failed."""
    parent: RunId | None = None
    """The job that this one was cloned from."""

    def checked(self, roots: Roots, runs: Path) -> "JobRequest":
        """Return the same with every setting checked and every path absolute.

        Raises:
            ConfigError: A setting cannot be used; names it.
        """
        return self.model_copy(update={"job": self.job.checked(roots, runs)})


def read_request(document: Mapping[str, Any]) -> JobRequest:
    """Return the request in a JSON document.

    Raises:
        ConfigError: Names every field that cannot be used.
    """
    try:
        return JobRequest.model_validate(document)
    except ValidationError as error:
        lines = [said for _, said in faults(error.errors())]
        raise ConfigError("the request cannot be used:\n  " + "\n  ".join(lines)) from None


def _about(config: Mapping[str, Any]) -> str:
    data, model = config.get("data", {}), config.get("model", {})
    if not isinstance(data, Mapping) or not isinstance(model, Mapping):
        return ""
    columns = data.get("columns", {})
    words = [data.get("store", ""), data.get("task", ""), data.get("label", "")]
    words += [*columns.values(), model.get("fusion", "")]
    return " ".join(map(str, words))


def _store_of(config: Mapping[str, Any]) -> str | None:
    data = config.get("data")
    store = data.get("store") if isinstance(data, Mapping) else None
    return store if isinstance(store, str) else None


def _check_run(runs: Path, run: str) -> None:
    if not (runs / run / "run" / "config.yaml").is_file():
        raise ConfigError(f"run = {run!r}: no job of that id has trained a run.")


def _checked_encoder(text: str, roots: Roots) -> str:
    """Return the encoder with the place of its weights, if they are a file, made absolute."""
    if not _ENCODER.match(text):
        raise ConfigError(f"encoders: {text!r} is not NAME[@WEIGHTS][:option=value,…].")
    try:
        find_entry(parse_encoder(text).name)
    except UnknownEncoder as error:
        raise ConfigError(f"encoders: {error}") from None
    name, at, weights = text.partition("@")
    if not at or re.match(r"^random:\d+(:|$)", weights):
        return text
    place, colon, options = weights.partition(":")
    if _HUB_ID.match(place):
        return text  # an id of the hub: jobs run in a folder where no such file is
    return f"{name}@{roots.media_path(place)}{colon}{options}"
