"""One short training of a fusion method on a set in memory, the same for every method.

AdamW, warm-up and cosine as the trainer's defaults; the method's own loss weights, stages and way
to combine gradients. The epoch that is best on validation is kept: higher accuracy, then lower
loss. Of what is there, a share is hidden anew in every training step, for all methods alike.
"""

import math
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from benchmarks.fusion_sets import FeatureSet
from torch import Tensor, nn

from scfae.fusion import Fusion, FusionInfo, build_fusion, combined_backward, count_parameters
from scfae.train.model import weighted_losses
from scfae.train.optimizer import make_optimizer
from scfae.train.recipe import loss_weights
from scfae.train.schedule import Schedule
from scfae.train.seeding import seed_everything
from scfae.train.settings import OptimConfig
from scfae.train.stages import Stages
from scfae.train.standardise import Standardised

CLIP_NORM = 1.0
HIDDEN = 0.3
"""Share of the views present that a training step hides; one always stays."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples `rows` of a set: features `[B, T, D]`, presence, lengths, labels, dialogues."""

    features: dict[str, Tensor]
    present: Tensor
    lengths: dict[str, Tensor]
    labels: Tensor
    groups: Tensor | None


@dataclass(frozen=True, slots=True)
class Trained:
    """A model and what its training measured.

    Attributes:
        model: Of the selected epoch, in evaluation.
        data: The set as the model takes it.
        present: bool `[N, M]`.
        facts: `val_accuracy`, `parameters`, `step_ms`, and the machine's `load`.
    """

    model: nn.Module
    data: FeatureSet
    present: Tensor
    facts: dict[str, Any]


def batches(data: FeatureSet, present: Tensor, rows: Tensor, size: int) -> Iterator[Batch]:
    """Yield the samples `rows`, `size` at a time."""
    for begin in range(0, len(rows), size):
        some = rows[begin : begin + size]
        yield Batch(
            {m: x[some] for m, x in data.features.items()},
            present[some],
            {m: n[some] for m, n in data.lengths.items()},
            data.labels[some],
            None if data.groups is None else data.groups[some],
        )


def shuffled(data: FeatureSet, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Return `rows` in a new order; dialogues are whole, and in their own order."""
    if data.groups is None:
        return rows[torch.randperm(len(rows), generator=generator)]
    mine = data.groups[rows]
    names = torch.unique(mine)
    names = names[torch.randperm(len(names), generator=generator)]
    return torch.cat([rows[mine == name] for name in names])


def some_hidden(present: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return presence bool `[B, M]` with a share of what is there hidden; one always stays."""
    draws = torch.rand(present.shape, generator=generator).masked_fill(~present, -1.0)
    stays = (draws >= share) | (draws == draws.amax(dim=1, keepdim=True))
    return present & stays


def run(model: nn.Module, batch: Batch, *, learn: bool = False) -> Any:
    """Return the model's output of a batch, with its losses that need labels where it learns."""
    labels = batch.labels if learn else None
    return model(batch.features, batch.present, batch.lengths, labels=labels, groups=batch.groups)


@torch.no_grad()
def settle(model: nn.Module, fusion: Fusion, samples: Iterable[Batch]) -> None:
    """Let a method choose what it chooses by samples without labels."""
    if fusion.settles:
        model.eval()
        kept = list(samples)
        fusion.settle(lambda: [run(model, batch) for batch in kept])


@torch.no_grad()
def evaluate(
    model: nn.Module, data: FeatureSet, present: Tensor, rows: Tensor
) -> tuple[float, float]:
    """Return accuracy and cross-entropy."""
    model.eval()
    logits = torch.cat([run(model, batch).logits for batch in batches(data, present, rows, 128)])
    labels = data.labels[rows]
    loss = nn.functional.cross_entropy(logits, labels).item()
    return (logits.argmax(dim=1) == labels).double().mean().item(), loss


def train(
    info: FusionInfo,
    data: FeatureSet,
    rate: float,
    seed: int,
    epochs: int,
    *,
    options: Mapping[str, Any],
    lr: float,
    hidden: float = HIDDEN,
    own_losses: bool = True,
    rebuild: Callable[[Any], None] | None = None,
) -> Trained:
    """Train on the part `train`, select on `val`.

    Args:
        info: The method.
        data: The set.
        rate: Share of views that are missing.
        seed: Of masks, split, weights and order.
        epochs: Of all stages.
        options: Of the method.
        lr: Learning rate at the end of the warm-up.
        hidden: Share of the views present that a step hides.
        own_losses: Train on the method's own losses beside the task's.
        rebuild: Changes the method that was built, before it is trained.
    """
    optim = OptimConfig(epochs=epochs, batch_size=data.batch_size, lr=lr, clip_norm=CLIP_NORM)
    seed_everything(seed)
    present = data.present(rate, seed)
    parts = {name: torch.from_numpy(rows) for name, rows in data.split(seed).items()}
    data = data.standardised(present, parts["train"])
    fusion = build_fusion(info.name, data.dims, data.num_classes, **options)
    if rebuild is not None:
        rebuild(fusion)
    model = Standardised(fusion, data.dims, rms=fusion.input_rms)
    model.fit(
        (b.features, b.present, b.lengths) for b in batches(data, present, parts["train"], 256)
    )
    steps = math.ceil(len(parts["train"]) / optim.batch_size)
    stages = Stages.plan(
        info.recipe.stage_epochs, epochs=epochs, steps_per_epoch=steps, fusion=info.name
    )
    weights = loss_weights(info, {})
    generator = torch.Generator().manual_seed(seed)
    times: list[float] = []
    best, best_state, step = (-1.0, 0.0), dict(model.state_dict()), 0
    parameters = 0
    for epoch in range(epochs):
        stage = stages.at(step)
        if epoch == 0 or stage != fusion.stage:
            fusion.begin_stage(stage)
            learning = [p for p in model.parameters() if p.requires_grad]
            parameters = max(parameters, count_parameters(fusion))
            optimizer = make_optimizer(optim, learning, "cpu")
            schedule = Schedule(
                optim.lr, optim.lr_start, optim.lr_end, optim.warmup, stages.steps(stage)
            )
            best = (-1.0, 0.0)  # an earlier stage's model is not whole yet
        model.train()
        order = shuffled(data, parts["train"], generator)
        for batch in batches(data, present, order, optim.batch_size):
            batch = replace(batch, present=some_hidden(batch.present, hidden, generator))
            begin = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = schedule(step - stages.begin(stage))
            optimizer.zero_grad(set_to_none=True)
            out = run(model, batch, learn=True)
            losses = [nn.functional.cross_entropy(out.logits.float(), batch.labels)]
            if own_losses:
                losses += weighted_losses(out.losses, weights).values()
            combined_backward(losses, learning, info.recipe.combiner)
            nn.utils.clip_grad_norm_(learning, CLIP_NORM)
            optimizer.step()
            step += 1
            times.append(time.perf_counter() - begin)
        settle(model, fusion, batches(data, present, parts["val"], 128))
        accuracy, loss = evaluate(model, data, present, parts["val"])
        if (accuracy, -loss) > best:
            best = (accuracy, -loss)
            best_state = {k: v.detach().clone() for k, v in model.state_dict().items()}
    model.load_state_dict(best_state)
    facts = {
        "val_accuracy": best[0],
        "parameters": parameters,
        "step_ms": 1000 * statistics.median(times),
        "load": os.getloadavg()[0],
    }
    return Trained(model.eval(), data, present, facts)
