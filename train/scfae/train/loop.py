"""Training, from a config to a run folder; read it from top to bottom.

`train` sets a run up or opens it again, then `_Training` lives through its epochs, and a `Learner`
takes the steps. Everything that a step depends on is in the checkpoint: weights, optimizer,
generators, the stream's position, the best epoch so far and the sums of the epoch. So a run that
was killed goes on to the same weights, bit for bit on a CPU with the same number of threads.

Under `torchrun` every process lives through the same steps, each with its part of every batch; the
first of them alone validates and writes. `world` says what they add up and agree on.
"""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from signal import SIGTERM
from typing import Any

from scfae.extract.device import choose_device
from scfae.fusion import fusion_info
from scfae.store import Batch, pinned
from scfae.store.atomic import clean_temporaries
from scfae.store.errors import RunNotFound, TaskError

from .checkpoint import restore_rng, rng_state
from .config import RunConfig
from .gradient_log import GradientLog
from .journal import Journal
from .keeper import Keeper
from .learner import Learner
from .model import build_model, standardised_in
from .opening import OpenedRun, open_run, training_stream
from .runs import Interrupted, RunFolder
from .seeding import seed_everything, seed_rank
from .selection import is_better, selected_metric
from .settling import Settling
from .speed import Speed
from .stages import Stages
from .stopping import StopSignals
from .validation import Validation
from .world import World, check_batches, join_world

logger = logging.getLogger("scfae.train")

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

    with join_world(choose_device(config.loop.device)) as world:
        opened = world.first_then_others(lambda: open_run(config, world.device))
        # The first process holds the run for all.
        with _held(opened) if world.is_first else nullcontext(), StopSignals() as stop:
            _Training(opened, config, world, progress).go(stop)
    return opened.run


@contextmanager
def _held(opened: OpenedRun) -> Iterator[None]:
    """Keep others from training the run and from changing what it reads."""
    path, store = opened.run.path, opened.store
    with pinned(store, path, opened.fingerprints) as held, opened.run.lock():
        if not held:
            logger.warning("%s may not be pinned: nobody is kept from changing it", store.url)
        clean_temporaries(path)
        clean_temporaries(path / "checkpoints")
        yield


class _Training:
    """The state of a run between two steps, and what happens before and after each.

    Args:
        opened: The folder, the views, the task.
        config: The settings.
        world: The processes that train it, and where this one's model is.
        progress: Receives (steps done, steps in all, text).
    """

    def __init__(
        self, opened: OpenedRun, config: RunConfig, world: World, progress: Progress | None
    ) -> None:
        self.run, self.task, self.changed = opened.run, opened.task, opened.changed
        self.config, self.world, self.progress = config, world, progress
        device = self.device = world.device
        task, splits = opened.task, opened.splits
        optim, loop = config.optim, config.loop
        seed_everything(loop.seed)  # before the weights: the same config is the same model
        model = build_model(config, splits.train.dims, task.num_outputs).to(device)
        standardised = standardised_in(model)
        if standardised is not None and not self.run.last.exists():
            standardised.fit_view(splits.train)
        self.stream = training_stream(
            config,
            splits,
            rank=world.rank,
            world_size=world.size,
            pin_memory=device.startswith("cuda"),
        )
        if not loop.group_batches:
            check_batches(len(splits.train), optim.batch_size, world)
        self.steps_per_epoch = len(self.stream)
        self.total_steps = optim.epochs * self.steps_per_epoch
        stages = Stages.plan(
            fusion_info(config.model.fusion).recipe.stage_epochs,
            epochs=optim.epochs,
            steps_per_epoch=self.steps_per_epoch,
            fusion=config.model.fusion,
        )
        self.encode = task.encoder(splits.train)
        self.learner = Learner(
            model, config, task=task, encode=self.encode, stages=stages, world=world
        )
        self.validate = Validation(
            splits.val,
            task,
            batch_size=optim.batch_size,
            loss_weights=self.learner.loss_weights,
            group_batches=loop.group_batches,
        )
        self.settle = Settling(splits.val, optim.batch_size, group_batches=loop.group_batches)
        self.metric = selected_metric(config, task)
        self.keeper = Keeper(self.run, config, is_silent=not world.is_first)
        seed_rank(loop.seed, world.rank)  # after the weights: ranks draw apart, in dropout
        self.step = 0
        self.speed = Speed()
        self.attempt = 1

    def go(self, stop: StopSignals) -> None:
        """Live through what is left of the run; leave a checkpoint and a true state.json."""
        self._restore()
        self.journal = Journal(
            self.run,
            is_silent=not self.world.is_first,
            purge_step=self.step + 1,
            trackers=self.config.loop.trackers,
        )
        self.gradients = GradientLog(
            self.config,
            self.learner.model,
            self.task,
            self.encode,
            step=self.step,
            world=self.world,
        )
        self._write_state("running")
        where = {"device": self.device, "processes": self.world.size}
        if self.attempt == 1:
            self._tell("started", total_steps=self.total_steps, **where)
        else:
            details: dict[str, Any] = {"environment_changed": self.changed} if self.changed else {}
            self._tell("resumed", attempt=self.attempt, **where, **details)
        try:
            while not self._is_done():
                self._epoch(stop)
                event = self._end_epoch()
                self._tell("epoch", **event)
                self.journal.figures(self.step, event)
                is_done = self._is_done()
                is_stopped, is_worth_it = self.world.any(
                    stop.signum is not None and not is_done,
                    self.keeper.is_worth_saving(self.step),
                )
                if is_stopped or is_done or is_worth_it:
                    self._save()
                self._write_state("running")
                if is_stopped:
                    raise Interrupted(stop.signum or SIGTERM, self.run.path, self.step)
            early = {"stopped_early": True} if self.step < self.total_steps else {}
            self._tell("finished", best=self.keeper.best, **early)
            self._write_state("finished", **early)
        except Interrupted:
            self._tell("interrupted")
            self._write_state("interrupted")
            raise
        except BaseException as error:
            self._tell("failed", error=str(error))
            self._write_state("failed", error=f"{type(error).__name__}: {error}")
            raise
        finally:
            self.journal.close()

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return self.step // self.steps_per_epoch

    def _is_done(self) -> bool:
        """Return whether the steps are taken, or validation has not got better for long."""
        if self.step >= self.total_steps:
            return True
        patience = self.config.loop.patience
        # At the end of a stage the next one has not begun yet.
        if patience is None or not self.keeper.best or not self.learner.is_in_last_stage:
            return False
        return self.epoch - int(self.keeper.best["epoch"]) >= patience

    def _epoch(self, stop: StopSignals) -> None:
        """Take the steps that are left of this epoch."""
        if self.learner.enter_stage_of(self.step):
            self.keeper.forget()
        self.learner.model.train()
        for cpu_batch in self.speed.timed(self.stream):
            batch = cpu_batch.to(self.device, non_blocking=True)
            self.learner.learn(batch, self.step, before=self._sample)
            self.step += 1
            is_last = self.step % self.steps_per_epoch == 0
            if self.progress is not None:
                text = f"epoch {math.ceil(self.step / self.steps_per_epoch)}"
                self.progress(self.step, self.total_steps, text)
            if is_last:
                continue  # the end of the epoch writes its own checkpoint, after validation
            is_stopped, is_due = self.world.any(
                stop.signum is not None, self.keeper.is_due(self.step)
            )
            if is_stopped or is_due:
                self._save()
            if is_stopped:
                raise Interrupted(stop.signum or SIGTERM, self.run.path, self.step)

    def _sample(self, batch: Batch) -> None:
        self.gradients.sample(batch, self.step)

    def _end_epoch(self) -> dict[str, Any]:
        """Validate, select, and return the epoch's figures."""
        speed = self.speed.take()
        figures = self.learner.take_figures()
        judged, precision = self.learner.judged, self.learner.precision
        found = None
        if self.world.is_first:
            self.settle(judged, self.device, precision.autocast())
            found = self.validate(judged, self.device, precision.autocast())
        scores = self.world.from_first(found)
        loss = scores["loss"]
        if loss is None or not math.isfinite(loss):
            raise TaskError(f"the validation loss after step {self.step} is {loss}.")
        metric = self.metric
        value = scores[metric]
        if value is None:
            raise TaskError(
                f"select = {metric!r} is undefined on the validation split: choose another metric."
            )
        is_best = is_better(metric, (value, loss), self.keeper.best)
        if is_best:
            best = {"metric": metric, "value": value, "loss": loss}
            best |= {"step": self.step, "epoch": self.epoch}
            self.keeper.select(best, judged.state_dict())
        rate = self.learner.rate(self.step - 1)
        return {**figures, "lr": rate, "val": scores, "is_best": is_best, "speed": speed}

    def _tell(self, kind: str, **details: Any) -> None:
        self.journal.event(kind, step=self.step, epoch=self.epoch, **details)

    def _save(self) -> None:
        """Keep everything that the next step depends on."""
        state = self.learner.state() | {
            "stream": self.stream.state_dict(),
            "rng": self.world.gather(rng_state()),
            "step": self.step,
            "epoch": self.epoch,
        }
        self.gradients.secure()
        self.keeper.save(state)

    def _restore(self) -> None:
        """Go back to the last checkpoint, if there is one."""
        # The first rank holds the lock; `state` of another would reach for it.
        before = self.run.state() if self.world.is_first else None
        self.attempt = self.world.from_first(before).get("attempt", 0) + 1
        state = self.keeper.restore()
        if state is None:
            return
        self.learner.restore(state)
        self.stream.load_state_dict(state["stream"])
        self.step = state["step"]
        if self.world.rank < len(state["rng"]):
            restore_rng(state["rng"][self.world.rank])

    def _write_state(self, state: str, **details: Any) -> None:
        self.journal.state(
            state,
            step=self.step,
            total_steps=self.total_steps,
            epoch=self.epoch,
            epochs=self.config.optim.epochs,
            attempt=self.attempt,
            best=self.keeper.best or None,
            **details,
        )
