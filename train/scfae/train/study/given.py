"""A store of the user's own as the study asks about it: what can be varied on data as they are.

Gaps are masks. A conflict is a modality's features taken from another sample of the same split and
of another class, in a share of samples. Unequal widths are principal components laid whole into
wider and wider spaces, so that every modality says what it said. Features are means over rows: the
study is of fusion, not of time.

Draws share the training and validation samples and differ in weights, gaps and pairings. Each tests
on a part of its own of the test samples, so that what differs between draws is also what other test
samples would change; where samples come in groups, intervals are too narrow.

Shapes: N samples, D features, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from scfae.store import FeatureStore, StoreView
from scfae.store.errors import ConfigError, TaskError

from ..settings import DataConfig
from ..splits import make_splits
from ..tasks.labels import class_values, sorted_classes
from .generated import Views
from .questions import Form

Array = npt.NDArray[Any]
ROLES: Final = ("train", "val", "test")
MOST: Final[Mapping[str, Mapping[str, int]]] = {
    "quick": {"train": 2048, "val": 512, "test": 2048},
    "full": {},
}
"""Samples of each split at most, by form."""
LEAST_TRAINING: Final = 16
LEAST_TESTED: Final = 10
"""Test samples of a draw."""
CONFLICTING: Final = 0.5
COMPONENTS: Final = {"quick": 32, "full": 128}
WIDER: Final = 4
"""How much wider each modality is laid than the one before it, where widths are unequal."""


@dataclass(frozen=True, slots=True)
class Given:
    """Which data.

    Attributes:
        store: Folder of the store.
        columns: Column of each modality, in order.
        label: Label column with classes.
    """

    store: str
    columns: Mapping[str, str]
    label: str


def given_of(store: str | Path, label: str, columns: Mapping[str, str]) -> Given:
    """Return which data are meant, columns that are not given being the only ones of a modality.

    Raises:
        ConfigError: A modality has several columns, or there is but one modality.
        StoreError: There is no such store, or no such column.
    """
    opened = FeatureStore.open(store)
    chosen = dict(columns)
    if not chosen:
        by_modality: dict[str, list[str]] = {}
        for name, info in opened.columns.items():
            by_modality.setdefault(info.modality, []).append(name)
        for modality, names in by_modality.items():
            if len(names) > 1:
                raise ConfigError(
                    f"columns: {store} has several of {modality} ({', '.join(sorted(names))}): say "
                    f"which, as in --columns {modality}={sorted(names)[0]}, with the others."
                )
            chosen[modality] = names[0]
    if len(chosen) < 2:
        raise ConfigError(
            f"columns: the study is of fusion, and of {store} it was given "
            f"{', '.join(chosen) or 'no modality'} alone: it needs two modalities or more."
        )
    opened.view(None, [label], where={}, **chosen)  # whatever is not there is named
    return Given(str(Path(store).resolve()), chosen, label)


class GivenData:
    """The samples that the study is about, in memory.

    Args:
        given: Which.
        form: Has the most samples of each split, and the number of draws.

    Raises:
        StoreError: The store cannot be read so.
        TaskError: The label has no classes, a split has too few samples, or a class of validation
            or test is not in training.
    """

    def __init__(self, given: Given, form: Form) -> None:
        self.given = given
        config = DataConfig(store=given.store, columns=dict(given.columns), label=given.label)
        splits = make_splits(FeatureStore.open(given.store), config)
        values = {role: class_values(view, given.label) for role, view in splits.roles.items()}
        self.classes = sorted_classes(values["train"], given.label)
        self.fingerprint = splits.everything.fingerprint
        place = {value: code for code, value in enumerate(self.classes)}
        for role in ROLES[1:]:
            new = sorted({str(value) for value in values[role] if value not in place})
            if new:
                raise TaskError(
                    f"'{given.label}' has {', '.join(new)} in the {role} split of {given.store}, "
                    "and not in training: nothing can be learned of that."
                )
        most = MOST[form.name]
        chosen = {}
        for role in ROLES:
            codes = np.array([place[value] for value in values[role]], dtype=np.int64)
            chosen[role] = _some(codes, most.get(role))
        tested = len(chosen["test"]) // form.num_draws
        if tested < LEAST_TESTED:
            raise TaskError(
                f"the test split of {given.store} has {len(chosen['test'])} samples, and "
                f"{form.num_draws} draws need {LEAST_TESTED * form.num_draws}: each tests on "
                "samples of its own."
            )
        if len(chosen["train"]) < LEAST_TRAINING:
            raise TaskError(
                f"the training split of {given.store} has {len(chosen['train'])} samples; "
                f"{LEAST_TRAINING} are the least."
            )
        self.counts = {
            "train": len(chosen["train"]),
            "val": len(chosen["val"]),
            "test": tested,
        }
        self.features: dict[str, dict[str, Array]] = {}
        self.present: dict[str, dict[str, Array]] = {}
        self.labels: dict[str, Array] = {}
        for role, view in splits.roles.items():
            rows = chosen[role]
            self.labels[role] = np.array([place[values[role][row]] for row in rows], dtype=np.int64)
            self.features[role] = {m: _means(view, m, rows) for m in given.columns}
            self.present[role] = {m: view.lengths(m)[rows] > 0 for m in given.columns}

    @property
    def dims(self) -> dict[str, int]:
        """Features of each modality."""
        return {name: one.shape[1] for name, one in self.features["train"].items()}

    @property
    def has_gaps(self) -> bool:
        """Whether some samples lack a modality as they are."""
        return not all(
            one.all() for by_modality in self.present.values() for one in by_modality.values()
        )

    def facts(self) -> dict[str, Any]:
        """Return which data, as plain JSON values."""
        return {
            "store": self.given.store,
            "columns": dict(self.given.columns),
            "label": self.given.label,
            "sha256": self.fingerprint,
        }

    def plain(self, draw: int, num: int, widths: tuple[int, ...]) -> Views:
        """Return the samples of a draw as they are: of training, of validation, its test part.

        Args:
            draw: 0 is for tuning, and its test part is never read.
            num: Samples; all of `counts`.
            widths: As they are.
        """
        rows = self._rows(draw)
        return self._views(rows, {m: self._joined(self.features, m, rows) for m in self.dims})

    def conflicting(self, draw: int, num: int, widths: tuple[int, ...]) -> Views:
        """Return the same, one modality of some samples being of a sample of another class."""
        rows = self._rows(draw)
        generator = np.random.default_rng(draw)
        marks: list[Array] = []
        features: dict[str, list[Array]] = {m: [] for m in self.dims}
        for role in ROLES:
            mark, own = self._conflict(role, rows[role], generator)
            marks.append(mark)
            for modality, values in own.items():
                features[modality].append(values)
        views = self._views(rows, {m: np.concatenate(some) for m, some in features.items()})
        conflict = torch.from_numpy(np.concatenate(marks).astype(np.int64))
        return Views(views.features, views.labels, {"conflict": conflict}, views.present)

    def widened(self, draw: int, num: int, widths: tuple[int, ...]) -> Views:
        """Return the same, each modality's first principal components laid whole into a width."""
        rows = self._rows(draw)
        generator = np.random.default_rng(draw)
        count = min(widths)
        features = {}
        for (modality, _), width in zip(self.dims.items(), widths, strict=True):
            learned = self.features["train"][modality][self.present["train"][modality]]
            middle = learned.mean(axis=0)
            _, _, axes = np.linalg.svd(learned - middle, full_matrices=False)
            short = (self._joined(self.features, modality, rows) - middle) @ axes[:count].T
            turn, _ = np.linalg.qr(generator.normal(size=(width, count)))
            features[modality] = short @ turn.T
        return self._views(rows, features)

    def widths_for(self, components: int) -> tuple[int, ...]:
        """Return unequal widths, the first being how many components every modality has."""
        learned = (int(one.sum()) for one in self.present["train"].values())
        count = min(components, *self.dims.values(), *(max(1, n - 1) for n in learned))
        return tuple(count * WIDER**place for place in range(len(self.dims)))

    def _rows(self, draw: int) -> dict[str, Array]:
        """Return places in each split; each draw but that of tuning has test samples of its own."""
        size = self.counts["test"]
        first = max(0, draw - 1) * size
        everything = {role: np.arange(self.counts[role]) for role in ("train", "val")}
        return {**everything, "test": np.arange(first, first + size)}

    def _conflict(
        self, role: str, rows: Array, generator: np.random.Generator
    ) -> tuple[Array, dict[str, Array]]:
        """Return which samples are in conflict `[N]`, and each modality's features `[N, D]`."""
        names = list(self.dims)
        labels = self.labels[role][rows]
        has = np.stack([self.present[role][m][rows] for m in names], axis=1)
        features = {m: self.features[role][m][rows].copy() for m in names}
        mark = np.zeros(len(rows), dtype=bool)
        wanted = (generator.random(len(rows)) < CONFLICTING) & (has.sum(axis=1) > 1)
        for row in np.flatnonzero(wanted):
            place = generator.choice(np.flatnonzero(has[row]))
            donors = np.flatnonzero(has[:, place] & (labels != labels[row]))
            if len(donors):
                donor = generator.choice(donors)
                features[names[place]][row] = self.features[role][names[place]][rows[donor]]
                mark[row] = True
        return mark, features

    def _joined(self, by_role: Mapping[str, Mapping[str, Array]], name: str, rows: Any) -> Array:
        return np.concatenate([by_role[role][name][rows[role]] for role in ROLES])

    def _views(self, rows: Mapping[str, Array], features: Mapping[str, Array]) -> Views:
        labels = np.concatenate([self.labels[role][rows[role]] for role in ROLES])
        return Views(
            {m: torch.from_numpy(one).float()[:, None] for m, one in features.items()},
            torch.from_numpy(labels),
            {},
            {m: torch.from_numpy(self._joined(self.present, m, rows)) for m in features},
        )


def _some(codes: Array, most: int | None) -> Array:
    """Return places of at most so many samples, at random, with one of every class among them."""
    order = np.random.default_rng(0).permutation(len(codes))
    _, first = np.unique(codes[order], return_index=True)
    ahead = np.concatenate([order[first], np.delete(order, first)])
    # Not the classes' first ones in front: every part of the test samples is drawn alike.
    kept = ahead if most is None else ahead[:most]
    return order[np.isin(order, kept)]


def _means(view: StoreView, modality: str, rows: Array) -> Array:
    """Return the mean over each sample's rows, float32 `[N, D]`; 0 where it has none."""
    found = np.zeros((len(rows), view.dims[modality]), dtype=np.float32)
    lengths = view.lengths(modality)
    for place, row in enumerate(rows):
        if lengths[row]:
            found[place] = view.rows(int(row), modality).astype(np.float32).mean(axis=0)
    return found
