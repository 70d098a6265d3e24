"""The checkpoints of a run: when one is due, what is selected, and a pair of files that agree.

`last.pt` says which epoch is selected, and holds its weights until `best.pt` does: a kill between
the two is mended when the run is opened again, and no later epoch can be mixed up with it.
"""

import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from scfae.store.errors import CheckpointError

from .averaging import judged_weights
from .checkpoint import RESUMABLE_FORMAT, load_checkpoint, save_checkpoint
from .config import RunConfig
from .runs import RunFolder

MOST_SAVING = 10.0
"""After an epoch, so many times the duration of the last checkpoint must have passed."""


class Keeper:
    """Writes and reads `last.pt` and `best.pt`.

    Args:
        run: The folder.
        config: When checkpoints are due.
        is_silent: Write nothing, and never say that one is due: another process does.

    Attributes:
        best: Metric, value, loss, step and epoch of the selected epoch; empty for none.
    """

    def __init__(self, run: RunFolder, config: RunConfig, *, is_silent: bool) -> None:
        self.best: dict[str, Any] = {}
        self._weights: dict[str, Tensor] | None = None  # selected, but not in best.pt yet
        self._run, self._config, self._is_silent = run, config, is_silent
        self._saved_at_s = time.monotonic()
        self._saving_s = 0.0

    def forget(self) -> None:
        """Select anew: a stage begins, and an earlier one's model is not whole yet."""
        self.best, self._weights = {}, None

    def select(self, best: dict[str, Any], weights: Mapping[str, Tensor]) -> None:
        """Take an epoch for the best, with a copy of its weights."""
        self.best = best
        if not self._is_silent:
            self._weights = {k: v.detach().to("cpu", copy=True) for k, v in weights.items()}

    def is_due(self, step: int) -> bool:
        """Return whether a checkpoint is due inside an epoch."""
        loop = self._config.loop
        if self._is_silent:
            return False
        every, seconds = loop.checkpoint_every_steps, loop.checkpoint_every_s
        if every is not None and step % every == 0:
            return True
        return seconds is not None and time.monotonic() - self._saved_at_s >= seconds

    def is_worth_saving(self, step: int) -> bool:
        """Return whether to write a checkpoint after this epoch: not if that would take over."""
        if self._is_silent:
            return False
        waited_s = time.monotonic() - self._saved_at_s
        return waited_s >= MOST_SAVING * self._saving_s or self.is_due(step)

    def save(self, state: dict[str, Any]) -> None:
        """Write last.pt, then best.pt if another epoch has been selected.

        Args:
            state: Everything that the next step depends on, with `model`, `step` and `epoch`.
        """
        if self._is_silent:
            return
        begun_s = time.monotonic()
        state = state | {"best": self.best, "config": self._config.digest()}
        if self._weights is not None and self.best["step"] != state["step"]:
            state["best_model"] = self._weights
        save_checkpoint(self._run.last, state)
        if self._weights is not None:
            self._save_best(self._weights)
        self._saved_at_s = time.monotonic()
        self._saving_s = self._saved_at_s - begun_s

    def restore(self) -> dict[str, Any] | None:
        """Return the state of last.pt, after making best.pt agree; None if there is none.

        Raises:
            CheckpointError: It is damaged, or of an older scfae.
        """
        if not self._run.last.exists():
            return None
        state = load_checkpoint(self._run.last)
        if state["format"] < RESUMABLE_FORMAT:
            raise CheckpointError(
                f"{self._run.last} is of an older scfae, which kept less: finish the run with that "
                "one, or start another with --run."
            )
        self.best = state["best"]
        if not self._is_silent:
            if "best_model" in state:
                self._save_best(state["best_model"])
            elif self.best and self.best["step"] == state["step"]:
                self._save_best(judged_weights(state))
        return state

    def _save_best(self, weights: Mapping[str, Tensor]) -> None:
        state = {
            "model": dict(weights),
            "step": self.best["step"],
            "epoch": self.best["epoch"],
            "best": self.best,
            "config": self._config.digest(),
        }
        save_checkpoint(self._run.best, state)
        self._weights = None
