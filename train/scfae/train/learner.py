"""The model of a training, and how it takes a step: losses of a batch, gradients, new weights.

A stage of a fusion method begins with an optimizer, a schedule, loss scaling and an average of the
weights of its own. Of several processes each has its part of every batch and the same weights:
`world` adds the gradients up.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scfae.fusion import fusion_info
from scfae.store import Batch
from scfae.store.errors import TaskError

from .accumulation import accumulate_backward, most_parts, parts_of, saying_what_to_lower
from .averaging import make_average
from .config import RunConfig
from .joint import parameter_groups
from .loading import restore_model
from .model import apply_model, fusion_of, weighted_losses
from .optimizer import make_optimizer
from .precision import Precision
from .recipe import loss_weights
from .schedule import Schedule
from .stages import Stages
from .sums import Sums
from .tasks import Encode, Task
from .world import World


class Learner:
    """A model that learns.

    Args:
        model: Untrained, where `world` wants it.
        config: The settings.
        task: Its loss.
        encode: From a batch to the task's targets.
        stages: Which steps are in which stage.
        world: The processes that train it.

    Attributes:
        model: The model.
        fusion: The method inside it.
        loss_weights: Of the method's auxiliary losses.
        precision: Number formats of the stage.
    """

    def __init__(
        self,
        model: nn.Module,
        config: RunConfig,
        *,
        task: Task,
        encode: Encode,
        stages: Stages,
        world: World,
    ) -> None:
        self.model, self.fusion = model, fusion_of(model)
        self.loss_weights = loss_weights(
            fusion_info(config.model.fusion), config.model.loss_weights
        )
        self._config, self._task, self._encode = config, task, encode
        self._stages, self._world = stages, world
        self._sums, self._norms = Sums(), Sums()
        self._skipped = 0  # steps of this epoch that fp16 left out
        self._begin_stage(0)

    @property
    def judged(self) -> nn.Module:
        """What validation sees and best.pt keeps: the average of the weights, or the weights."""
        return self.model if self._average is None else self._average.module

    @property
    def is_in_last_stage(self) -> bool:
        """Whether the stage that is trained, or was last, is the method's last."""
        return self.fusion.stage == self.fusion.num_stages - 1

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from the run's first."""
        return self._schedule(step - self._stages.begin(self._stages.at(step)))

    def enter_stage_of(self, step: int) -> bool:
        """Begin the stage that a step belongs to; return False if it has begun before."""
        stage = self._stages.at(step)
        if stage == self.fusion.stage:
            return False
        self._begin_stage(stage)
        return True

    def learn(self, batch: Batch, step: int, *, before: Callable[[Batch], None]) -> None:
        """Take one step: loss = task + sum of weight * auxiliary loss.

        Args:
            batch: This process's part of the global batch, where the model is.
            step: Steps taken before.
            before: Receives the batch, or its first part, before the model learns from it.

        Raises:
            TaskError: There is no sample, memory does not suffice, or a loss or the gradient is
                not finite (names the samples).
        """
        if not len(batch):  # whole groups, fewer of them than processes
            raise TaskError(
                f"process {self._world.rank} of {self._world.size} has no sample in step {step}:"
                " take larger batches, or start fewer processes."
            )
        optim = self._config.optim
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate(step) * group.get("factor", 1.0)  # an encoder's own
        self._optimizer.zero_grad(set_to_none=True)
        with saying_what_to_lower(batch, step):
            (num_samples,) = self._world.sum([len(batch)])
            count = self._world.least(min(optim.accumulate, most_parts(batch)))
            for number, part in enumerate(parts_of(batch, count)):
                if number == 0:
                    before(part)
                losses = self._losses(part, step)
                share = len(part) / num_samples
                scaled = self.precision.scale(loss * share for loss in losses)
                accumulate_backward(
                    scaled, self._learning, optim.combiner, is_first=number == 0, reduce=self._add
                )
            if optim.combiner == "pcgrad":
                self._world.same_gradients(self._learning)
            self.precision.scaler.unscale_(self._optimizer)
            norm = nn.utils.clip_grad_norm_(self._learning, optim.clip_norm or math.inf).item()
            if not math.isfinite(norm) and self.precision.may_skip():
                self._skipped += 1  # fp16: the step is left out, and the scale halved
                norm = 0.0
            self._check_finite("gradient", norm, batch, step)
            if optim.clip_value is not None:
                nn.utils.clip_grad_value_(self._learning, optim.clip_value)
            self.precision.step(self._optimizer)
        if self._average is not None:
            self._average.update_parameters(self.model)
        self._norms.add({"grad_norm": norm}, len(batch))

    def take_figures(self) -> dict[str, Any]:
        """Return the figures of the steps since the last call, over all processes.

        Returns:
            `train` (each loss, mean over samples), `grad_norm`, and `skipped_steps` where there
            are any.
        """
        sums, norms = (self._of_all(one) for one in (self._sums, self._norms))
        skipped = {"skipped_steps": self._skipped} if self._skipped else {}
        self._sums, self._norms, self._skipped = Sums(), Sums(), 0
        return {"train": sums.means(), "grad_norm": norms.means()["grad_norm"], **skipped}

    def state(self) -> dict[str, Any]:
        """Return everything of it that the next step depends on; all processes call it."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "sums": self._of_all(self._sums).state(),
            "norms": self._of_all(self._norms).state(),
            "skipped": self._skipped,
            "scaler": self.precision.scaler.state_dict(),
            "stage": self.fusion.stage,
        }
        if self._average is not None:
            state["average"] = self._average.state_dict()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state, with the config's digest, as a checkpoint holds it.

        Raises:
            CheckpointError: The weights are of another config or of another architecture.
        """
        self._begin_stage(state["stage"])
        restore_model(self.model, state, self._config)
        self._optimizer.load_state_dict(state["optimizer"])
        self.precision.scaler.load_state_dict(state["scaler"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        if self._world.is_first:  # the sums of all
            self._sums, self._norms = Sums(state["sums"]), Sums(state["norms"])
        self._skipped = state["skipped"]

    def _begin_stage(self, stage: int) -> None:
        """Let the parameters of a stage learn, with an optimizer and a schedule of their own."""
        optim, device = self._config.optim, self._world.device
        self.fusion.begin_stage(stage)
        self._learning = [p for p in self.model.parameters() if p.requires_grad]
        groups = parameter_groups(self.model, self._learning)
        self._optimizer = make_optimizer(optim, groups, device)
        steps = self._stages.steps(stage)
        self._schedule = Schedule(optim.lr, optim.lr_start, optim.lr_end, optim.warmup, steps)
        self.precision = Precision(self._config.loop.precision, device)
        self._average = make_average(self.model, optim.ema)

    def _losses(self, batch: Batch, step: int) -> list[Tensor]:
        """Return the weighted losses of a batch or a part of one, and count them."""
        targets = self._encode(batch, batch.present)
        with self.precision.autocast():
            output = apply_model(
                self.model,
                batch.features,
                batch.present,
                batch.lengths,
                labels=self._task.method_labels(targets),
                groups=batch.groups,
            )
        parts: dict[str, Tensor] = {"task": self._task.loss(output, targets, batch.present)}
        parts |= weighted_losses(output.losses, self.loss_weights)
        loss = torch.stack([part.detach().float() for part in parts.values()]).sum()
        self._check_finite("loss", loss.item(), batch, step)
        figures = {name: part.item() for name, part in parts.items()}
        self._sums.add(figures | {"loss": loss.item()}, len(batch))
        return list(parts.values())

    def _add(self, gradients: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return self._world.add_gradients(gradients, self._learning)

    def _check_finite(self, what: str, value: float, batch: Batch, step: int) -> None:
        # All stop together, and each can say whose batch it was.
        is_bad = not math.isfinite(value)
        if self._world.any(is_bad)[0]:
            found = self._world.gather((value, list(batch.ids)) if is_bad else None)
            value, ids = next(one for one in found if one is not None)
            raise TaskError(
                f"the {what} of step {step} is {value}; the batch was: {', '.join(ids)}."
            )

    def _of_all(self, sums: Sums) -> Sums:
        return Sums.added(self._world.gather(sums.state()))
