"""Weights & Biases: a run in the project `scfae`, its files in the run folder's `wandb/`.

A resumed run has the same id; W&B takes no step that is not after its last. Offline
(WANDB_MODE=offline) it cannot know its last, so that is kept here too.
"""

import os
from collections.abc import Mapping

from ..runs import RunFolder
from . import plain_name
from .identity import identity, note

PROJECT = "scfae"
LOGIN_S = 5.0
"""Nobody may be there to type a key."""
ANSWER_S = 20.0
"""W&B waits for its server when the process ends, too."""


class WandbTracker:
    """A run of W&B.

    Args:
        run: The folder.
    """

    def __init__(self, run: RunFolder) -> None:
        import wandb

        record = identity(run)
        self._run = run
        self._last_step = int(record.get("wandb_step", 0))
        settings = wandb.Settings(
            console="off",
            silent=True,
            login_timeout=LOGIN_S,
            init_timeout=ANSWER_S,
            finish_timeout=ANSWER_S,
        )
        self._wandb = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=record["id"],
            name=run.path.name,
            dir=str(run.path),
            config=run.config.flat(),
            resume="allow",
            reinit="create_new",  # a sweep has many runs in one process
            settings=settings,
        )

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Add a point to every curve, unless W&B has that step."""
        if step <= self._last_step:
            return
        named = {plain_name(name): value for name, value in figures.items()}
        self._wandb.log(named, step=step, commit=True)
        self._last_step = step
        note(self._run, wandb_step=step)

    def end(self, state: str) -> None:
        """Close the run."""
        self._wandb.finish(exit_code=0 if state == "finished" else 1)
