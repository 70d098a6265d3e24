"""What is learned, and which epoch is kept: by validation alone."""

from collections.abc import Mapping
from typing import Any

from scfae.store.errors import ConfigError

from .config import RunConfig
from .splits import Splits
from .tasks import LOWER_IS_BETTER, TASKS, Task


def fit_task(config: RunConfig, splits: Splits) -> Task:
    """Return the task of a run, learned from its training split.

    Raises:
        TaskError: The labels of training or validation do not fit it.
        ConfigError: A setting does not fit it.
    """
    data = config.data
    task = TASKS[data.task].fit(
        splits.train,
        data.label,
        class_weights=config.optim.class_weights,
        modality_labels=data.modality_labels,
        options=data.task_options,
    )
    task.encoder(splits.val)  # an unseen class must show now, not after the first epoch
    metric = config.loop.select
    if metric not in ("auto", "loss", *task.metric_names):
        raise ConfigError(
            f"select = {metric!r}: there is no such metric of these labels; known: auto, loss, "
            f"{', '.join(task.metric_names)}."
        )
    return task


def selected_metric(config: RunConfig, task: Task) -> str:
    """Return the validation figure that selects the epoch."""
    return task.selection if config.loop.select == "auto" else config.loop.select


def is_better(metric: str, found: tuple[float, float], best: Mapping[str, Any]) -> bool:
    """Return whether an epoch is better than the best so far: by the metric, then by the loss.

    Args:
        metric: The figure that selects.
        found: Its value and the validation loss.
        best: `value` and `loss` of the best epoch; empty for the first.
    """
    if not best:
        return True
    return _rank(metric, *found) > _rank(metric, best["value"], best["loss"])


def _rank(metric: str, value: float, loss: float) -> tuple[float, float]:
    return (-value if metric in LOWER_IS_BETTER else value, -loss)
