"""What a training will take, as far as that can be told before it starts."""

from collections.abc import Sequence
from statistics import median
from typing import Any, Final, Literal

from scfae.store.config import Frozen
from scfae.store.errors import ScfaeError
from scfae.train.config import RunConfig, load_config

from .filters import Term
from .jobs import TrainJob
from .queue import Queue
from .words import duration, size

MOST_LOOKED_AT: Final = 20
MOST_ALIKE: Final = 5
ALIKE: Final = frozenset({"seed", "lr", "lr_start", "lr_end", "warmup", "weight_decay", "masking"})
"""Settings that a sweep may vary with every run taking as long as the others."""
NO_MATTER: Final = ALIKE | {
    *("epochs", "beta1", "beta2", "clip_norm", "clip_value", "class_weights", "loss_weights"),
    *("recipe", "label", "test_split", "select", "patience"),
}
"""Settings in which an earlier run may differ: a step takes as long with any value of them."""


class Sizes(Frozen):
    """How large a training is.

    Attributes:
        epochs: As set.
        steps_per_epoch: Of the first epoch, on one process.
        feature_bytes: Of the training split's rows, as stored; an epoch reads them once.
        learning_bytes: Of weights, gradients and the optimizer's averages of them.
    """

    epochs: int
    steps_per_epoch: int
    feature_bytes: int
    learning_bytes: int


class Estimate(Sizes):
    """What a training, or every training of a sweep, will take.

    Attributes:
        runs: Trainings; more than one for a sweep.
        step_s: Seconds a step; None if nothing is known.
        least_step_s: The quickest that was seen.
        most_step_s: The slowest.
        seconds: Of all steps of all runs, one after the other; None if nothing is known, or the
            runs of a sweep differ in what takes time.
        source: Where the seconds come from: earlier runs of the same store, columns, method and
            batches, with validation; or steps timed just now on the server's machine, without.
        said: The same in sentences.
    """

    runs: int
    step_s: float | None = None
    least_step_s: float | None = None
    most_step_s: float | None = None
    seconds: float | None = None
    source: Literal["unknown", "earlier runs", "measured"] = "unknown"
    said: tuple[str, ...] = ()


def estimate(
    sizes: Sizes, seen: Sequence[float], *, runs: int, is_alike: bool, how: str = ""
) -> Estimate:
    """Return what a training will take.

    Args:
        sizes: Of each.
        seen: Seconds a step, of each earlier run or of all steps that were timed.
        runs: Trainings.
        is_alike: Whether they differ in nothing that takes time.
        how: How the steps were timed just now; empty for earlier runs.
    """
    steps = sizes.epochs * sizes.steps_per_epoch
    step_s = median(seen) if seen else None
    found = Estimate(
        runs=runs,
        **dict(sizes),
        step_s=step_s,
        least_step_s=min(seen, default=None),
        most_step_s=max(seen, default=None),
        seconds=None if step_s is None or not is_alike else step_s * steps * runs,
        source="unknown" if not seen else "measured" if how else "earlier runs",
    )
    return found.model_copy(update={"said": tuple(_sentences(found, steps, len(seen), how))})


def earlier_steps_s(queue: Queue, config: RunConfig) -> list[float]:
    """Return the seconds a step of the newest runs that did the same work a step.

    Args:
        queue: The jobs.
        config: Of the training.
    """
    data, model = config.data, config.model
    terms = [_equal("store", data.store), _equal("fusion", model.fusion)]
    terms.append(_equal("batch_size", str(config.optim.batch_size)))
    found: list[float] = []
    for record in queue.page(kinds=("train",), terms=terms, limit=MOST_LOOKED_AT).jobs:
        try:
            folder = queue.job(record.id)
            job = folder.submitted().request.job
            if not isinstance(job, TrainJob):
                continue
            other = load_config(None, {**job.config, "run": config.loop.run})
            rate = folder.pace().steps_per_s
        except ScfaeError:  # deleted meanwhile, or of settings that are no more
            continue
        if rate and not config.differences(other).keys() - NO_MATTER:
            found.append(1 / rate)
        if len(found) == MOST_ALIKE:
            break
    return found


def _equal(name: str, value: str) -> Term:
    return Term(name, "=", value, None, 1, 1)


def _sentences(found: Estimate, steps: int, seen: int, how: str) -> list[str]:
    each = f" in each of {found.runs} runs" if found.runs > 1 else ""
    said = [
        f"{found.steps_per_epoch:,} steps an epoch, {steps:,} in all{each}",
        f"{size(found.feature_bytes)} of features to read an epoch; weights, gradients and "
        f"optimizer take {size(found.learning_bytes)}",
    ]
    if found.step_s is None:
        said.append("How long a step takes is not known: no run like it was trained here yet")
        return said
    if found.seconds is None:
        time = "How long all runs take is not known, for they differ in size"
    else:
        length = f"About {duration(found.seconds)}" if found.seconds >= 1 else "Less than a second"
        time = f"{length} of training"
        time += ", one run after the other" if found.runs > 1 else ""
    if how:
        said.append(f"{time}: {_ms(found.step_s)} a step, {how}; without validation")
        return said
    bounds: list[Any] = [_ms(found.least_step_s), _ms(found.most_step_s)]
    span = bounds[0] if bounds[0] == bounds[1] else f"{bounds[0]} to {bounds[1]}"
    runs = "one earlier run like it" if seen == 1 else f"{seen} earlier runs like it"
    said.append(f"{time}: {runs} took {span} a step, validation included")
    return said


def _ms(seconds: float | None) -> str:
    """Return a time with the two digits of it that mean something."""
    return f"{float(f'{1000 * (seconds or 0):.2g}'):,.10g} ms"
