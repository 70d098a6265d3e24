"""What a run is made of: every setting, its range and its meaning, in four groups.

Field names are unique across the groups, so `batch_size: 32` needs no group: flat or nested in
YAML, and `--batch-size 32` on the command line, mean the same. Nothing here imports torch until
a whole config is checked against the fusion models there are.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from scfae.store.branches import modalities_of
from scfae.store.config import Frozen, digest
from scfae.store.errors import ConfigError
from scfae.store.masking import named_modalities, parse_policy

from .encoder_config import EncoderConfig
from .setting_problems import describe
from .setting_problems import suggest as suggest
from .yaml_text import to_yaml, yaml_problem

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(min_length=1)]

PLACES = ("run", "trackers")
"""Settings that say where a run and its figures go; they change nothing of what it is."""

RESERVED_MODALITIES = ("split", "labels", "where", "self")
"""Names that `FeatureStore.view` takes for itself, so no modality can have them."""


def _none_word(value: object) -> object:
    """Return None for the word none, which is how a command line spells it."""
    return None if isinstance(value, str) and value.lower() in ("none", "null") else value


def _words(value: object) -> object:
    """Return the words of `a,b`, which is how a command line spells a list; none for `none`."""
    if not isinstance(value, str):
        return value
    words = [word.strip() for word in value.split(",")]
    return [] if words in (["none"], [""]) else words


class Group(Frozen):
    """A group of settings; the text under each field is its help on the command line."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class DataConfig(Group):
    """Which columns of which store, and what is to be told from them."""

    store: Name
    """Folder of the feature store."""
    columns: Annotated[dict[Name, Name], Field(min_length=1)]
    """Column of each modality, e.g. video=efficientnet-lite0 audio=ge2e; the order is kept. Several
    of one: as branches (video:motion=r2plus1d-18), or side by side (video=A+B)."""
    task: Literal[
        "classification", "binary", "multilabel", "regression", "deepfake", "retrieval"
    ] = "classification"
    """What is learned from the label."""
    label: Name
    """Label column of the store; for multilabel several, with commas between them."""
    modality_labels: dict[Name, Name] = Field(default_factory=dict)
    """deepfake: label column of each modality, e.g. video=fake_video audio=fake_audio."""
    task_options: dict[Name, JsonValue] = Field(default_factory=dict)
    """Options of the task, e.g. error=l1 or ap_norm=min_rk; each has a default."""
    where: dict[Name, int | float | str] = Field(default_factory=dict)
    """Only samples with these label values, e.g. fake=0."""
    train_split: Name = "train"
    """Split to train on."""
    val_split: Name = "val"
    """Split that selects the best epoch; 15 % of train if the store has none."""
    test_split: Name = "test"
    """Split that evaluation reads; training never does."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """Every label column that the task reads."""
        names = self.label.split(",") if self.task == "multilabel" else [self.label]
        stripped = (name.strip() for name in names)
        return tuple(dict.fromkeys([*stripped, *self.modality_labels.values()]))


class ModelConfig(Group):
    """Which fusion model."""

    fusion: Name = "scfae"
    """Fusion model, one of scfae.fusion.list_fusions()."""
    pooling: Name = "mean"
    """How a modality's rows become one vector: mean or attention."""
    options: dict[Name, JsonValue] = Field(default_factory=dict)
    """Options of the fusion model, e.g. expansion=2 shared_ratio=0.5."""
    linear_maps: dict[Name, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """Modalities that a linear map, trained with the model, brings to a width, e.g. video=128."""
    encoders: dict[Name, EncoderConfig] = Field(default_factory=dict)
    """Encoders that learn with the model, from columns input:NAME: video=r2plus1d-18, or JSON."""
    adapters: bool = False
    """Put a residual perceptron of two layers, which learns, before the model at each modality."""
    standardise: bool = True
    """Bring every modality to mean 0 and one loudness, as measured on the training split."""
    input_rms: Positive | Literal["auto"] = "auto"
    """That loudness, a root mean square over features; auto: what suits the fusion model."""
    loss_weights: dict[Name, NonNegative] = Field(default_factory=dict)
    """Weight of each auxiliary loss, e.g. recon=1; others as the fusion model's recipe says."""


class OptimConfig(Group):
    """How the weights move; the defaults are the paper's (AdamW, warm-up, cosine)."""

    recipe: Literal["ours", "authors"] = "ours"
    """Where settings of this group that are not given come from: ours, or the model's authors."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """AdamW, Adam, or SGD without momentum."""
    epochs: Annotated[int, Field(ge=1)] = 20
    """Passes over the training split."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Samples a step."""
    lr: Positive = 5e-4
    """Learning rate at the end of the warm-up."""
    lr_start: NonNegative = 2.5e-5
    """Learning rate of the first step."""
    lr_end: NonNegative = 0.0
    """Learning rate that the cosine falls to."""
    warmup: Share = 0.2
    """Share of all steps that warm up."""
    weight_decay: NonNegative = 0.01
    """The optimizer's weight decay."""
    beta1: Beta = 0.9
    """First decay rate of AdamW and Adam."""
    beta2: Beta = 0.999
    """Second decay rate of AdamW and Adam."""
    clip_norm: Annotated[Positive | None, BeforeValidator(_none_word)] = None
    """Largest norm of the gradient; none leaves it as it is."""
    clip_value: Annotated[Positive | None, BeforeValidator(_none_word)] = None
    """Largest absolute value in the gradient; none leaves it as it is."""
    combiner: Literal["sum", "pcgrad", "min_norm"] = "sum"
    """How the gradients of task and auxiliary losses come together."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Parts that each batch is computed in, one after the other, to save memory."""
    ema: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, BeforeValidator(_none_word)] = None
    """Decay of a moving average of the weights, which validation then sees; none keeps none."""
    class_weights: Literal["none", "balanced"] = "none"
    """Weigh every class alike in the loss (balanced), or every sample (none)."""


class LoopConfig(Group):
    """How the run goes, and where it is kept."""

    masking: Name = "none"
    """Modalities hidden in training: none, bernoulli:P, subsets or only:A,B."""
    bucketing: Literal["none", "length"] = "none"
    """length: batches of like lengths inside the shuffle window, which pad less."""
    balance: Name = "none"
    """A label whose classes come equally often in training; none for each sample once an epoch."""
    group_batches: bool = False
    """Batches of whole groups (dialogues), in order; batch_size then counts groups."""
    max_train_rows: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_none_word)] = (
        None
    )
    """At most so many rows of a sample are read in training, a random window; none reads all."""
    on_damage: Literal["stop", "mask"] = "stop"
    """A damaged shard stops the training, or hides its modality with a warning."""
    check: Literal["first-read", "never"] = "first-read"
    """Compare each shard with its checksum when it is first read, or leave that to verify."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    """Seed of the weights, the order and the masks."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")] = "auto"
    """auto, cpu, cuda or cuda:N; auto takes a GPU if there is one."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 autocast on a GPU, fp32 on a CPU; fp16 scales the loss."""
    select: Name = "auto"
    """Validation figure that selects the best epoch, loss among them; ties: the lower loss."""
    patience: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_none_word)] = None
    """Stop when so many epochs did not get better on validation; none takes all epochs."""
    checkpoint_every_s: Annotated[Positive | None, BeforeValidator(_none_word)] = 60.0
    """Also write a checkpoint after so many seconds; epochs write theirs if that is quick."""
    checkpoint_every_steps: Annotated[
        Annotated[int, Field(ge=1)] | None, BeforeValidator(_none_word)
    ] = None
    """Also write a checkpoint after so many steps inside an epoch."""
    gradients_every: Annotated[int, Field(ge=0)] = 0
    """Keep how gradients meet every so many steps; 0 never; 50 costs about 2 %."""
    trackers: Annotated[
        tuple[Literal["tensorboard", "mlflow", "wandb"], ...], BeforeValidator(_words)
    ] = ("tensorboard",)
    """Where figures go beside events.jsonl: tensorboard, mlflow, wandb, commas between; or none."""
    run: Name
    """Folder of the run; the same command again goes on with it."""


class RunConfig(Frozen):
    """Every setting of a run, checked.

    Attributes:
        data: Columns, label and splits.
        model: The fusion model and its losses.
        optim: Optimizer and schedule.
        loop: Masking, seed, device, selection, checkpoints, run folder.
    """

    data: DataConfig
    model: ModelConfig
    optim: OptimConfig
    loop: LoopConfig

    def flat(self) -> dict[str, Any]:
        """Return every setting by its own name, as plain JSON values."""
        nested = self.model_dump(mode="json")
        return {name: value for group in nested.values() for name, value in group.items()}

    def digest(self) -> str:
        """Return the sha256 of everything but where the run and its figures go."""
        # What is as by default is left out, so that a new setting leaves old digests as they are.
        nested = self.model_dump(mode="json", exclude_defaults=True)
        flat = {name: value for group in nested.values() for name, value in group.items()}
        return digest({name: value for name, value in flat.items() if name not in PLACES})

    def differences(self, other: "RunConfig") -> dict[str, tuple[Any, Any]]:
        """Return what differs from another config, places aside: {field: (mine, other's)}."""
        mine, theirs = self.flat(), other.flat()
        # The order of the columns is the cycle of the model, so {a, b} is not {b, a} here.
        return {
            name: (value, theirs[name])
            for name, value in mine.items()
            if name not in PLACES
            and (value != theirs[name] or _order(value) != _order(theirs[name]))
        }

    def with_loop(self, **settings: Any) -> "RunConfig":
        """Return the config with other settings of the loop, such as `seed` and `run`."""
        loop = LoopConfig.model_validate(self.loop.model_dump() | settings)
        return self.model_copy(update={"loop": loop})

    def yaml(self) -> str:
        """Return the config as YAML, nested in its groups."""
        return to_yaml(self.model_dump(mode="json"))


GROUPS: dict[str, type[Group]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "optim": OptimConfig,
    "loop": LoopConfig,
}
GROUP_OF: dict[str, str] = {name: key for key, kind in GROUPS.items() for name in kind.model_fields}
"""Group of each field; the field names of all groups are distinct."""


def load_config(
    path: str | Path | None,
    overrides: Mapping[str, Any] | None = None,
    *,
    source: str | Path | None = None,
) -> RunConfig:
    """Return the checked config of a run.

    Args:
        path: A YAML file, nested in groups or flat, or None.
        overrides: Settings that win over the file's, nested or flat; dicts are replaced whole.
        source: Where the overrides are from, for the message.

    Raises:
        ConfigError: Names every setting that is unknown, missing or not allowed, its value and
            what is allowed.
    """
    problems: list[str] = []
    settings: dict[str, Any] = {}
    if path is not None:
        settings.update(flatten(read_yaml(Path(path)), problems))
    settings.update(flatten(overrides or {}, problems))
    if settings.get("recipe") == "authors":
        settings = _recipe(settings) | settings

    groups: dict[str, Group] = {}
    for key, kind in GROUPS.items():
        try:
            groups[key] = kind(
                **{name: settings[name] for name in kind.model_fields if name in settings}
            )
        except ValidationError as error:
            problems.extend(describe(kind.model_fields, error.errors()))
    data, model, loop = groups.get("data"), groups.get("model"), groups.get("loop")
    modalities = tuple(data.columns) if isinstance(data, DataConfig) else None
    if modalities is not None:
        problems.extend(_modality_problems(modalities))
    if isinstance(model, ModelConfig):
        problems.extend(_fusion_problems(model))
    if modalities is not None and isinstance(model, ModelConfig):
        problems.extend(
            f"{field}.{name}: columns names no {name}.{suggest(name, modalities)} It names: "
            + ", ".join(modalities)
            for field in ("linear_maps", "encoders")
            for name in getattr(model, field)
            if name not in modalities
        )
    if isinstance(loop, LoopConfig):
        problems.extend(_masking_problems(loop.masking, modalities))
    if isinstance(data, DataConfig):
        problems.extend(_task_problems(data, settings.get("select", "auto")))
    if problems:
        where = f" of {path or source}" if path or source else ""
        raise ConfigError(f"the config{where} cannot be used:\n  " + "\n  ".join(problems))
    return RunConfig.model_validate(groups)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        ConfigError: It is not there, cannot be read, or holds something else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no config file {path}.") from None
    except IsADirectoryError:
        raise ConfigError(
            f"{path} is a folder; a YAML file is due (to go on with a run: --resume {path})."
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {yaml_problem(error)}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds a {type(content).__name__}; a mapping of settings is due.")
    return {str(key): value for key, value in content.items()}


def flatten(settings: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Return settings by their own names, whether they came nested or flat.

    Args:
        settings: As in YAML.
        problems: What is wrong with them is appended, a sentence each.
    """
    flat: dict[str, Any] = {}

    def put(name: str, value: Any, allowed: Iterable[str], inside: str) -> None:
        if name not in allowed:
            hint = suggest(name, [*GROUP_OF, *GROUPS])
            fields = ", ".join(allowed)
            problems.append(f"{inside}{name} = {value!r}: no such setting.{hint} Known: {fields}")
        elif name in flat:
            problems.append(f"{name}: given twice, {flat[name]!r} and {value!r}; keep one")
        else:
            flat[name] = value

    for name, value in settings.items():
        if name in GROUPS and isinstance(value, Mapping):
            for field, inner in value.items():
                put(str(field), inner, GROUPS[name].model_fields, f"{name}.")
        elif name in GROUPS:
            problems.append(f"{name} = {value!r}: a group; a mapping of its settings is due")
        else:
            put(name, value, GROUP_OF, "")
    return flat


def _modality_problems(branches: tuple[str, ...]) -> list[str]:
    problems = []
    for branch in branches:
        words = branch.split(":")
        if len(words) <= 2 and all(map(str.isidentifier, words)):
            if branch in RESERVED_MODALITIES:
                names = ", ".join(RESERVED_MODALITIES)
                problems.append(f"columns.{branch}: a modality's name is none of {names}")
            continue
        problems.append(
            f"columns.{branch}: a modality's name is a plain word of letters, digits and _, or "
            "MODALITY:NAME for one more branch of it, such as video:motion"
        )
    return problems


def _masking_problems(policy: str, modalities: tuple[str, ...] | None) -> list[str]:
    # Without columns to check against, the names that the policy itself gives are taken as known.
    named = named_modalities(policy)
    if named is None:
        return []  # a stored table; it is read when a stream is made of it
    known = modalities_of(modalities or named)
    try:
        parse_policy(policy, known)
    except ConfigError as error:
        return [f"masking = {policy!r}: {str(error).removeprefix('masking: ')}"]
    return []


def _recipe(settings: Mapping[str, Any]) -> dict[str, Any]:
    from scfae.fusion import list_fusions  # torch comes with it

    from .recipe import recipe_settings

    name = settings.get("fusion", ModelConfig.model_fields["fusion"].default)
    # A name that is unknown is reported with everything else that is wrong.
    return next((recipe_settings(info) for info in list_fusions() if info.name == name), {})


def _task_problems(data: DataConfig, select: Any) -> list[str]:
    from .tasks import TASKS, parse_options  # torch comes with it

    kind = TASKS[data.task]
    options, problems = parse_options(kind, data.task_options)
    known = ("auto", "loss", *kind.possible_metrics(options))
    if isinstance(select, str) and select not in known:
        problems.append(
            f"select = {select!r}: {data.task} has no such metric.{suggest(select, known)} "
            f"Known: {', '.join(known)}"
        )
    return problems


def _fusion_problems(model: ModelConfig) -> list[str]:
    from scfae.fusion import list_fusions  # torch comes with it, so only a whole config asks

    known = {info.name: info for info in list_fusions()}
    if model.fusion not in known:
        hint = suggest(model.fusion, known)
        return [f"fusion = {model.fusion!r}: no such model.{hint} Known: {', '.join(known)}"]
    # Pooling has a setting of its own.
    defaults = known[model.fusion].defaults
    options = [name for name in defaults if name != "pooling"]
    words = [
        f"options.{name} = {value!r}: a word; {json.dumps(default)} or the like is due"
        for name, value in model.options.items()
        if isinstance(value, str) and isinstance(default := defaults.get(name), int | float)
    ]
    return words + [
        f"options.{name} = {value!r}: {model.fusion} has no such option.{suggest(name, options)} "
        f"Known: {', '.join(options)}"
        for name, value in model.options.items()
        if name not in options
    ]


def _order(value: Any) -> list[str]:
    return list(value) if isinstance(value, dict) else []
