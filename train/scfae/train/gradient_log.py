"""How the gradients of task and auxiliary losses met while a run was trained: `gradients.jsonl`.

A line holds one sampled step: `{"step": 50, "modalities": {"video": {"at": …, "task_norm": …,
"auxiliary_norm": …, "cosine": …}, …, "all": …}}`, where `step` counts the steps taken before. Every
sample is of the batch that the step is about to learn from (of its first part, where a batch is
computed in parts; of the first process's part, where several train).

The file keeps step with the checkpoints: its lines are on disk before a checkpoint of a later step
is, and a run that goes on from one drops the lines of steps that it takes again. So a kill neither
doubles nor loses one.
"""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from torch import nn

from scfae.store import Batch
from scfae.store.atomic import write_atomic

from .config import RunConfig
from .gradient_probe import GradientProbe, Meeting
from .gradients import GradientFigures, figures_of
from .runs import json_line
from .tasks import Encode, Task
from .world import World

GRADIENT_LOG: Final = "gradients.jsonl"


class GradientLog:
    """Samples gradients every so many steps of a training.

    Args:
        config: Says how often; never, if that is 0.
        model: The model.
        task: What is asked.
        encode: From a batch to the task's targets.
        step: Steps taken before: later lines of the file are dropped.
        world: Whose first process writes; all of them sample, for losses may gather rows.
    """

    def __init__(
        self,
        config: RunConfig,
        model: nn.Module,
        task: Task,
        encode: Encode,
        *,
        step: int,
        world: World,
    ) -> None:
        self._every = config.loop.gradients_every
        self._path = _path(config.loop.run) if self._every and world.is_first else None
        if self._every:
            self._probe = GradientProbe(model, task, encode, config)
        if self._path is not None:
            kept = [one for one in read_lines(self._path.parent) if one["step"] < step]
            write_atomic(self._path, "".join(map(json_line, kept)).encode())

    def sample(self, batch: Batch, step: int) -> None:
        """Write down how gradients meet in a batch, if the step is one of those sampled."""
        if not self._every or step % self._every:
            return
        meetings = self._probe.meetings(batch)
        found = {name: one.as_dict() for name, one in meetings.items()}
        # Of a loss that is not finite the step itself says which samples it was.
        is_finite = all(
            math.isfinite(one.task_norm + one.auxiliary_norm) for one in meetings.values()
        )
        if self._path is not None and is_finite:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json_line({"step": step, "modalities": found}))

    def secure(self) -> None:
        """Bring what was written to disk, before a checkpoint that goes on after it."""
        if self._path is not None:
            with open(self._path, "rb") as file:
                os.fsync(file.fileno())


def read_lines(run: str | Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log in order; none if it kept none."""
    path = _path(run)
    if not path.is_file():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue  # cut off by a kill: its step is taken again
    return lines


def logged_figures(lines: Sequence[dict[str, Any]]) -> dict[str, GradientFigures]:
    """Return the figures at each modality over the sampled steps; {} for none."""
    return figures_of(
        [{name: Meeting(**one) for name, one in line["modalities"].items()} for line in lines]
    )


def _path(run: str | Path) -> Path:
    return Path(run) / GRADIENT_LOG
