"""What is learned from labels: targets, loss, scores, metrics. One module a task.

Another task is a subclass of `Task` in a module of its own, an entry in `TASKS`, and its name in
the choices of `DataConfig.task`.
"""

from typing import Any

from scfae.store.errors import TaskError

from .binary import Binary
from .classification import Classification
from .deepfake import Deepfake
from .multilabel import MultiLabel
from .regression import Regression
from .retrieval import Retrieval
from .task import LOWER_IS_BETTER, Encode, Measured, Scored, Task, Trial, parse_options, subsets

TASKS: dict[str, type[Task]] = {
    kind.name: kind
    for kind in (Classification, Binary, MultiLabel, Regression, Deepfake, Retrieval)
}
"""Every task by the name it has in a config."""


def load_task(record: dict[str, Any]) -> Task:
    """Return the task of a run folder's record.

    Raises:
        TaskError: The record is of a task that this scfae does not know.
    """
    if record.get("name") not in TASKS:
        raise TaskError(f"unknown task {record.get('name')!r}; known: {', '.join(TASKS)}.")
    return TASKS[record["name"]].from_dict(record)


__all__ = [
    "LOWER_IS_BETTER",
    "TASKS",
    "Binary",
    "Classification",
    "Deepfake",
    "Encode",
    "Measured",
    "MultiLabel",
    "Regression",
    "Retrieval",
    "Scored",
    "Task",
    "Trial",
    "load_task",
    "parse_options",
    "subsets",
]
