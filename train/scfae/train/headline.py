"""What a person should read first of an evaluation, with the warnings that belong beside it."""

from collections.abc import Mapping

from .figures import title
from .tasks import Measured, Task

_SAME = 1e-12


def headline(task: Task, split: str, conditions: Mapping[str, Measured]) -> list[str]:
    """Return sentences: the figure of the full condition, its baseline, and what to beware of.

    Args:
        task: What was asked.
        split: Which samples.
        conditions: By name, the full one last.
    """
    name, full = list(conditions.items())[-1]
    metric = task.headline
    value, base = full.metrics[metric], full.baseline[metric]
    if value is None:
        return [f"{name}: {title(metric)} is undefined on the {split} split."]
    interval = full.intervals.get(metric)
    shown = "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"
    beside = "undefined" if base is None else f"{base:.3f}"
    sentences = [
        f"{name}, {full.n} {split} samples: {title(metric)} {value:.3f}{shown}; "
        f"{task.baseline_name}: {beside}."
    ]
    sentences += warnings(task, full)
    return sentences


def warnings(task: Task, full: Measured) -> list[str]:
    """Return what a figure hides: that it is the baseline's, or not above it beyond chance."""
    found = []
    for metric in dict.fromkeys(["accuracy", "acc2_nonzero", task.headline]):
        value, base = full.metrics.get(metric), full.baseline.get(metric)
        if value is None or base is None:
            continue
        interval = full.intervals.get(metric)
        if abs(value - base) <= _SAME:
            found.append(
                f"Its {title(metric)} equals what {task.baseline_name} scores ({base:.3f}): the "
                "features may have told it nothing."
            )
        elif interval is not None and interval[0] <= base <= interval[1]:
            found.append(
                f"Its {title(metric)} cannot be told from what {task.baseline_name} scores "
                f"({base:.3f}): that lies inside the 95 % interval."
            )
        elif value < base:
            found.append(
                f"Its {title(metric)} is below what {task.baseline_name} scores ({base:.3f})."
            )
    return found
