"""What each modality tells a linear model on its own: the least that fusion has to beat.

Mean rows of one modality, standardised on the training split, and logistic regression (ridge for
values), whose strength is chosen on validation by the task's own figure. Nothing is fused, nothing
is masked: samples without the modality are left out.

Shapes: N samples, D features.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scfae.store import FeatureStream, StoreView

from .splits import Splits
from .tasks import LOWER_IS_BETTER, Classification, MultiLabel, Regression, Task

STRENGTHS: Final = (0.001, 0.01, 1.0)
"""Inverse of the penalty, as scikit-learn's C, for features of deviation 1."""
MOST_SAMPLES: Final = 20_000
"""Training samples that a probe learns from, evenly spread over the split."""
MOST_ITERATIONS: Final = 200
BATCH_SIZE: Final = 256

Array = npt.NDArray[Any]
Labelled = tuple[Array, Array]
"""Vectors `[N, D]` and the task's targets of them."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A linear model of one modality.

    Attributes:
        metrics: Of the evaluated split's samples that have the modality.
        n: How many those are.
        strength: The C that validation chose.
    """

    metrics: Mapping[str, float | None]
    n: int
    strength: float

    def as_dict(self) -> dict[str, Any]:
        """Return the probe as plain JSON values."""
        return {**self.metrics, "n": self.n, "strength": self.strength}


def linear_probes(task: Task, splits: Splits, view: StoreView) -> dict[str, Probe]:
    """Return a probe of each modality that training and the view have; {} for retrieval.

    Args:
        task: What is asked.
        splits: Training and validation.
        view: What is evaluated.
    """
    if not isinstance(task, Classification | MultiLabel | Regression):
        return {}
    probes: dict[str, Probe] = {}
    train = splits.train
    if len(train) > MOST_SAMPLES:
        train = train.with_rows(np.linspace(0, len(train) - 1, MOST_SAMPLES).astype(np.int64))
    parts = [_vectors(task, one) for one in (train, splits.val, view)]
    for modality in view.modalities:
        probe = linear_probe(task, *(part[modality] for part in parts))
        if probe is not None:
            probes[modality] = probe
    return probes


def linear_probe(task: Task, train: Labelled, val: Labelled, test: Labelled) -> Probe | None:
    """Return a linear model of some vectors; None where a split has none of them.

    Args:
        task: What is asked.
        train: Vectors `[N, D]` and targets to learn from.
        val: Those that choose the strength.
        test: Those that are measured.
    """
    (x, y), (x_val, y_val), (x_test, y_test) = train, val, test
    if min(len(x), len(x_val), len(x_test)) == 0:
        return None
    scores, strength = probe_scores(task, (x, y), (x_val, y_val), x_test)
    return Probe(task.metrics(y_test, scores), len(x_test), strength)


def probe_scores(task: Task, train: Labelled, val: Labelled, test: Array) -> tuple[Array, float]:
    """Return what a linear model says of test samples `[N, W]`, and the C that validation chose.

    Args:
        task: What is asked; of classes, several labels or values.
        train: Features `[N, D]` and targets to learn from.
        val: Those to choose by.
        test: Features.
    """
    (x, y), (x_val, y_val) = train, val
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    deviation[deviation == 0] = 1.0
    x, x_val, test = ((one - mean) / deviation for one in (x, x_val, test))
    best: tuple[float, float, Any] | None = None
    for strength in STRENGTHS:
        model = _Linear(task, x, y, strength)
        value = task.metrics(y_val, model.scores(x_val))[task.selection]
        rank = -np.inf if value is None else -value if _is_error(task) else value
        if best is None or rank > best[0]:
            best = (float(rank), strength, model)
    assert best is not None
    return best[2].scores(test), best[1]


class _Linear:
    """A linear model whose scores are those of a task `[N, W]`."""

    def __init__(self, task: Task, x: Array, y: Array, strength: float) -> None:
        from sklearn.linear_model import LogisticRegression, Ridge

        def logistic(rows: Array, targets: Array) -> Any:
            model = LogisticRegression(C=strength, max_iter=MOST_ITERATIONS)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a probe may stop before it converged
                return model.fit(rows, targets) if len(np.unique(targets)) > 1 else targets[:1]

        self._task = task
        if isinstance(task, Regression):
            self._models = [Ridge(alpha=1 / strength).fit(x, y)]
        elif isinstance(task, MultiLabel):
            known = ~np.isnan(y)
            self._models = [
                logistic(x[here], column[here].astype(np.int64))
                for column, here in zip(y.T, known.T, strict=True)
            ]
        else:
            self._models = [logistic(x, y)]

    def scores(self, x: Array) -> Array:
        if isinstance(self._task, Regression):
            values: Array = self._models[0].predict(x)[:, None]
            return values
        if isinstance(self._task, MultiLabel):
            return np.stack([_shares(model, x, 2)[:, 1] for model in self._models], axis=1)
        return _shares(self._models[0], x, len(self._task.classes))


def _shares(model: Any, x: Array, num_classes: int) -> Array:
    """Return probabilities `[N, C]`, 0 for classes that the model has not met."""
    shares = np.zeros((len(x), num_classes))
    if isinstance(model, np.ndarray):  # one class only, or no label at all
        shares[:, model] = 1.0
    else:
        shares[:, model.classes_] = model.predict_proba(x)
    return shares


def _vectors(task: Task, view: StoreView) -> dict[str, tuple[Array, Array]]:
    """Return mean rows `[N, D]` and targets of the samples that have each modality."""
    found: dict[str, list[tuple[Array, Array]]] = {m: [] for m in view.modalities}
    encode = task.encoder(view)
    stream = FeatureStream(view, batch_size=BATCH_SIZE, shuffle=False, layout="pooled")
    for batch in stream:
        for place, modality in enumerate(view.modalities):
            shown = alone(batch.present, place)
            has = shown[:, place]
            rows = batch.features[modality][has, 0].double().numpy()
            found[modality].append((rows, encode(batch, shown)[has].numpy()))
    return {
        m: (np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts]))
        for m, parts in found.items()
    }


def alone(present: Tensor, place: int) -> Tensor:
    """Return presence `[B, M]` of one modality where it is there, and of no other."""
    shown = torch.zeros_like(present)
    shown[:, place] = present[:, place]
    return shown


def _is_error(task: Task) -> bool:
    return task.selection in LOWER_IS_BETTER
