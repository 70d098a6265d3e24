"""Every setting of a run, its range and its meaning, in four groups.

Field names are unique across the groups; the text under each is its help on the command line.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue

from scfae.store.config import Frozen

from .encoder_config import EncoderConfig

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(min_length=1)]

PLACES = ("run", "trackers")
"""Settings that say where a run and its figures go; they change nothing of what it is."""


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


GROUPS: dict[str, type[Group]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "optim": OptimConfig,
    "loop": LoopConfig,
}
GROUP_OF: dict[str, str] = {name: key for key, kind in GROUPS.items() for name in kind.model_fields}
"""Group of each field; the field names of all groups are distinct."""
