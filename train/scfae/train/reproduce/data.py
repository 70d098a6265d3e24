"""Which columns of which store play a data set of the paper.

A part is one of the paper's three data sets as it is here: an official one that `scfae data` and
`scfae extract` made, or generated media that stand in its place and say so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scfae.extract.families.inputs import PREFIX
from scfae.store import ColumnInfo, FeatureStore
from scfae.store.derivation import is_derived
from scfae.store.errors import ConfigError
from scfae.store.joined import medium_of

from ..setting_problems import suggest
from .tables import DatasetName


@dataclass(frozen=True, slots=True)
class _Official:
    """What a data set is at its authors': modalities by letter in the order of the cycle."""

    title: str
    letters: Mapping[str, str]
    task: str
    label: str
    modality_labels: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)


OFFICIAL: dict[DatasetName, _Official] = {
    "activitynet": _Official(
        "ActivityNet", {"v": "video", "i": "image"}, task="retrieval", label="class"
    ),
    "fakeavceleb": _Official(
        "FakeAVCeleb",
        {"a": "audio", "v": "video"},
        task="deepfake",
        label="fake",
        modality_labels={"audio": "fake_audio", "video": "fake_video"},
        metrics={"auc": "roc_auc"},
    ),
    "mosei": _Official(
        "CMU-MOSEI",
        {"a": "audio", "v": "video", "t": "text"},
        task="regression",
        label="sentiment",
        metrics={"accuracy": "acc2_nonzero", "f1": "f1_nonzero"},
    ),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A data set of the paper as it is here.

    Attributes:
        dataset: Which.
        title: What it is called in tables.
        store: Its store.
        columns: Column of each modality, in the order of the cycle.
        letters: Modality of each letter of the paper.
        task: What is learned.
        label: From which label.
        modality_labels: Label of each modality, of deepfakes.
        where: Only samples with these label values.
        metrics: The task's own name of a table's metric, where it is another.
        image_dim: Features of an image, to which 128-128 maps the video; 0 elsewhere.
        has_groups: Whether samples come in groups (dialogues).
        sizes: Options of some methods, where there are too few samples for their published size.
        reduced: Settings of each modality's encoder in tables that train them, where they are not
            the published ones, trained whole.
        joint: Settings of the runs that train them.
        encoders: Settings of each modality's encoder in a row that trains them.
        adapters: Whether a row trains adapters.
        training: Settings of every run on it that win over the protocol's, for generated media.
        note: How it differs from the official data; empty for that.
    """

    dataset: DatasetName
    title: str
    store: str
    columns: Mapping[str, str]
    letters: Mapping[str, str]
    task: str
    label: str
    modality_labels: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    image_dim: int = 0
    has_groups: bool = False
    sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reduced: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    joint: Mapping[str, Any] = field(default_factory=dict)
    encoders: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    adapters: bool = False
    training: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def is_joint(self) -> bool:
        """Whether something learns before the fusion."""
        return self.adapters or bool(self.encoders)

    def joint_settings(self) -> dict[str, Any]:
        """Return the settings of what learns before the fusion."""
        if self.adapters:
            return {"adapters": True}
        encoders = {modality: dict(one) for modality, one in self.encoders.items()}
        return {"encoders": encoders, "max_train_rows": 1}

    def modalities(self, letters: str) -> tuple[str, ...]:
        """Return the modalities of some letters, in the run's order."""
        named = {self.letters[letter] for letter in letters}
        return tuple(modality for modality in self.columns if modality in named)

    def condition(self, letters: str | None) -> str:
        """Return the name of a condition; None is the only one there is, image to video."""
        if letters is None:
            return f"{self.letters['i']}>{self.letters['v']}"
        return "+".join(self.modalities(letters))

    def metric(self, name: str) -> str:
        """Return the task's name of a table's metric."""
        return self.metrics.get(name, name)

    def settings(self) -> dict[str, Any]:
        """Return the settings of a run that say what is learned from what."""
        found: dict[str, Any] = {
            "store": self.store,
            "columns": dict(self.columns),
            "task": self.task,
            "label": self.label,
        }
        if self.modality_labels:
            found["modality_labels"] = dict(self.modality_labels)
        if self.where:
            found["where"] = dict(self.where)
        return found


def official_part(
    dataset: DatasetName, store: str, columns: Mapping[str, str] | None = None
) -> Part:
    """Return an official data set that lies in a store.

    Args:
        dataset: Which.
        store: The store, a folder or URL.
        columns: Column of a modality, where the store has several.

    Raises:
        StoreNotFound: There is no store.
        ConfigError: A column or label is missing, or there are several of a modality.
    """
    known = OFFICIAL[dataset]
    opened = FeatureStore.open(store)
    labels = (known.label, *known.modality_labels.values())
    lacking = [name for name in labels if name not in opened.samples.label_names]
    if lacking:
        there = ", ".join(opened.samples.label_names) or "none"
        raise ConfigError(
            f"data: {store} has no label {', '.join(lacking)} (it has {there}), so it is not "
            f"{known.title} as scfae data {dataset} makes it."
        )
    asked = dict(columns or {})
    chosen = {
        modality: _column(opened, store, dataset, modality, asked)
        for modality in known.letters.values()
    }
    image = chosen.get("image")
    groups = [group for group in opened.samples.group if group]
    return Part(
        dataset=dataset,
        title=known.title,
        store=store if "://" in store else str(Path(store).resolve()),
        columns={modality: info.name for modality, info in chosen.items()},
        letters=known.letters,
        task=known.task,
        label=known.label,
        modality_labels=known.modality_labels,
        metrics=known.metrics,
        image_dim=0 if image is None else image.dim,
        has_groups=len(set(groups)) < len(groups),
    )


_MEDIA = {"video": "pictures", "image": "pictures", "audio": "audio", "text": "text"}


def _column(
    store: FeatureStore, place: str, dataset: str, modality: str, asked: Mapping[str, str]
) -> ColumnInfo:
    """Return the column of a modality: the one asked for, or the only one not derived."""
    name = asked.get(f"{dataset}.{modality}", asked.get(modality))
    if name is not None:
        return store.column(name).info
    # Encoders of pictures read the frames of clips, too.
    every = [info for info in store.columns.values() if medium_of(info) == _MEDIA[modality]]
    # Windows are for tables that train encoders, which look for them themselves.
    stored = [info for info in every if not info.encoder.startswith(PREFIX)] or every[:1]
    there = [info for info in stored if info.modality == modality] or stored
    found = [info for info in there if not is_derived(info)] or there
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError(
            f"data: {place} has no column of {modality}; it has {', '.join(store.columns)}."
        )
    raise ConfigError(
        f"data: {place} has several columns of {modality} "
        f"({', '.join(info.name for info in found)}): choose by --columns {modality}=NAME."
    )


def check_columns(columns: Mapping[str, str]) -> None:
    """Check that `--columns` names modalities of the paper's data sets.

    Raises:
        ConfigError: It names another.
    """
    plain = dict.fromkeys(m for one in OFFICIAL.values() for m in one.letters.values())
    known = [*plain, *(f"{d}.{m}" for d, one in OFFICIAL.items() for m in one.letters.values())]
    for name in columns:
        if name not in known:
            raise ConfigError(
                f"columns.{name}: no such modality.{suggest(name, known)} Known: "
                f"{', '.join(plain)}, each also after a data set, as in mosei.audio."
            )
