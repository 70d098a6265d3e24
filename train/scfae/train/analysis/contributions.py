"""What each modality adds to a sample's answer: exact Shapley values over subsets of modalities.

The value of a set of modalities is what the model, shown these alone, is worth on the sample: the
probability of its true class (of several labels, the mean over the known ones), or minus the
absolute error of a value. The value of none is that of who sees no features: the classes' shares in
training, the labels' rates, the median. The question is always that of all modalities together.

A modality that the sample lacks adds nothing. The values of a sample add up to the difference
between the value of all it has and that of none.

Shapes: N samples, M modalities, S = 2^M subsets, W scores.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scfae.store import StoreView
from scfae.store.branches import branches_of, modalities_of
from scfae.store.errors import RunStateError

from ..bootstrap import mean_intervals
from ..loading import LoadedRun
from ..scoring import score_view, show
from ..tasks import Classification, MultiLabel, Regression, Scored, Task, subsets
from .parts import Array

MOST_MODALITIES = 8
"""More have more subsets than are worth scoring."""


@dataclass(frozen=True, slots=True, eq=False)
class Contributions:
    """What each modality adds, sample by sample.

    Attributes:
        ids: Sample ids `[N]`.
        modalities: Names `[M]`.
        values: `[N, M]`.
        none: Value of no modality `[N]`.
        everything: Value of all that a sample has `[N]`.
        has: Which modalities it has, bool `[N, M]`.
        what: What a value is.
    """

    ids: Array
    modalities: tuple[str, ...]
    values: Array
    none: Array
    everything: Array
    has: Array
    what: str

    def summary(self, *, resamples: int = 1000) -> dict[str, Any]:
        """Return mean, 95 % interval and share below 0 of each modality, where samples have it."""
        found: dict[str, Any] = {}
        for place, name in enumerate(self.modalities):
            own = self.values[self.has[:, place], place]
            interval = mean_intervals({name: own}, resamples=resamples)[name]
            found[name] = {
                "n": len(own),
                "mean": float(own.mean()) if len(own) else None,
                "mean_ci95": None if interval is None else list(interval),
                "negative_share": float((own < 0).mean()) if len(own) else None,
            }
        return found


def shapley_values(values: Mapping[frozenset[int], Array], num_players: int) -> Array:
    """Return the exact Shapley values `[N, M]`.

    Args:
        values: Value `[N]` of every subset of players, the empty one too.
        num_players: M.
    """
    weight = [
        math.factorial(size) * math.factorial(num_players - size - 1) / math.factorial(num_players)
        for size in range(num_players)
    ]
    columns = []
    for player in range(num_players):
        others = [one for one in range(num_players) if one != player]
        total = np.zeros_like(values[frozenset()])
        for size in range(num_players):
            for chosen in itertools.combinations(others, size):
                before = frozenset(chosen)
                total = total + weight[size] * (values[before | {player}] - values[before])
        columns.append(total)
    return np.stack(columns, axis=1)


def contributions(loaded: LoadedRun, view: StoreView, *, device: str = "cpu") -> Contributions:
    """Return what each modality adds to the answers of a run on a split.

    Args:
        loaded: A run, its model in eval mode.
        view: The split.
        device: Where the model is.

    Raises:
        RunStateError: The task gives no answer for a single sample (retrieval), or there are too
            many modalities.
    """
    worth, what = _worth(loaded)
    modalities = modalities_of(view.modalities)
    if len(modalities) > MOST_MODALITIES:
        raise RunStateError(
            f"{loaded.run.path} has {len(modalities)} modalities, whose {2 ** len(modalities)} "
            f"subsets are too many to score; contributions are of {MOST_MODALITIES} at most."
        )
    sets = subsets(modalities)
    shown = {one: branches_of(one, view.modalities) for one in sets}
    scored = score_view(
        loaded.model,
        loaded.task,
        view,
        show(list(dict.fromkeys(shown.values()))),
        batch_size=loaded.config.optim.batch_size,
        device=device,
        group_batches=loaded.config.loop.group_batches,
    )
    truth = scored[shown[sets[-1]]].targets
    nothing = worth(truth, np.tile(_prior(loaded.task), (len(truth), 1)))
    values = {frozenset[int](): nothing}
    for one in sets:
        players = frozenset(modalities.index(name) for name in one)
        values[players] = _value(scored[shown[one]], truth, nothing, worth)
    has = np.stack([scored[shown[(name,)]].seen for name in modalities], axis=1)
    _leave_out_absent(values, has)
    return Contributions(
        view.ids,
        tuple(modalities),
        shapley_values(values, len(modalities)),
        nothing,
        values[frozenset(range(len(modalities)))],
        has,
        what,
    )


def _leave_out_absent(values: dict[frozenset[int], Array], has: Array) -> None:
    """Give a set with something that a sample lacks the value of the rest, to the last digit.

    The model says the same of both but for rounding, which depends on who else is in the batch.
    """
    for players in sorted(values, key=len):
        for player in players:
            lacks = ~has[:, player]
            values[players][lacks] = values[players - {player}][lacks]


def _value(
    scored: Scored, truth: Array, nothing: Array, worth: Callable[[Array, Array], Array]
) -> Array:
    """Return a set's value `[N]`; of a sample that has none of it the value of nothing."""
    value = nothing.copy()
    if scored.seen.any():
        value[scored.seen] = worth(truth[scored.seen], scored.scores[scored.seen])
    return value


def _worth(loaded: LoadedRun) -> tuple[Callable[[Array, Array], Array], str]:
    """Return what scores `[N, W]` are worth for targets, higher for better, and its name."""
    task = loaded.task
    if isinstance(task, Classification):
        return _of_class, "probability of the true class"
    if isinstance(task, MultiLabel):
        return _of_labels, "probability of what is true, mean over labels"
    if isinstance(task, Regression):
        return _of_value, "minus the absolute error"
    raise RunStateError(
        f"{loaded.run.path} is of the task {task.name}, which gives no answer for a single sample: "
        "there is nothing to which a modality could add."
    )


def _of_class(targets: Array, scores: Array) -> Array:
    found: Array = scores[np.arange(len(targets)), targets]
    return found


def _of_labels(targets: Array, scores: Array) -> Array:
    known = ~np.isnan(targets)
    right = np.where(np.nan_to_num(targets) > 0.5, scores, 1.0 - scores)
    found: Array = (right * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return found


def _of_value(targets: Array, scores: Array) -> Array:
    found: Array = -np.abs(scores[:, 0] - targets)
    return found


def _prior(task: Task) -> Array:
    """Return the scores `[W]` of who sees no features, in the task's own measure of doubt."""
    if isinstance(task, Classification):
        counts = np.array(task.counts, dtype=np.float64)
        shares: Array = counts / counts.sum()
        return shares
    return task.constant(())
