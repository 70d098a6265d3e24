"""Train, validation and test: the store's own splits, or carved by hash when it has none.

Whole groups (speaker, identity, dialogue) stay on one side of a carved split. What is left out is
counted by reason, so that the counts add up to the store's samples.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from scfae.store import FeatureStore, StoreView
from scfae.store.config import digest
from scfae.store.errors import TaskError

from .settings import DataConfig

VAL_SHARE = 0.15
TEST_SHARE = 0.15

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Splits:
    """The three views of a run.

    Attributes:
        train: Samples that move the weights.
        val: Samples that select the epoch.
        test: Samples for evaluation; may be empty.
        everything: All samples of the chosen columns and `where`, labelled or not.
        carved: Names of the splits that were carved by hash.
        excluded: Number of samples left out, by reason.
        notes: What a person should know, one sentence each.
    """

    train: StoreView
    val: StoreView
    test: StoreView
    everything: StoreView
    carved: tuple[str, ...] = ()
    excluded: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def roles(self) -> dict[str, StoreView]:
        """The views by what they are for: train, val, test."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def record(self) -> dict[str, Any]:
        """Return what a run folder keeps of them, as plain JSON values."""
        return {
            "samples": len(self.everything),
            "sizes": {name: len(view) for name, view in self.roles.items()},
            "ids_sha256": {
                name: digest(sorted(map(str, view.ids))) for name, view in self.roles.items()
            },
            "carved": list(self.carved),
            "excluded": self.excluded,
            "notes": list(self.notes),
        }


def make_splits(store: FeatureStore, data: DataConfig) -> Splits:
    """Return the run's splits.

    A store without the validation split gives 15 % of train for it; a store without any split is
    carved 70 / 15 / 15. Unlabelled samples, and samples that no chosen column has, are left out.

    Args:
        store: The feature store.
        data: Columns, label, `where` and the names of the splits.

    Raises:
        TaskError: A split is missing or would be empty; the message names it and what there is.
        UnknownColumn: The store has no such column or label.
    """
    everything = store.view(None, data.label_names, where=_where(store, data.where), **data.columns)
    if not len(everything):
        raise TaskError(f"no sample of {store.path} has where = {data.where!r}.")
    names = _column_of(store.samples.split, everything)
    groups = _column_of(store.samples.group, everything)
    labelled = _labelled(everything, data)
    present = everything.available.any(axis=1)
    excluded = {
        "unlabelled": int((~labelled).sum()),
        "in none of the columns": int((labelled & ~present).sum()),
    }
    usable = labelled & present
    if not usable.any():
        raise TaskError(
            f"no sample of {store.path} can be used: of {len(everything)}, {excluded['unlabelled']}"
            f" have no label '{data.label}', and no chosen column has the others."
        )
    units = [
        f"group {group}" if group else f"id {name}"
        for group, name in zip(groups, everything.ids, strict=True)
    ]
    there = sorted({name for name in names if name})
    masks, carved, notes = _assign(names, there, usable, units, data)
    taken = masks["train"] | masks["val"] | masks["test"]
    excluded["in another split or none"] = int((usable & ~taken).sum())
    notes += [f"{count} samples are left out: {why}" for why, count in excluded.items() if count]
    notes += _missing(everything.with_rows(taken))
    notes += _leaks(masks, groups, everything)
    return Splits(
        everything.with_rows(masks["train"]),
        everything.with_rows(masks["val"]),
        everything.with_rows(masks["test"]),
        everything,
        tuple(carved),
        {why: count for why, count in excluded.items() if count},
        tuple(notes),
    )


def _assign(
    names: list[str | None],
    there: list[str],
    usable: Mask,
    units: list[str],
    data: DataConfig,
) -> tuple[dict[str, Mask], list[str], list[str]]:
    carved: list[str] = []
    notes: list[str] = []
    if not there:
        rest, masks = usable, {}
        for name, share in (("test", TEST_SHARE), ("val", VAL_SHARE / (1 - TEST_SHARE))):
            masks[name], rest = _carve(rest, units, share, name)
            carved.append(name)
        masks["train"] = rest
        carved.append("train")
        sizes = ", ".join(f"{name} {int(masks[name].sum())}" for name in ("train", "val", "test"))
        notes.append(f"the store has no splits: carved 70 / 15 / 15 by hash ({sizes})")
        return masks, carved, notes

    wanted = {"train": data.train_split, "val": data.val_split, "test": data.test_split}
    if len(set(wanted.values())) < 3:
        raise TaskError(f"train, val and test must be three splits, but they are {wanted}.")
    masks = {
        role: usable & np.array([name == split for name in names], dtype=bool)
        for role, split in wanted.items()
    }
    for role, split in wanted.items():
        if not masks[role].any() and (
            role == "train"
            or split in there
            or split != DataConfig.model_fields[f"{role}_split"].default
        ):
            why = "holds no usable sample" if split in there else "is not in the store"
            raise TaskError(f"the {role} split '{split}' {why}; the splits are {', '.join(there)}.")
    if not masks["val"].any():
        masks["val"], masks["train"] = _carve(masks["train"], units, VAL_SHARE, "val")
        carved.append("val")
        notes.append(
            f"the store has no split '{data.val_split}': {int(masks['val'].sum())} samples "
            f"(15 %) of '{data.train_split}' carved for validation by hash"
        )
    if not masks["test"].any():
        notes.append(f"the store has no split '{data.test_split}': there is nothing to evaluate on")
    return masks, carved, notes


def _carve(pool: Mask, units: list[str], share: float, name: str) -> tuple[Mask, Mask]:
    """Return (carved, rest) of a pool: whole units, in the order of their hash."""
    sizes: dict[str, int] = {}
    for row in np.flatnonzero(pool):
        sizes[units[row]] = sizes.get(units[row], 0) + 1
    if len(sizes) < 2:
        raise TaskError(
            f"the {name} split cannot be carved: all {int(pool.sum())} samples are of one group. "
            "Give the samples a split in the manifest."
        )
    target = share * sum(sizes.values())
    chosen: set[str] = set()
    taken = 0
    for unit in sorted(sizes, key=_hash):
        if chosen and taken + sizes[unit] / 2 > target:
            break
        if len(chosen) == len(sizes) - 1:
            break  # never the whole pool
        chosen.add(unit)
        taken += sizes[unit]
    carved = pool & np.array([unit in chosen for unit in units], dtype=bool)
    return carved, pool & ~carved


def _hash(unit: str) -> bytes:
    return hashlib.blake2b(unit.encode(), digest_size=16, person=b"scfae-split").digest()


def _where(store: FeatureStore, where: Mapping[str, Any]) -> dict[str, Any]:
    """Return `where` with each value as its label stores it: a flag cannot tell 0 from '0'."""
    names = store.samples.label_names
    return {
        name: str(value) if name not in names or store.samples.label_kind(name) == "str" else value
        for name, value in where.items()
    }


def _column_of(values: Any, view: StoreView) -> list[str | None]:
    return [values[index] for index in view.indices]


def _labelled(view: StoreView, data: DataConfig) -> Mask:
    """Return which samples have their labels: all of them, or one of several."""
    there = np.stack([view.label(name).present for name in data.label_names])
    needed = 1 if data.task == "multilabel" else len(there)
    return np.asarray(there.sum(axis=0) >= needed)


def _missing(view: StoreView) -> list[str]:
    """Return how many samples each column has no rows of: they go on without that modality."""
    absent = (~view.available).sum(axis=0)
    return [
        f"{modality} ({view.columns[modality]}) has no rows of {count} of {len(view)} samples: "
        "they go on with that modality masked"
        for modality, count in zip(view.modalities, absent.tolist(), strict=True)
        if count
    ]


def _leaks(masks: dict[str, Mask], groups: list[str | None], view: StoreView) -> list[str]:
    notes = []
    held = {
        name: {groups[row] for row in np.flatnonzero(mask) if groups[row]}
        for name, mask in masks.items()
    }
    for other in ("val", "test"):
        shared = held["train"] & held[other]
        if shared:
            notes.append(
                f"{len(shared)} groups are in both train and {other} by the store's own splits: "
                f"{', '.join(sorted(map(str, shared))[:3])} …"
            )
    return notes
