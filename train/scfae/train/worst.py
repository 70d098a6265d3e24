"""The test samples that a run is worst at: the highest loss with all that each sample has.

Shapes: N samples, C classes or labels.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from scfae.store.branches import branches_of, modalities_of

from .kept import KeptScores
from .metrics import Floats
from .tasks import Classification, MultiLabel, Regression, Scored, Task

# Of a probability, as scores are kept in single precision; of its complement.
_LEAST: Final = float(np.finfo(np.float32).tiny)
_LEAST_REST: Final = 1e-7
_MOST_LABELS: Final = 6


def losses(task: Task, scored: Scored) -> Floats:
    """Return the loss of each sample `[N]`, NaN where nothing was scored.

    Cross entropy, the mean of binary cross entropies over the known labels, or the distance of a
    value; all NaN for a task that has no loss of a single sample.
    """
    found = np.full(len(scored.seen), np.nan)
    rows = np.flatnonzero(scored.seen)
    if not len(rows):
        return found
    truth, scores = scored.targets[rows], scored.scores[rows]
    if isinstance(task, Regression):
        found[rows] = np.abs(scores[:, 0] - truth)
    elif isinstance(task, MultiLabel):
        likely = np.where(truth == 1, scores, 1 - scores).clip(min=_LEAST_REST)
        known = ~np.isnan(truth)
        each = np.where(known, -np.log(likely), 0.0)
        has_any = known.any(axis=1)
        found[rows[has_any]] = each.sum(axis=1)[has_any] / known.sum(axis=1)[has_any]
    elif isinstance(task, Classification):
        likely = scores[np.arange(len(rows)), truth.astype(np.int64)]
        found[rows] = -np.log(likely.clip(min=_LEAST))
    return found


def worst_cases(
    task: Task, kept: KeptScores, count: int, *, temperature: float | None = None
) -> list[dict[str, Any]]:
    """Return the samples of the highest loss, worst first, as a page shows them.

    Args:
        task: What was asked.
        kept: What the model said of the test samples.
        count: At most so many.
        temperature: What calibrates the classes' probabilities; None leaves them as they are.
    """
    shown = max(kept.scored, key=len)
    full = kept.scored[shown]
    loss = losses(task, full)
    order = np.argsort(-np.nan_to_num(loss, nan=-1.0), kind="stable")[:count]
    return [
        {
            "id": str(kept.ids[row]),
            **_described(task, full, int(row), temperature),
            "loss": f"{loss[row]:.3f}",
            **presence(kept.scored, shown, int(row)),
        }
        for row in order
        if not np.isnan(loss[row])
    ]


def presence(
    scored: Mapping[tuple[str, ...], Scored], branches: tuple[str, ...], row: int
) -> dict[str, list[str]]:
    """Return which modalities a sample has (one of their branches) and which it lacks."""
    shown = {m: branches_of([m], branches) for m in modalities_of(branches)}
    alone = {m: scored[one].seen[row] for m, one in shown.items() if one in scored}
    return {
        "present": [m for m, has in alone.items() if has],
        "absent": [m for m, has in alone.items() if not has],
    }


def _described(task: Task, scored: Scored, row: int, temperature: float | None) -> dict[str, Any]:
    target, scores = scored.targets[row], scored.scores[row]
    if isinstance(task, Regression):
        said, true = float(scores[0]), float(target)
        return {
            "said": f"{said:.3f}",
            "confidence": f"{said - true:+.3f} off",
            "truth": f"{true:.3f}",
            "is_right": None,
        }
    if isinstance(task, MultiLabel):
        return _labels(task, target, scores)
    assert isinstance(task, Classification)
    found, true_class = int(scores.argmax()), int(target)
    if temperature is not None:
        scores = calibrated(scores, temperature)
    confidence = f"probability {scores[found]:.3f}"
    if found != true_class:
        confidence += f"; of the truth {scores[true_class]:.3f}"
    return {
        "said": str(task.classes[found]),
        "confidence": confidence,
        "truth": str(task.classes[true_class]),
        "is_right": found == true_class,
    }


def calibrated(scores: Floats, temperature: float) -> Floats:
    """Return probabilities `[C]` as they are when the logits are divided by the temperature."""
    logits = np.log(np.asarray(scores, dtype=np.float64).clip(min=_LEAST)) / temperature
    weights = np.exp(logits - logits.max())
    found: Floats = weights / weights.sum()
    return found


def _labels(task: MultiLabel, target: Any, scores: Any) -> dict[str, Any]:
    known = ~np.isnan(target)
    found = scores >= task.threshold
    far = np.where(known, np.abs(np.nan_to_num(target) - scores), -1.0)
    worst = [int(c) for c in np.argsort(-far, kind="stable")[:_MOST_LABELS] if far[c] >= 0]
    return {
        "said": _named(task, found),
        "confidence": "probabilities "
        + ", ".join(f"{task.names[c]} {float(scores[c]):.3f}" for c in worst),
        "truth": _named(task, known & (np.nan_to_num(target) == 1)),
        "is_right": bool(((target == 1) == found)[known].all()),
    }


def _named(task: MultiLabel, which: Any) -> str:
    return ", ".join(n for n, has in zip(task.names, which, strict=True) if has) or "none"


def rule(task: Task, temperature: float | None = None) -> str:
    """Return in a sentence how the samples were chosen."""
    if isinstance(task, Regression):
        by = "the largest distance of the predicted from the true value"
    elif isinstance(task, MultiLabel):
        by = "the highest loss (mean binary cross entropy over the known labels)"
    else:
        by = "the highest loss (minus the logarithm of the probability of the truth)"
    sentences = [f"The test samples with {by}, with all that each has; the first is the worst."]
    if temperature is not None:
        sentences.append(
            f"Probabilities are calibrated by the temperature of validation, {temperature:.2f}; "
            "the loss is that of the model's own."
        )
    elif not isinstance(task, Regression):
        sentences.append("Probabilities are the model's own.")
    return " ".join([*sentences, "Media are shown also where the model had no features of them."])
