"""Models and what they say, as they are asked for and answered."""

import re
from typing import Annotated, Final

from pydantic import Field, JsonValue

from scfae.store.config import Frozen

from .jobs import RunId

MODEL_NAME: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
ModelName = Annotated[str, Field(pattern=MODEL_NAME.pattern)]
Modality = Annotated[str, Field(max_length=200)]


class ModelFigure(Frozen):
    """What a model scored.

    Attributes:
        metric: Which figure.
        value: None where it is undefined.
        interval: 95 %; None where unknown.
        baseline: What who sees no features scores; None where unknown.
        split: test if the run was evaluated, else val.
    """

    metric: str
    value: float | None
    interval: tuple[float, float] | None = None
    baseline: float | None = None
    split: str


class ModelColumn(Frozen):
    """What a modality of a model was trained on.

    Attributes:
        name: Of the column in the store.
        encoder: That made it.
        fingerprint: Of the column.
    """

    name: str
    encoder: str
    fingerprint: str


class ModelVersion(Frozen):
    """One version of a model.

    Attributes:
        name: Of the model.
        version: Counts from 1.
        job: The job that trained the run.
        member: The run's folder in a sweep; None for a training.
        figure: What it scored when it was promoted; None if nothing was selected by.
        task: What was learned.
        label: From which label.
        classes: In the order of the logits; empty for a task without.
        store: Where the data is.
        data_fingerprint: Of samples, labels and splits, as the run was trained on them.
        columns: By branch, in the run's order.
        config_digest: Of the run's settings.
        checkpoint_sha256: Of the checkpoint that validation selected.
        epoch: Of that checkpoint.
        actor: Who promoted it.
        time_s: When, in seconds since 1970.
        note: Why, in words.
    """

    name: str
    version: int
    job: str
    member: str | None
    figure: ModelFigure | None
    task: str
    label: str
    classes: tuple[int | str, ...]
    store: str
    data_fingerprint: str
    columns: dict[str, ModelColumn]
    config_digest: str
    checkpoint_sha256: str
    epoch: int | None
    actor: str
    time_s: float
    note: str


class ModelView(Frozen):
    """A model in a list.

    Attributes:
        name: Its name.
        versions: How many there are now.
        newest: The newest of them.
    """

    name: str
    versions: int
    newest: ModelVersion


class ModelDetail(Frozen):
    """A model by itself.

    Attributes:
        name: Its name.
        versions: The newest first.
    """

    name: str
    versions: tuple[ModelVersion, ...]


class Promotion(Frozen):
    """What becomes the next version of a model.

    Attributes:
        run: The job that trained it.
        member: Of a sweep: the run's folder.
        note: Why, in words.
    """

    run: RunId
    member: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    note: Annotated[str, Field(max_length=2000)] = ""


class SampleQuestion(Frozen):
    """A sample of the run's store to predict.

    Attributes:
        sample: Its key.
        only: Modalities to use; all that it has if empty.
    """

    sample: Annotated[str, Field(min_length=1, max_length=2000)]
    only: Annotated[tuple[Modality, ...], Field(max_length=50)] = ()


class Prediction(Frozen):
    """What a model says.

    Attributes:
        model: Its name.
        version: Which version.
        answer: Of what was asked: `prediction` and, for tasks with classes, `probabilities`.
        subsets: The same under every set of the modalities that are present, joined by +.
        present: Branches that the answer rests on.
        absent: Why others are not there.
        temperature: What logits were divided by; null if the run was not evaluated.
        sample: `id`, `split` and `labels` of a stored sample.
        seconds: What it took.
    """

    model: str
    version: int
    answer: dict[str, JsonValue]
    subsets: dict[str, dict[str, JsonValue]]
    present: tuple[str, ...]
    absent: dict[str, str]
    temperature: float | None
    sample: dict[str, JsonValue] | None
    seconds: float
