"""Training, from a config to a run folder; read it from top to bottom.

`train` sets a run up or opens it again, then `_Training` lives through its epochs. Everything
that a step depends on is in the checkpoint: weights, optimizer, generators, the stream's position,
the best epoch so far and the sums of the epoch. So a run that was killed goes on to the same
weights, bit for bit on a CPU with the same number of threads.
"""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from scfae.fusion import fusion_info
from scfae.store import Batch, FeatureStream, pinned
from scfae.store.atomic import clean_temporaries
from scfae.store.errors import RunNotFound, TaskError

from .accumulation import accumulate_backward, parts_of, saying_what_to_lower
from .averaging import judged_weights, make_average
from .board import Board
from .checkpoint import load_checkpoint, restore_rng, rng_state, save_checkpoint
from .config import RunConfig
from .device import choose_device, seed_everything
from .loading import restore_model
from .model import apply_model, build_model, fusion_of, weighted_losses
from .opening import OpenedRun, open_run
from .optimizer import make_optimizer
from .precision import Precision
from .recipe import loss_weights
from .runs import EventLog, Interrupted, RunFolder
from .schedule import Schedule
from .selection import is_better, selected_metric
from .stages import Stages
from .standardise import Standardised
from .stopping import StopSignals
from .sums import Sums
from .validation import Validation

logger = logging.getLogger("scfae.train")

MOST_SAVING = 10.0
"""After an epoch, so many times the duration of the last checkpoint must have passed."""

Progress = Callable[[int, int, str], None]
"""Receives (steps done, steps in all, what happens now)."""


def train(
    config: RunConfig, *, resume: bool = False, progress: Progress | None = None
) -> RunFolder:
    """Train a model, or go on with the run that is in the config's folder.

    Args:
        config: The settings, by `load_config`.
        resume: The run must be there already.
        progress: Receives (steps done, steps in all, text) after every step.

    Returns:
        The finished run; `checkpoints/best.pt` holds the selected epoch.

    Raises:
        ConfigError: The folder holds a run with another config, or a setting cannot be used here.
        RunNotFound: `resume`, and there is no run.
        RunStateError: The store has changed since the run began, or another process trains it.
        TaskError: Labels or splits do not fit; or the loss is not finite (names the samples).
        Interrupted: SIGTERM or SIGINT came; a checkpoint was written.
    """
    exists = RunFolder.exists(config.loop.run)
    if resume and not exists:
        raise RunNotFound(f"there is no run at {config.loop.run} to go on with.")
    if exists:
        run = RunFolder(config.loop.run)
        run.check_same(config)
        if run.state()["state"] == "finished":
            logger.info("%s is finished already", run.path)
            return run

    device = choose_device(config.loop.device)
    opened = open_run(config, device)
    path, store = opened.run.path, opened.store
    with (
        pinned(store, path, opened.fingerprints) as held,
        opened.run.lock(),
        StopSignals() as stop,
    ):
        if not held:
            logger.warning("%s may not be pinned: nobody is kept from changing it", store.url)
        clean_temporaries(path)
        clean_temporaries(path / "checkpoints")
        _Training(opened, config, device, progress).go(stop)
    return opened.run


class _Training:
    """The state of a run between two steps, and what makes the next step.

    Args:
        opened: The folder, the views, the task.
        config: The settings.
        device: Where the model is.
        progress: Receives (steps done, steps in all, text).
    """

    def __init__(
        self, opened: OpenedRun, config: RunConfig, device: str, progress: Progress | None
    ) -> None:
        self.run, self.task, self.changed = opened.run, opened.task, opened.changed
        self.config, self.device, self.progress = config, device, progress
        task, splits = opened.task, opened.splits
        optim, loop = config.optim, config.loop
        seed_everything(loop.seed)  # before the weights: the same config is the same model
        self.model = build_model(config, splits.train.dims, task.num_outputs).to(device)
        if isinstance(self.model, Standardised) and not self.run.last.exists():
            self.model.fit_view(splits.train)
        self.fusion = fusion_of(self.model)
        self.loss_weights = loss_weights(
            fusion_info(config.model.fusion), config.model.loss_weights
        )
        self.stream = FeatureStream(
            splits.train,
            batch_size=optim.batch_size,
            seed=loop.seed,
            masking=loop.masking,
            bucketing=loop.bucketing,
            balance=loop.balance,
            group_batches=loop.group_batches,
            crop=loop.max_train_rows,
            on_damage=loop.on_damage,
            pin_memory=device.startswith("cuda"),
        )
        self.encode = task.encoder(splits.train)
        self.validate = Validation(
            splits.val,
            task,
            batch_size=optim.batch_size,
            loss_weights=self.loss_weights,
            group_batches=loop.group_batches,
        )
        self.metric = selected_metric(config, task)
        self.steps_per_epoch = len(self.stream)
        self.total_steps = optim.epochs * self.steps_per_epoch
        self.stages = Stages.plan(
            fusion_info(config.model.fusion).recipe.stage_epochs,
            epochs=optim.epochs,
            steps_per_epoch=self.steps_per_epoch,
            fusion=config.model.fusion,
        )
        self._begin_stage(0)
        self.step = 0
        self.best: dict[str, Any] = {}
        self.best_model: dict[str, Tensor] | None = None  # selected, but not in best.pt yet
        self.sums, self.norms = Sums(), Sums()
        self.skipped = 0  # steps of this epoch that fp16 left out
        self.attempt = 1
        self.saved_at_s = time.monotonic()
        self.saving_s = 0.0

    def go(self, stop: StopSignals) -> None:
        """Live through what is left of the run; leave a checkpoint and a true state.json."""
        self._restore()
        self._write_state("running")
        log = EventLog(self.run.path / "events.jsonl")
        if self.attempt == 1:
            log.append("started", step=0, epoch=0, total_steps=self.total_steps, device=self.device)
        else:
            details: dict[str, Any] = {"environment_changed": self.changed} if self.changed else {}
            log.append("resumed", step=self.step, epoch=self.epoch, attempt=self.attempt, **details)
        board = Board(self.run.path / "tensorboard", purge_step=self.step + 1)
        try:
            while not self._is_done():
                self._epoch(stop)
                event = self._end_epoch()
                log.append("epoch", step=self.step, epoch=self.epoch, **event)
                board.write(self.step, event)
                is_done = self._is_done()
                is_stopped = stop.signum is not None and not is_done
                if is_stopped or is_done or self._is_worth_saving():
                    self._save()
                self._write_state("running")
                if is_stopped and stop.signum is not None:
                    raise Interrupted(stop.signum, self.run.path, self.step)
            early = {"stopped_early": True} if self.step < self.total_steps else {}
            log.append("finished", step=self.step, epoch=self.epoch, best=self.best, **early)
            self._write_state("finished", **early)
        except Interrupted:
            log.append("interrupted", step=self.step, epoch=self.epoch)
            self._write_state("interrupted")
            raise
        except BaseException as error:
            log.append("failed", step=self.step, epoch=self.epoch, error=str(error))
            self._write_state("failed", error=f"{type(error).__name__}: {error}")
            raise
        finally:
            board.close()

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return self.step // self.steps_per_epoch

    def _is_done(self) -> bool:
        """Return whether the steps are taken, or validation has not got better for long."""
        if self.step >= self.total_steps:
            return True
        patience = self.config.loop.patience
        # The stage that was trained: at its end the next one has not begun yet.
        is_last_stage = self.fusion.stage == self.fusion.num_stages - 1
        if patience is None or not self.best or not is_last_stage:
            return False
        return self.epoch - int(self.best["epoch"]) >= patience

    def _epoch(self, stop: StopSignals) -> None:
        """Take the steps that are left of this epoch."""
        stage = self.stages.at(self.step)
        if stage != self.fusion.stage:
            self._begin_stage(stage)
        self.model.train()
        for cpu_batch in self.stream:
            self._step(cpu_batch.to(self.device, non_blocking=True))
            is_last = self.step % self.steps_per_epoch == 0
            if self.progress is not None:
                text = f"epoch {math.ceil(self.step / self.steps_per_epoch)}"
                self.progress(self.step, self.total_steps, text)
            if is_last:
                continue  # the end of the epoch writes its own checkpoint, after validation
            if stop.signum is not None:
                self._save()
                raise Interrupted(stop.signum, self.run.path, self.step)
            if self._is_due():
                self._save()

    def _begin_stage(self, stage: int) -> None:
        """Let the parameters of a stage learn, with an optimizer and a schedule of their own."""
        optim, steps = self.config.optim, self.stages.steps(stage)
        self.fusion.begin_stage(stage)
        self.learning = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(optim, self.learning, self.device)
        self.schedule = Schedule(optim.lr, optim.lr_start, optim.lr_end, optim.warmup, steps)
        self.precision = Precision(self.config.loop.precision, self.device)
        self.average = make_average(self.model, optim.ema)
        self.best, self.best_model = {}, None  # an earlier stage's model is not whole yet

    def _rate(self, step: int) -> float:
        return self.schedule(step - self.stages.begin(self.stages.at(step)))

    def _step(self, batch: Batch) -> None:
        """Take one step: loss = task + sum of weight * auxiliary loss."""
        rate, optim = self._rate(self.step), self.config.optim
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        with saying_what_to_lower(batch, self.step):
            for number, part in enumerate(parts_of(batch, optim.accumulate)):
                losses = self._losses(part)
                share = len(part) / len(batch)
                scaled = self.precision.scale(loss * share for loss in losses)
                accumulate_backward(scaled, self.learning, optim.combiner, is_first=number == 0)
            self.precision.scaler.unscale_(self.optimizer)
            norm = nn.utils.clip_grad_norm_(self.learning, optim.clip_norm or math.inf).item()
            if not math.isfinite(norm) and self.precision.may_skip():
                self.skipped += 1  # fp16: the step is left out, and the scale halved
                norm = 0.0
            self._check_finite("gradient", norm, batch)
            if optim.clip_value is not None:
                nn.utils.clip_grad_value_(self.learning, optim.clip_value)
            self.precision.step(self.optimizer)
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.step += 1
        self.norms.add({"grad_norm": norm}, len(batch))

    def _losses(self, batch: Batch) -> list[Tensor]:
        """Return the weighted losses of a batch or a part of one, and count them."""
        targets = self.encode(batch, batch.present)
        with self.precision.autocast():
            output = apply_model(
                self.model,
                batch.features,
                batch.present,
                batch.lengths,
                labels=self.task.method_labels(targets),
                groups=batch.groups,
            )
        parts: dict[str, Tensor] = {"task": self.task.loss(output, targets, batch.present)}
        parts |= weighted_losses(output.losses, self.loss_weights)
        loss = torch.stack([part.detach().float() for part in parts.values()]).sum()
        self._check_finite("loss", loss.item(), batch)
        figures = {name: part.item() for name, part in parts.items()}
        self.sums.add(figures | {"loss": loss.item()}, len(batch))
        return list(parts.values())

    def _check_finite(self, what: str, value: float, batch: Batch) -> None:
        if not math.isfinite(value):
            raise TaskError(
                f"the {what} of step {self.step} is {value}; the batch was: {', '.join(batch.ids)}."
            )

    def _end_epoch(self) -> dict[str, Any]:
        """Validate, select, and return the epoch's figures."""
        figures, norm, skipped = self.sums.means(), self.norms.means()["grad_norm"], self.skipped
        self.sums, self.norms, self.skipped = Sums(), Sums(), 0
        scores = self.validate(self.judged, self.device, self.precision.autocast())
        loss = scores["loss"]
        if loss is None or not math.isfinite(loss):
            raise TaskError(f"the validation loss after step {self.step} is {loss}.")
        metric = self.metric
        value = scores[metric]
        if value is None:
            raise TaskError(
                f"select = {metric!r} is undefined on the validation split: choose another metric."
            )
        is_best = is_better(metric, (value, loss), self.best)
        if is_best:
            self.best_model = {
                name: value.detach().to("cpu", copy=True)
                for name, value in self.judged.state_dict().items()
            }
            self.best = {
                "metric": metric,
                "value": value,
                "loss": loss,
                "step": self.step,
                "epoch": self.epoch,
            }
        return {
            "train": figures,
            "lr": self._rate(self.step - 1),
            "grad_norm": norm,
            **({"skipped_steps": skipped} if skipped else {}),
            "val": scores,
            "is_best": is_best,
        }

    @property
    def judged(self) -> nn.Module:
        """What validation sees and best.pt keeps: the average of the weights, or the weights."""
        return self.model if self.average is None else self.average.module

    def _is_due(self) -> bool:
        loop = self.config.loop
        every = loop.checkpoint_every_steps
        if every is not None and self.step % every == 0:
            return True
        seconds = loop.checkpoint_every_s
        return seconds is not None and time.monotonic() - self.saved_at_s >= seconds

    def _is_worth_saving(self) -> bool:
        """Return whether to write a checkpoint after this epoch: not if that would take over."""
        return time.monotonic() - self.saved_at_s >= MOST_SAVING * self.saving_s or self._is_due()

    def _save(self) -> None:
        """Write last.pt, then best.pt if another epoch has been selected.

        last.pt says which epoch is selected, and holds its weights until best.pt does: a kill in
        between is mended by `_restore`, and no later epoch can be mixed up with the selected one.
        """
        begun_s = time.monotonic()
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "stream": self.stream.state_dict(),
            "rng": rng_state(),
            "sums": self.sums.state(),
            "norms": self.norms.state(),
            "skipped": self.skipped,
            "scaler": self.precision.scaler.state_dict(),
            "step": self.step,
            "epoch": self.epoch,
            "stage": self.fusion.stage,
            "best": self.best,
            "config": self.config.digest(),
        }
        if self.average is not None:
            state["average"] = self.average.state_dict()
        if self.best_model is not None and self.best["step"] != self.step:
            state["best_model"] = self.best_model
        save_checkpoint(self.run.last, state)
        if self.best_model is not None:
            self._save_best(self.best_model)
        self.saved_at_s = time.monotonic()
        self.saving_s = self.saved_at_s - begun_s

    def _save_best(self, weights: dict[str, Tensor]) -> None:
        state = {
            "model": weights,
            "step": self.best["step"],
            "epoch": self.best["epoch"],
            "best": self.best,
            "config": self.config.digest(),
        }
        save_checkpoint(self.run.best, state)
        self.best_model = None

    def _restore(self) -> None:
        """Go back to the last checkpoint, if there is one."""
        self.attempt = self.run.state().get("attempt", 0) + 1
        if self.run.last.exists():
            state = load_checkpoint(self.run.last)
            self._begin_stage(state["stage"])
            restore_model(self.model, state, self.config)
            self.optimizer.load_state_dict(state["optimizer"])
            self.stream.load_state_dict(state["stream"])
            self.precision.scaler.load_state_dict(state["scaler"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            self.sums, self.norms = Sums(state["sums"]), Sums(state["norms"])
            self.skipped = state["skipped"]
            self.step, self.best = state["step"], state["best"]
            restore_rng(state["rng"])
            if "best_model" in state:
                self._save_best(state["best_model"])
            elif self.best and self.best["step"] == self.step:
                self._save_best(judged_weights(state))

    def _write_state(self, state: str, **details: Any) -> None:
        self.run.write_state(
            state,
            step=self.step,
            total_steps=self.total_steps,
            epoch=self.epoch,
            epochs=self.config.optim.epochs,
            attempt=self.attempt,
            best=self.best or None,
            **details,
        )
