"""The learning rate of each step: linear warm-up, then a cosine (fusion.md, A21; paper, 5.2)."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """A pure function of the step, so that resuming needs nothing but the step.

    Attributes:
        lr: Rate at the end of the warm-up.
        lr_start: Rate of step 0.
        lr_end: Rate that the cosine would reach at step `total_steps`.
        warmup: Share of the steps that warm up, in [0, 1].
        total_steps: Steps of the whole run.
    """

    lr: float
    lr_start: float
    lr_end: float
    warmup: float
    total_steps: int

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        warm = round(self.warmup * self.total_steps)
        if step < warm:
            return self.lr_start + (self.lr - self.lr_start) * step / warm
        share = min(1.0, (step - warm) / max(1, self.total_steps - warm))
        return self.lr_end + (self.lr - self.lr_end) * 0.5 * (1.0 + math.cos(math.pi * share))
