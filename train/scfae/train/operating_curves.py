"""ROC and precision-recall curves of a run's kept scores.

Points and areas are scikit-learn's. Precision over recall is a step function, as average precision
counts it; the mean over classes is that of the classes' steps (and, for ROC, of straight lines), so
that its area is the mean of theirs. A class that the split has not, or has alone, has no curve.

Shapes: N samples, C classes, P points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scfae.store.branches import modalities_of

from .metrics import Floats
from .tasks import Binary, Classification, MultiLabel, Scored, Task

MAX_POINTS: Final = 200
_GRID: Final = np.linspace(0.0, 1.0, 1001)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """One yes-or-no question that is answered by a score.

    Attributes:
        name: The class or label.
        truth: bool `[N]`.
        scores: `[N]`, higher for yes.
    """

    name: str
    truth: npt.NDArray[np.bool_]
    scores: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """How one question is answered at every threshold.

    Attributes:
        name: The class, label or condition.
        false_alarms: Share of the negatives called positive, rising from 0 to 1 `[P]`.
        hits: Share of the positives found there `[P]`; straight lines between.
        recall: Rising from 0 to 1 `[P]`.
        precision: `[P]`; that of a recall r is the precision at the first point from r on.
        auc: Area under hits over false alarms.
        average_precision: Area under precision over recall.
        positives: Samples that are.
        n: Samples.
    """

    name: str
    false_alarms: Floats
    hits: Floats
    recall: Floats
    precision: Floats
    auc: float
    average_precision: float
    positives: int
    n: int

    @property
    def chance(self) -> float:
        """Average precision of scores that know nothing: the share of positives."""
        return self.positives / self.n


def heads(task: Task, scored: Scored) -> list[Head]:
    """Return the questions of a task under one set of modalities; none for other tasks.

    Two classes are one question, that of the class that is looked for (the second).
    """
    truth, scores = scored.targets[scored.seen], scored.scores[scored.seen]
    if not len(truth):
        return []
    if isinstance(task, MultiLabel):
        known = ~np.isnan(truth)
        return [
            Head(name, truth[known[:, c], c] == 1, scores[known[:, c], c])
            for c, name in enumerate(task.names)
        ]
    if not isinstance(task, Classification):
        return []
    last = len(task.classes) - 1
    wanted = [last] if isinstance(task, Binary) or last == 1 else range(last + 1)
    return [Head(str(task.classes[c]), truth == c, scores[:, c]) for c in wanted]


def curve(head: Head) -> Curve | None:
    """Return the curve of a question; None where all samples have the same answer."""
    from sklearn.metrics import (
        average_precision_score,
        precision_recall_curve,
        roc_auc_score,
        roc_curve,
    )

    positives = int(head.truth.sum())
    if positives in (0, len(head.truth)):
        return None
    false_alarms, hits, _ = roc_curve(head.truth, head.scores)
    precision, recall, _ = precision_recall_curve(head.truth, head.scores)
    return Curve(
        head.name,
        *thinned(false_alarms, hits),
        *thinned(recall[::-1], precision[::-1]),
        float(roc_auc_score(head.truth, head.scores)),
        float(average_precision_score(head.truth, head.scores)),
        positives,
        len(head.truth),
    )


def mean_curve(name: str, curves: Sequence[Curve]) -> Curve:
    """Return the mean over classes, each of the same weight; there must be one.

    `positives` and `n` are sums, so that its chance is not the mean of theirs but near it.
    """
    hits = np.mean([np.interp(_GRID, one.false_alarms, one.hits) for one in curves], axis=0)
    hits[0] = 0.0
    steps = [
        one.precision[np.searchsorted(one.recall, _GRID).clip(max=len(one.recall) - 1)]
        for one in curves
    ]
    return Curve(
        name,
        *thinned(_GRID, hits),
        *thinned(_GRID, np.mean(steps, axis=0)),
        float(np.mean([one.auc for one in curves])),
        float(np.mean([one.average_precision for one in curves])),
        sum(one.positives for one in curves),
        sum(one.n for one in curves),
    )


def thinned(x: npt.ArrayLike, y: npt.ArrayLike, most: int = MAX_POINTS) -> tuple[Floats, Floats]:
    """Return at most `most` of the points, both ends among them, evenly along the curve."""
    across, up = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(across) <= most:
        return across, up
    way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(across)) + np.abs(np.diff(up)))])
    kept = np.unique(np.searchsorted(way, np.linspace(0.0, way[-1], most)).clip(max=len(way) - 1))
    kept[0], kept[-1] = 0, len(way) - 1
    return across[kept], up[kept]


def conditions_drawn(scored: Mapping[tuple[str, ...], Any]) -> dict[str, tuple[str, ...]]:
    """Return by name what gets a curve: all modalities, then each alone with all its branches."""
    full = max(scored, key=len)
    alone = [shown for shown in scored if len(modalities_of(shown)) == 1 and shown != full]
    return {"+".join(modalities_of(shown)): shown for shown in (full, *alone)}
