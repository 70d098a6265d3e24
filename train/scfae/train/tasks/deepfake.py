"""Audio-visual deepfake detection: is anything of what is shown fake?

A clip is fake as a whole if its picture or its sound is (the classes RvRa, RvFa, FvRa, FvFa).
Where only the picture is shown, the question is the picture's own label, for no picture tells that
the sound is fake: `unimodal_label=own`. With `overall` the label of the whole clip is asked of
every set of modalities, as some tables do.

Almost all clips of the usual sets are fake, so the headline is balanced accuracy, the epoch is
selected by ROC-AUC, and `--class-weights balanced` and `--balance LABEL` are there for training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import JsonValue
from torch import Tensor

from scfae.store import Batch, StoreView
from scfae.store.branches import branches_of, modalities_of
from scfae.store.errors import ConfigError

from .binary import Binary, BinaryOptions
from .classification import Lookup, class_indices
from .task import Array, Encode, TaskOptions, checked_options


class DeepfakeOptions(BinaryOptions):
    """Settings of deepfake detection."""

    unimodal_label: Literal["own", "overall"] = "own"
    """What a set that lacks modalities is asked: its own labels, or the label of the whole clip."""


@dataclass(frozen=True)
class Deepfake(Binary):
    """Whether something of what is shown is fake.

    Attributes:
        modality_labels: Label column of each modality: (modality, column).
        unimodal_label: `own` or `overall`.
        shares: Share of fake training samples, by the modalities shown joined by +.
    """

    name: ClassVar[str] = "deepfake"
    Options: ClassVar[type[TaskOptions]] = DeepfakeOptions
    modality_labels: tuple[tuple[str, str], ...] = ()
    unimodal_label: str = "own"
    shares: tuple[tuple[str, float], ...] = ()

    @classmethod
    def fit(
        cls,
        train: StoreView,
        label: str,
        *,
        class_weights: str = "none",
        modality_labels: Mapping[str, str] | None = None,
        options: Mapping[str, JsonValue] | None = None,
    ) -> Self:
        """Learn the classes from the training split.

        Args:
            train: The training split.
            label: Label column of the whole clip.
            class_weights: `none` or `balanced`.
            modality_labels: Label column of each modality, with the classes of `label`; none where
                the label of the whole clip is all there is.
            options: See `DeepfakeOptions`.

        Raises:
            TaskError: The labels do not have the two classes.
            ConfigError: A modality is unknown, or only some have labels.
        """
        asked = checked_options(cls, options)
        plain = Binary.fit(
            train, label, class_weights=class_weights, options={"positive": asked.positive}
        )
        own = dict(modality_labels or {})
        modalities = modalities_of(train.modalities)
        if own and set(own) != set(modalities):
            raise ConfigError(
                f"modality_labels: names {', '.join(own)}, but the run has the modalities "
                f"{', '.join(modalities)}: name the label of each."
            )
        pairs = tuple((m, own[m]) for m in modalities if own)
        task = cls(label, plain.values, plain.counts, plain.weights, pairs, asked.unimodal_label)
        return replace(task, shares=task._shares(train))

    def encoder(self, view: StoreView) -> Encode:
        """Return the mapping from batches to whether something shown is fake, int64 [B].

        Raises:
            TaskError: A label has a class that training has not.
        """
        overall = Lookup(view, self.label, self.targets(view))
        own = [
            Lookup(view, name, class_indices(view, name, self.classes))
            for _, name in self.modality_labels
        ]
        if not own or self.unimodal_label == "overall":
            return lambda batch, shown: overall(batch)

        branches = [
            [view.modalities.index(one) for one in branches_of([modality], view.modalities)]
            for modality, _ in self.modality_labels
        ]

        def encode(batch: Batch, shown: Tensor) -> Tensor:
            each = torch.stack([lookup(batch) for lookup in own], dim=1)
            # A modality is shown if one of its branches is.
            heard = torch.stack([shown[:, places].any(dim=1) for places in branches], dim=1)
            seen = (each * heard).amax(dim=1)
            return torch.where(heard.all(dim=1), overall(batch), seen)

        return encode

    def constant(self, shown: Sequence[str]) -> Array:
        """Return the scores [2] of always answering what most training samples are."""
        share = dict(self.shares).get("+".join(modalities_of(shown)))
        is_fake = self.majority == 1 if share is None else share > 0.5
        scores: Array = np.eye(2)[int(is_fake)]
        return scores

    def as_dict(self) -> dict[str, Any]:
        """Return the task as plain JSON values."""
        return super().as_dict() | {
            "modality_labels": dict(self.modality_labels),
            "unimodal_label": self.unimodal_label,
            "shares": dict(self.shares),
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """Return the task that `as_dict` described."""
        plain = Binary.from_dict(record)
        return cls(
            plain.label,
            plain.values,
            plain.counts,
            plain.weights,
            tuple(record["modality_labels"].items()),
            record["unimodal_label"],
            tuple(record["shares"].items()),
        )

    def _shares(self, train: StoreView) -> tuple[tuple[str, float], ...]:
        """Return the share of fake samples by what is shown; empty where that changes nothing."""
        if not self.modality_labels or self.unimodal_label == "overall":
            return ()
        each = np.stack(
            [class_indices(train, name, self.classes) for _, name in self.modality_labels], axis=1
        )
        names = [m for m, _ in self.modality_labels]
        shares = []
        for trial in self.trials(names):
            places = [names.index(m) for m in trial.modalities]
            fake = each[:, places].max(axis=1)
            if len(places) == len(names):
                fake = self.targets(train)
            shares.append((trial.name, float(fake.mean())))
        return tuple(shares)
