"""What a training would be and take: rehearsed, and a few of its steps timed; nothing is kept."""

import time
from contextlib import suppress
from dataclasses import asdict
from itertools import pairwise
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from scfae.extract.device import choose_device
from scfae.store.config import Frozen

from .config import RunConfig
from .loop import train
from .opening import rehearse

MOST_S = 3.0
MOST_STEPS = 200


class DryRun(Frozen):
    """What a training would be and take.

    Attributes:
        sizes: Samples of each split.
        notes: What a person should know before it begins.
        num_parameters: Of the model.
        epochs: As set.
        steps_per_epoch: Of the first epoch.
        feature_bytes: Of the training split's rows, as stored; an epoch reads them once.
        learning_bytes: Of weights, gradients and the optimizer's averages of them.
        device: Where the steps were timed.
        steps_timed: How many; the first, which warms up, is not among them.
        step_s: Seconds a step, their median, waiting for data included, validation and
            checkpoints not; None if there were too few.
    """

    sizes: dict[str, int]
    notes: tuple[str, ...]
    num_parameters: int
    epochs: int
    steps_per_epoch: int
    feature_bytes: int
    learning_bytes: int
    device: str
    steps_timed: int
    step_s: float | None

    def summary(self) -> str:
        """Return it in a few lines."""
        total = self.epochs * self.steps_per_epoch
        sizes = ", ".join(f"{count} {name}" for name, count in self.sizes.items())
        lines = [
            f"{sizes} samples; {self.num_parameters} parameters",
            f"{self.steps_per_epoch} steps an epoch, {total} in all",
            f"{self.feature_bytes / 1e6:.1f} MB of features an epoch; weights, gradients and "
            f"optimizer take {self.learning_bytes / 1e6:.1f} MB",
        ]
        if self.step_s is not None:
            lines.append(
                f"{1000 * self.step_s:.3g} ms a step on {self.device}, the median of "
                f"{self.steps_timed}: about {total * self.step_s:.3g} s of steps, validation and "
                "checkpoints apart"
            )
        return "\n".join(lines)


def dry_run(config: RunConfig, *, most_s: float = MOST_S) -> DryRun:
    """Rehearse a training, and time a few steps of it in a folder that is removed.

    Args:
        config: The settings; its run folder is not looked at.
        most_s: Seconds of steps, after the first.

    Raises:
        ConfigError: A setting cannot be used here.
        TaskError: Labels or splits do not fit; or the loss is not finite.
    """
    found = asdict(rehearse(config))
    del found["row_bytes"]
    steps_s = _timed(config, most_s, found["steps_per_epoch"])
    return DryRun(
        **found,
        epochs=config.optim.epochs,
        device=choose_device(config.loop.device),
        steps_timed=len(steps_s),
        step_s=median(steps_s) if steps_s else None,
    )


class _EnoughError(Exception):
    """So many steps were timed."""


def _timed(config: RunConfig, most_s: float, steps_per_epoch: int) -> list[float]:
    """Return the seconds of each step behind another of its epoch: between epochs is validation."""
    ends_s: list[float] = []

    def clock(done: int, total: int, text: str) -> None:
        ends_s.append(time.perf_counter())
        if done > MOST_STEPS or ends_s[-1] - ends_s[0] > most_s:
            raise _EnoughError

    with TemporaryDirectory(prefix="scfae-dry-run-") as folder:
        apart: dict[str, Any] = {"run": f"{folder}/run", "trackers": ()}
        with suppress(_EnoughError):
            train(config.with_loop(**apart), progress=clock)
    pairs = enumerate(pairwise(ends_s), start=1)
    return [after - before for done, (before, after) in pairs if done % steps_per_epoch]
