"""Which stage of training each step is in, for fusion methods that train in several.

Epochs are dealt out in the proportion of the method's recipe, at least one a stage. The learning
rate begins anew in each, and so does the optimizer: a stage has parameters of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from scfae.store.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of a run.

    Attributes:
        ends: The step behind each stage.
    """

    ends: tuple[int, ...]

    @classmethod
    def plan(
        cls, stage_epochs: Sequence[int], *, epochs: int, steps_per_epoch: int, fusion: str
    ) -> "Stages":
        """Return the stages of a run.

        Args:
            stage_epochs: Epochs of each stage in the recipe, whose proportion is kept.
            epochs: Epochs of the run.
            steps_per_epoch: Steps of each.
            fusion: The method's name, for the message.

        Raises:
            ConfigError: If there are fewer epochs than stages.
        """
        if epochs < len(stage_epochs):
            raise ConfigError(
                f"epochs = {epochs}: {fusion} trains in {len(stage_epochs)} stages, so at least "
                f"{len(stage_epochs)} epochs are needed."
            )
        total = sum(stage_epochs)
        ends: list[int] = []
        for number in range(len(stage_epochs)):
            share = round(epochs * sum(stage_epochs[: number + 1]) / total)
            least = (ends[-1] if ends else 0) + 1
            ends.append(min(max(share, least), epochs - (len(stage_epochs) - number - 1)))
        return cls(tuple(end * steps_per_epoch for end in ends))

    def at(self, step: int) -> int:
        """Return the stage that a step belongs to; behind the last step, the last stage."""
        return next((i for i, end in enumerate(self.ends) if step < end), len(self.ends) - 1)

    def begin(self, stage: int) -> int:
        """Return the first step of a stage."""
        return self.ends[stage - 1] if stage else 0

    def steps(self, stage: int) -> int:
        """Return the steps of a stage."""
        return self.ends[stage] - self.begin(stage)
